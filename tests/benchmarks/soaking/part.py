"""
One part of the soak in a process of its own: batches of calls, and a sample after each, when all is at rest.

    python part.py NAME CALLS STREAMS SAMPLES

Prints JSON: the samples, how calls ended, what the upstream counted, and what is held although nobody calls.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fresh import resident
from soaking.faults import Dice
from soaking.inprocess import InProcess, count_of
from soaking.tables import tables, types
from soaking.traffic import Ears, Traffic, configuration

from penstock import AsyncClient, Client
from penstock.asynchronous import AsyncioRuntime
from penstock.call import current
from penstock.runtime import BlockingRuntime

HERE = Path(__file__).parent
SETTLE_SECONDS = 20.0
"""How long background work may take to end once nobody calls."""
WIDTH = {"blocking": 4, "async": 64, "blocking over sockets": 8, "async over sockets": 64}
"""Threads or tasks that call at once."""
ASKED = {"blocking": 40, "async": 40, "blocking over sockets": 12, "async over sockets": 12}
"""Models; fewer for fewer calls, so that what is kept of each is full before the second half."""


class Part:
    """
    The samples of one part.

    Args:
        client: of either colour.
        ears: its listener.
        upstream: how many requests it counts.
        samples: how many there will be.
    """

    def __init__(self, client: Any, ears: Ears, upstream: Callable[[], dict[str, Any]], samples: int) -> None:
        self.client = client
        self.ears = ears
        self.upstream = upstream
        self.samples: list[dict[str, Any]] = []
        self.held: Counter[str] = Counter()
        self._number = samples
        self._types: list[Counter[str]] = []
        # The longest of each table in the first half and in the second; keeping all would itself grow.
        self._longest: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self.cpu = time.process_time()

    def busy(self) -> bool:
        """Whether something still runs behind the scenes."""
        cache, routing = self.client.stage("cache"), self.client.stage("routing")
        return bool(
            cache.jobs._jobs or len(cache.flights) or routing._shared.crew or not self.ears.all_ended()
        )

    def sample(self, calls: int, tasks: int) -> None:
        """Look at everything; nothing is under way."""
        gc.collect()
        found = tables(self.client, self.ears)
        self.samples.append(
            {
                "calls": calls,
                "rss": resident(),
                "objects": len(gc.get_objects()),
                "descriptors": len([*Path("/proc/self/fd").iterdir()]),
                "tasks": tasks,
                "threads": threading.active_count(),
            }
        )
        longest = self._longest[len(self.samples) > self._number // 2]
        for name, length in found.items():
            longest[name] = max(longest.get(name, 0), length)
        if len(self.samples) in (self._number // 2, self._number):
            self._types.append(types())
        self.held.update(self._held())

    def _held(self) -> dict[str, int]:
        """What is held although no call is under way; all zeros when nothing leaked."""
        client = self.client
        limiter = client.stage("limiter").stats()
        cache = client.stage("cache")
        transport = client._engine.runtime.transport
        opened = closed = 0
        if isinstance(transport, InProcess):
            opened, closed = count_of(transport.opened), count_of(transport.closed)
        accounts = client.stage("cost").accounts
        now = client._engine.runtime.now()
        return {
            "permits of the limiter": limiter.in_flight,
            "tickets in its queues": limiter.waiting,
            "permits of single limits": sum(
                limit.out
                for lane in client.stage("limiter")._registry._lanes.values()
                for limit in lane.limits
            ),
            "flights of the cache": len(cache.flights),
            "jobs of the cache": len(cache.jobs._jobs),
            "probes of breakers": sum(c.probes for c in client.stage("breaker").stats().circuits.values()),
            "holds on budgets": sum(
                account.limit - accounts.budgets.left(now, account) != account.spent
                for _, _, account in accounts.each()
            ),
            "hedged calls": len(client.stage("routing")._shared.crew),
            "exchanges that are open": opened - closed,
            "calls in the context": int(current.get() is not None),
            "calls or attempts without an end": int(not self.ears.all_ended()),
        }

    def result(self, traffic: Traffic) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        told, heard = self.upstream(), self.ears.heard
        first, second = self._longest
        return {
            "samples": self.samples,
            "tables": {
                name: [first.get(name, 0), second.get(name, 0)] for name in sorted({**first, **second})
            },
            "held": self.held,
            "types": (self._types[-1] - self._types[0]).most_common(6),
            "ended": traffic.ended,
            "heard": heard,
            "attempts": heard["AttemptStarted"],
            "unknown": heard["unknown"],
            "received": told["requests"],
            "fates": told["fates"],
            "cpu": time.process_time() - self.cpu,
        }


@contextmanager
def loopback() -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """The upstream behind sockets: its address, and how to ask what it has counted."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "loopback.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    address = process.stdout.readline().strip()

    def told() -> dict[str, Any]:
        with urllib.request.urlopen(f"{address}/control") as response:
            answer: dict[str, Any] = json.load(response)
        return answer

    try:
        yield f"{address}/v1", told
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


@contextmanager
def upstream(name: str, pause: Any) -> Iterator[tuple[str, Callable[[], dict[str, Any]], InProcess | None]]:
    """Where requests go, how to ask what arrived, and the transport when it is in this process."""
    if "sockets" in name:
        with loopback() as (address, told):
            yield address, told, None
    else:
        dice = Dice(seed=3)
        yield (
            "http://soak.invalid/v1",
            lambda: {"requests": dice.requests, "fates": dice.fates},
            InProcess(dice, pause),
        )


def batches(calls: int, streams: int, samples: int) -> Iterator[tuple[int, int]]:
    """Calls and streams of each batch."""
    for number in range(samples):
        yield (
            calls * (number + 1) // samples - calls * number // samples,
            streams * (number + 1) // samples - streams * number // samples,
        )


def blocking(name: str, calls: int, streams: int, samples: int) -> dict[str, Any]:
    """Threads."""

    async def pause(seconds: float) -> None:
        if seconds:
            time.sleep(seconds)

    ears, traffic, done = Ears(), Traffic(5, hedge=False, models=ASKED[name]), 0
    with upstream(name, pause) as (base_url, told, transport):
        runtime = BlockingRuntime(transport) if transport is not None else None
        options: dict[str, Any] = {"environ": {}, "listeners": [ears], "runtime": runtime}
        with Client(configuration(base_url, hedge=False), **options) as client:
            part = Part(client, ears, told, samples)
            for plain, streamed in batches(calls, streams, samples):
                traffic.threads(client, traffic.plans(plain, streamed), WIDTH[name])
                done += plain + streamed
                due = time.monotonic() + SETTLE_SECONDS
                while part.busy() and time.monotonic() < due:
                    time.sleep(0.01)
                part.sample(done, 0)
            return part.result(traffic)


async def asynchronous(name: str, calls: int, streams: int, samples: int) -> dict[str, Any]:
    """Tasks."""
    ears, traffic, done = Ears(), Traffic(5, hedge=True, models=ASKED[name]), 0
    with upstream(name, asyncio.sleep) as (base_url, told, transport):
        runtime = AsyncioRuntime(transport) if transport is not None else None
        options: dict[str, Any] = {"environ": {}, "listeners": [ears], "runtime": runtime}
        async with AsyncClient(configuration(base_url, hedge=True), **options) as client:
            part = Part(client, ears, told, samples)
            for plain, streamed in batches(calls, streams, samples):
                plans = traffic.plans(plain, streamed)
                # A context of its own, as a server has for each request.
                context = contextvars.copy_context()
                run = traffic.tasks(client, plans, WIDTH[name])
                await asyncio.get_running_loop().create_task(run, context=context)
                done += plain + streamed
                due = time.monotonic() + SETTLE_SECONDS
                while part.busy() and time.monotonic() < due:
                    await asyncio.sleep(0.01)
                part.sample(done, len(asyncio.all_tasks()) - 1)
            return part.result(traffic)


def main(name: str, calls: int, streams: int, samples: int) -> None:
    if name.startswith("blocking"):
        result = blocking(name, calls, streams, samples)
    else:
        result = asyncio.run(asynchronous(name, calls, streams, samples))
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
