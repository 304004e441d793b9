"""
What the pipeline alone costs: CPU of one call, with a provider that answers at once.

Rows: the core without stages, and every installed stage; blocking and async, one call after the other. The
rows are measured in turns, so that a change of the machine's mood meets all of them; the figure is the
median of the rounds.

    python tests/benchmarks/bench_pipeline.py [calls per round] [rounds]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from penstock import (
    AsyncClient,
    Call,
    ChatResponse,
    Choice,
    Client,
    ProviderSpec,
    Reply,
    Usage,
    hookimpl,
)
from penstock.config import Config

RESPONSE = ChatResponse(choices=(Choice(text="Hello!", finish_reason="stop"),), usage=Usage(5, 2))
OPTIONS: dict[str, Any] = {"config": False, "environ": {}}


class Instant:
    """A provider that answers at once."""

    base_url = "http://instant.invalid"

    async def send(self, call: Call) -> Reply:
        return Reply(RESPONSE)


class Plugin:
    @hookimpl
    def penstock_register_providers(self) -> list[ProviderSpec]:
        return [ProviderSpec(name="instant", config=Config, create=lambda config, services: Instant())]


def blocking(**options: Any) -> tuple[Callable[[int], None], Callable[[], None]]:
    client = Client(plugins=[("instant", Plugin())], **OPTIONS, **options)

    def calls(count: int) -> None:
        for _ in range(count):
            client.chat("instant/any", "Hello")

    return calls, client.close


def asynchronous(**options: Any) -> tuple[Callable[[int], None], Callable[[], None]]:
    runner = asyncio.Runner()
    client = AsyncClient(plugins=[("instant", Plugin())], **OPTIONS, **options)

    async def ask(count: int) -> None:
        for _ in range(count):
            await client.chat("instant/any", "Hello")

    def close() -> None:
        runner.run(client.close())
        runner.close()

    return lambda count: runner.run(ask(count)), close


def main(count: int = 2000, rounds: int = 9) -> None:
    with Client(plugins=[("instant", Plugin())], **OPTIONS) as client:
        stages = ", ".join(ring.spec.name for ring in client._engine.parts.rings) or "none"
    made = {
        "blocking, no stage": blocking(pipeline=[]),
        "blocking, every installed stage": blocking(),
        "async, no stage": asynchronous(pipeline=[]),
        "async, every installed stage": asynchronous(),
    }
    figures: dict[str, list[float]] = {name: [] for name in made}
    for number in range(rounds + 1):
        for name, (calls, _) in made.items():
            begun = time.process_time()
            calls(count)
            if number:  # the first round warms up
                figures[name].append((time.process_time() - begun) / count * 1e6)
    for name, values in figures.items():
        print(f"{name:34} {statistics.median(values):7.1f} us of CPU per call (best {min(values):.1f})")
    print(f"stages: {stages}; {rounds} rounds of {count} calls")
    for _, close in made.values():
        close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
