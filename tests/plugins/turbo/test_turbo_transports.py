"""The transport conformance suite, for both colours of penstock-turbo."""

from __future__ import annotations

from typing import Any

from penstock.http import Transport
from penstock_testkit.transport_conformance import (
    CancellationConformance,
    ThreadConformance,
    TransportConformance,
)
from penstock_testkit.transport_public import PublicConformance
from penstock_turbo.asynchronous import AsyncTransport
from penstock_turbo.blocking import BlockingTransport
from penstock_turbo.config import TurboConfig


class TestBlocking(TransportConformance, ThreadConformance, PublicConformance):
    colour = "blocking"

    def make(self, *, environ: Any = None, connections: int | None = None, **options: Any) -> Transport:
        if connections is not None:
            options["pool_maxsize"] = connections
        return BlockingTransport(TurboConfig(**options), environ=environ or {})


class TestAsync(TransportConformance, CancellationConformance, PublicConformance):
    colour = "async"

    def make(self, *, environ: Any = None, connections: int | None = None, **options: Any) -> Transport:
        if connections is not None:
            options["limit_per_host"] = connections
        return AsyncTransport(TurboConfig(**options), environ=environ or {})
