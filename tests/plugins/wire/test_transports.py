"""The transport conformance suite, for both transports of penstock-wire."""

from __future__ import annotations

from typing import Any

from penstock.http import Transport
from penstock_testkit.transport_conformance import (
    CancellationConformance,
    ThreadConformance,
    TransportConformance,
)
from penstock_testkit.transport_public import PublicConformance
from penstock_wire.asynchronous import AsyncTransport
from penstock_wire.blocking import BlockingTransport
from penstock_wire.config import WireConfig


class TestBlocking(TransportConformance, ThreadConformance, PublicConformance):
    colour = "blocking"

    def make(self, *, environ: Any = None, connections: int | None = None, **options: Any) -> Transport:
        if connections is not None:
            options["pool_maxsize"] = connections
        return BlockingTransport(WireConfig(**options), environ=environ or {})


class TestAsync(TransportConformance, CancellationConformance, PublicConformance):
    colour = "async"

    def make(self, *, environ: Any = None, connections: int | None = None, **options: Any) -> Transport:
        if connections is not None:
            options["limit_per_host"] = connections
        return AsyncTransport(WireConfig(**options), environ=environ or {})
