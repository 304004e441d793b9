"""
What telemetry costs: CPU of one call through the retry stage, with a provider that answers at once.

Rows: nobody listens; one listener that does nothing (the price of making events); metrics; logs at WARNING,
which write nothing for calls that are well; both; logs at INFO into a file. And for comparison what the
numbers of a plain call would cost as instruments of OpenTelemetry's SDK. Measured in turns; medians.

    python tests/benchmarks/bench_telemetry.py [calls per round] [rounds]
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from penstock import Call, ChatResponse, Choice, Client, ProviderSpec, Reply, Usage, hookimpl
from penstock.config import Config
from penstock.semconv import OPERATION, PROVIDER, REQUEST_MODEL

RESPONSE = ChatResponse(choices=(Choice(text="Hello!", finish_reason="stop"),), usage=Usage(5, 2))
OFF: dict[str, Any] = {"metrics": False, "logs": False}
CLIENTS: dict[str, dict[str, Any]] = {
    "nobody listens": OFF,
    "a listener that does nothing": {**OFF, "listeners": [lambda event: None]},
    "metrics": {"metrics": {}, "logs": False},
    "logs at WARNING": {"metrics": False, "logs": {"level": "WARNING"}},
    "metrics, and logs at INFO in a file": {"metrics": {}, "logs": {"level": "INFO", "file": os.devnull}},
}


class Instant:
    """A provider that answers at once."""

    base_url = "http://instant.invalid"

    async def send(self, call: Call) -> Reply:
        return Reply(RESPONSE)

    @hookimpl
    def penstock_register_providers(self) -> list[ProviderSpec]:
        return [ProviderSpec(name="instant", config=Config, create=lambda config, services: self)]


def sdk() -> tuple[Callable[[int], None], Callable[[], None]]:
    """The four numbers of a plain call, recorded by the SDK."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    provider = MeterProvider(metric_readers=[InMemoryMetricReader()])
    meter = provider.get_meter("penstock")
    histograms = [meter.create_histogram(name) for name in ("call", "attempt", "input", "output")]
    attributes = {OPERATION: "chat", PROVIDER: "instant", REQUEST_MODEL: "any"}

    def record(count: int) -> None:
        for _ in range(count):
            for histogram in histograms:
                histogram.record(0.25, attributes)

    return record, provider.shutdown


def asking(options: dict[str, Any]) -> tuple[Callable[[int], None], Callable[[], None]]:
    client = Client(False, environ={}, plugins=[("instant", Instant())], pipeline=["retry"], **options)

    def calls(count: int) -> None:
        for _ in range(count):
            client.chat("instant/any", "Hello")

    return calls, client.close


def main(count: int = 2000, rounds: int = 9) -> None:
    made = {name: asking(options) for name, options in CLIENTS.items()}
    made["(the SDK alone, four numbers)"] = sdk()
    figures: dict[str, list[float]] = {name: [] for name in made}
    for number in range(rounds + 1):
        for name, (calls, _) in made.items():
            begun = time.process_time()
            calls(count)
            if number:  # the first round warms up
                figures[name].append((time.process_time() - begun) / count * 1e6)
    base = statistics.median(figures["nobody listens"])
    for name, values in figures.items():
        median = statistics.median(values)
        more = "" if name.startswith("(") else f"  {median - base:+5.1f}"
        print(f"{name:36} {median:6.1f} us of CPU{more}")
    for _, close in made.values():
        close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
