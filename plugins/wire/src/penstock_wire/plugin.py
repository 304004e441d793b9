"""What this distribution registers: one transport in both colours. The HTTP libraries load on first use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.hookspecs import hookimpl
from penstock.specs import TransportSpec
from penstock_wire.config import WireConfig

if TYPE_CHECKING:
    from penstock.http import Transport


@hookimpl
def penstock_register_transports() -> Sequence[TransportSpec]:
    """The transport `wire`: requests for `Client`, aiohttp for `AsyncClient`."""
    return [TransportSpec(name="wire", config=WireConfig, blocking=_blocking, asynchronous=_asynchronous)]


def _blocking(config: WireConfig) -> Transport:
    from penstock_wire.blocking import BlockingTransport

    return BlockingTransport(config)


def _asynchronous(config: WireConfig) -> Transport:
    from penstock_wire.asynchronous import AsyncTransport

    return AsyncTransport(config)
