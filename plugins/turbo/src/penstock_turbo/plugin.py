"""What this distribution registers: one transport in both colours, loaded on first use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.hookspecs import hookimpl
from penstock.specs import TransportSpec
from penstock_turbo.config import TurboConfig

if TYPE_CHECKING:
    from penstock.http import Transport


@hookimpl
def penstock_register_transports() -> Sequence[TransportSpec]:
    """The transport `turbo`: sockets for `Client`, asyncio for `AsyncClient`."""
    return [TransportSpec(name="turbo", config=TurboConfig, blocking=_blocking, asynchronous=_asynchronous)]


def _blocking(config: TurboConfig) -> Transport:
    from penstock_turbo.blocking import BlockingTransport

    return BlockingTransport(config)


def _asynchronous(config: TurboConfig) -> Transport:
    from penstock_turbo.asynchronous import AsyncTransport

    return AsyncTransport(config)
