"""
What grows when something grows: one function for each thing that there may be more of.

    python dimensions.py NAME SIZE

Each size is measured in a process of its own and printed as JSON: CPU and Python functions for each call,
bytes for each thing kept. The provider answers within the process; what is measured is Penstock.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from fresh import resident
from scales.measure import RESPONSE, STAGES, Calls, cpu, figures, functions, options

from penstock import AsyncClient, Call, Client, Reply
from penstock.runtime import drive

TARGET = "instant/m"
QUESTION = "What is a penstock, and what does its gate decide?"
COUNT = 1500
"""Calls of a round, where the size does not say."""
_numbers = itertools.count()


def fresh() -> str:
    """A question nobody has asked."""
    return f"{next(_numbers)}: {QUESTION}"


class Held:
    """A provider whose answers wait until so many calls are there."""

    base_url = "http://instant.invalid"

    def __init__(self, width: int) -> None:
        self.width = width
        self._inside = 0
        self._open = asyncio.Event()
        self.resident = 0

    async def send(self, call: Call) -> Reply:
        self._inside += 1
        if self._inside == self.width:
            self.resident = resident()
            self._open.set()
        await self._open.wait()
        self._inside -= 1
        if not self._inside:
            self._open.clear()
        return Reply(RESPONSE)


class Yielding:
    """A provider that lets others run before it answers."""

    base_url = "http://instant.invalid"

    async def send(self, call: Call) -> Reply:
        await asyncio.sleep(0)
        return Reply(RESPONSE)


def in_flight(size: int) -> dict[str, float]:
    """Calls that are all at the provider at the same moment."""
    provider = Held(min(size, 10))
    client = AsyncClient(**options(STAGES, provider, limiter={"concurrency": size}))
    with asyncio.Runner() as runner:

        def call() -> Awaitable[Any]:
            return client.chat(TARGET, fresh(), temperature=0)

        waves(runner, call, provider.width)(COUNT)
        provider.width = size
        gc.collect()
        before = resident()
        run = waves(runner, call, size)
        run(size)
        held = (provider.resident - before) / size
        found = figures(run, max(size, COUNT // size * size), 3)
        runner.run(client.close())
    return found | {"bytes": held}


def waves(runner: asyncio.Runner, call: Callable[[], Awaitable[Any]], width: int) -> Calls:
    """Calls in waves of so many tasks; a wave is over when all of them are."""

    async def wave() -> None:
        await asyncio.gather(*(call() for _ in range(width)))

    async def run(count: int) -> None:
        for _ in range(max(1, count // width)):
            await wave()

    return lambda count: runner.run(run(count))


def queued(size: int) -> dict[str, float]:
    """Calls that wait in one queue of the limiter, of which 10 are under way."""
    limiter = {"concurrency": 10, "max_wait": 600, "max_len": 2 * size}
    return _queued(size, dict, limiter)


def queued_by_key(size: int) -> dict[str, float]:
    """The same, when each has a key and so a queue of its own."""
    limiter = {"concurrency": 10, "max_wait": 600, "key": {"concurrency": 5}}
    keys = itertools.cycle(range(size))
    return _queued(size, lambda: {"limiter": {"key": f"k{next(keys)}"}}, limiter)


def _queued(size: int, given: Callable[[], dict[str, Any]], limiter: dict[str, Any]) -> dict[str, float]:
    client = AsyncClient(**options(("limiter",), Yielding(), limiter=limiter, timeouts={"total": 600}))
    with asyncio.Runner() as runner:
        run = waves(runner, lambda: client.chat(TARGET, QUESTION, timeout=600, **given()), size)
        found = {"cpu_us": cpu(run, max(size, COUNT // size * size), 1), "functions": functions(run, size)}
        runner.run(client.close())
    return found


REAL = 20_000
"""Cached answers that calls made, the newest; a larger cache holds copies of one of them beside."""


def cached(size: int) -> dict[str, float]:
    """Answers in the cache."""
    store = {"max_entries": size, "max_bytes": "8GB", "ttl": 36000}
    real = min(size, REAL)
    with Client(**options(("cache",), cache=store)) as client:
        stage = client.stage("cache")

        def fill(count: int) -> None:
            for _ in range(count):
                client.chat(TARGET, fresh(), temperature=0)

        fill(100)
        gc.collect()
        before = resident()
        key, held = next(iter(stage.store._held.items()))
        for number in range(size - real):
            copy = f"{number:0{len(key)}d}"
            value = bytes(bytearray(held.value))
            drive(stage.store.set(copy, value, expires=held.expires, names=held.names))
        fill(real - (100 if real == size else 0))
        gc.collect()
        each = (resident() - before) / (size - 100)
        if stage.stats().entries != size:
            raise ValueError(f"{stage.stats().entries} answers are held, not {size}")
        first = next(_numbers) - real
        asked = itertools.count()
        missed = stage.stats().misses

        def hit(count: int) -> None:
            for _ in range(count):
                number = first + next(asked) * 7919 % real
                client.chat(TARGET, f"{number}: {QUESTION}", temperature=0)

        hits = figures(hit, COUNT)
        if stage.stats().misses != missed:
            raise ValueError("what should have been hits were none")
        stored = figures(fill, COUNT)
        begun = time.process_time()
        stage.invalidate("nobody/*")
        swept = time.process_time() - begun
    return {
        "cpu_us": hits["cpu_us"],
        "functions": hits["functions"],
        "evict_cpu_us": stored["cpu_us"],
        "evict_functions": stored["functions"],
        "bytes": each,
        "invalidate_ms": swept * 1e3,
    }


def targets(size: int) -> dict[str, float]:
    """Targets of a route, one after the other and as a group by weight; the last alone is not open."""
    names = [f"instant/m{number}" for number in range(size)]
    routes = {"row": {"targets": names}, "group": {"targets": [names]}}
    stages = tuple(stage for stage in STAGES if stage != "cache")
    built = time.process_time()
    with Client(**options(stages, routes=routes)) as client:
        built = time.process_time() - built
        found = figures(lambda count: _ask(client, "row", count), COUNT)
        group = figures(lambda count: _ask(client, "group", count), COUNT)
        for name in names[:-1]:
            client.stage("breaker").force_open(name)
        count = max(20, COUNT // size)
        opened = figures(lambda count: _ask(client, "row", count), count)
    return found | {
        "group_cpu_us": group["cpu_us"],
        "group_functions": group["functions"],
        "open_cpu_us": opened["cpu_us"],
        "open_functions": opened["functions"],
        "build_ms": built * 1e3,
    }


def _ask(client: Client, model: str, count: int, **given: Any) -> None:
    for _ in range(count):
        client.chat(model, QUESTION, **given)


def keys(size: int) -> dict[str, float]:
    """Tenants, each with a limit and a budget."""
    tables = {
        "limiter": {"key": {"rate": "1000000/s"}},
        "cost": {
            "prices": {"instant/*": {"input": "1/M", "output": "2/M"}},
            "local": [],
            "budgets": {"tenant": {"limit": 1000, "each": "key"}},
        },
    }
    with Client(**options(("cost", "limiter"), **tables)) as client:
        names = itertools.cycle([f"tenant-{number}" for number in range(size)])

        def run(count: int) -> None:
            for name in itertools.islice(names, count):
                client.chat(TARGET, QUESTION, limiter={"key": name}, cost={"key": name})

        run(1)
        gc.collect()
        before = resident()
        run(size)
        gc.collect()
        held = (resident() - before) / size
        return figures(run, max(COUNT, min(size, 20_000)), 1) | {"bytes": held}


def models(size: int) -> dict[str, float]:
    """Names of models, asked in turns."""
    stages = tuple(stage for stage in STAGES if stage != "cache")
    with Client(**options(stages)) as client:
        names = itertools.cycle([f"instant/m{number}" for number in range(size)])

        def run(count: int) -> None:
            for name in itertools.islice(names, count):
                client.chat(name, QUESTION)

        run(1)
        gc.collect()
        before = resident()
        begun = time.process_time()
        run(size)
        first = (time.process_time() - begun) / size * 1e6
        gc.collect()
        held = (resident() - before) / size
        found = figures(run, max(COUNT, size), 1)
    return found | {"bytes": held, "first_cpu_us": first}


def prompts(size: int) -> dict[str, float]:
    """Characters of the prompt."""
    text = (QUESTION + " ") * (size // len(QUESTION) + 1)
    count = max(20, min(COUNT, 20_000_000 // size))
    with Client(**options(STAGES)) as client:

        def run(count: int) -> None:
            for _ in range(count):
                client.chat(TARGET, f"{next(_numbers)} {text[:size]}", temperature=0)

        return figures(run, count)


def threads(size: int) -> dict[str, float]:
    """Threads that share a client."""
    with Client(**options(STAGES, limiter={"concurrency": 1000})) as client:
        walls = []

        def run(count: int) -> None:
            left = iter(range(count))

            def caller() -> None:
                for _ in left:
                    client.chat(TARGET, fresh(), temperature=0)

            crew = [threading.Thread(target=caller) for _ in range(size)]
            begun = time.perf_counter()
            for thread in crew:
                thread.start()
            for thread in crew:
                thread.join()
            walls.append(count / (time.perf_counter() - begun))

        used = cpu(run, 6000, 3)
    return {"cpu_us": used, "per_second": sorted(walls[1:])[len(walls[1:]) // 2]}


SIZES: dict[Callable[[int], dict[str, float]], tuple[int, ...]] = {
    in_flight: (1, 10, 100, 1000, 10_000),
    queued: (100, 1000, 10_000),
    queued_by_key: (100, 1000, 4000),
    cached: (1000, 10_000, 100_000, 1_000_000),
    targets: (1, 10, 100, 1000),
    keys: (1, 1000, 4000, 20_000, 100_000),
    models: (1, 100, 4000, 5000, 10_000),
    prompts: (100, 1000, 10_000, 99_000),
    threads: (1, 4, 16, 64),
}
"""What may grow, and how far it is measured."""
BY_NAME = {function.__name__: function for function in SIZES}

if __name__ == "__main__":
    print(json.dumps(BY_NAME[sys.argv[1]](int(sys.argv[2]))))
