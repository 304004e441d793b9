"""
What the pipeline alone costs: CPU of one call, with a provider that answers at once.

Rows: no stage, every stage, every stage but one, one stage alone; blocking and async; with 0, 1 and 5
listeners. They are measured in turns within one process, so that a change of the machine's mood meets all of
them; the figure is the median of the rounds. Run as a script it prints JSON:

    python inside.py rows [calls per round] [rounds]
    python inside.py memory                               # 10,000 cached answers of 1 KB
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from candidates.prompts import MODEL, messages
from environments import STAGES
from fresh import resident
from upstream import TEXT

from penstock import AsyncClient, Call, ChatResponse, Choice, Client, ProviderSpec, Reply, Usage, hookimpl
from penstock.config import Config

RESPONSE = ChatResponse(choices=(Choice(text=TEXT, finish_reason="stop"),), usage=Usage(19, 24))
TARGET = f"instant/{MODEL}"


class Instant:
    """A provider that answers at once."""

    base_url = "http://instant.invalid"

    async def send(self, call: Call) -> Reply:
        return Reply(RESPONSE)


class Telling:
    """A provider whose answers are 1 KB of text that no compression helps with."""

    base_url = "http://telling.invalid"

    def __init__(self) -> None:
        self._dice = random.Random(1)

    async def send(self, call: Call) -> Reply:
        text = "".join(self._dice.choices("abcdefghijklmnopqrstuvwxyz     .,", k=1000))
        return Reply(ChatResponse(choices=(Choice(text=text, finish_reason="stop"),), usage=Usage(19, 250)))


def plugin(provider: type[Any]) -> Any:
    """A plugin with one provider, `instant`."""

    class Plugin:
        @hookimpl
        def penstock_register_providers(self) -> list[ProviderSpec]:
            return [ProviderSpec(name="instant", config=Config, create=lambda config, services: provider())]

    return Plugin()


def options(stages: tuple[str, ...], **more: Any) -> dict[str, Any]:
    """Arguments of a client with these stages."""
    config: dict[str, Any] = {"pipeline": list(stages)}
    if "routing" in stages:
        config["routes"] = {"fast": {"targets": [TARGET]}}
    return {"config": config, "environ": {}, "plugins": [("instant", plugin(Instant))], **more}


def model(stages: tuple[str, ...]) -> str:
    """What calls ask: the route where there is one."""
    return "fast" if "routing" in stages else TARGET


@contextmanager
def blocking(stages: tuple[str, ...], **more: Any) -> Iterator[Callable[[int], None]]:
    """Calls of a blocking client."""
    name = model(stages)
    with Client(**options(stages, **more)) as client:

        def calls(count: int) -> None:
            for _ in range(count):
                client.chat(name, messages(), temperature=0)

        yield calls


@contextmanager
def asynchronous(stages: tuple[str, ...], **more: Any) -> Iterator[Callable[[int], None]]:
    """Calls of an async client, one after the other."""
    name = model(stages)
    client = AsyncClient(**options(stages, **more))

    async def calls(count: int) -> None:
        for _ in range(count):
            await client.chat(name, messages(), temperature=0)

    with asyncio.Runner() as runner:
        yield lambda count: runner.run(calls(count))
        runner.run(client.close())


@contextmanager
def asking() -> Iterator[Callable[[int], None]]:
    """The making of the messages, which every row includes."""

    def calls(count: int) -> None:
        for _ in range(count):
            messages()

    yield calls


class Counting:
    """A listener that does next to nothing."""

    def __init__(self) -> None:
        self.heard = 0

    def __call__(self, event: object) -> None:
        self.heard += 1


def rows() -> dict[str, Any]:
    """What is measured, by name."""
    made: dict[str, Any] = {
        "messages": asking(),
        "none": blocking(()),
        "full": blocking(STAGES),
        "async none": asynchronous(()),
        "async full": asynchronous(STAGES),
        "1 listener": blocking(STAGES, listeners=[Counting()]),
        "5 listeners": blocking(STAGES, listeners=[Counting() for _ in range(5)]),
        "async 1 listener": asynchronous(STAGES, listeners=[Counting()]),
    }
    for stage in STAGES:
        made[f"without {stage}"] = blocking(tuple(other for other in STAGES if other != stage))
        made[f"only {stage}"] = blocking((stage,))
    return made


def measure(count: int, rounds: int) -> dict[str, float]:
    """Microseconds of CPU for one call of each row."""
    made = rows()
    open_rows = {name: row.__enter__() for name, row in made.items()}
    figures: dict[str, list[float]] = {name: [] for name in made}
    for number in range(rounds + 1):
        for name, calls in open_rows.items():
            gc.collect()
            begun = time.process_time()
            calls(count)
            if number:  # the first round warms up
                figures[name].append((time.process_time() - begun) / count * 1e6)
    for row in made.values():
        row.__exit__(None, None, None)
    base = statistics.median(figures.pop("messages"))
    return {name: statistics.median(values) - base for name, values in figures.items()}


def cached_bytes(entries: int = 10_000) -> int:
    """Resident bytes that so many cached answers of 1 KB take."""
    config = {"pipeline": ["cache"], "cache": {"max_entries": entries, "ttl": 3600}}
    given: dict[str, Any] = {"config": config, "environ": {}, "plugins": [("instant", plugin(Telling))]}
    with Client(**given) as client:
        for number in itertools.count():
            if number == 100:  # everything is imported and allocated by then
                gc.collect()
                before = resident()
            if number == entries + 100:
                break
            client.chat(TARGET, messages(), temperature=0)
        gc.collect()
        held = client.stage("cache").stats().entries
        if held != entries:
            raise ValueError(f"{held} answers are held, not {entries}")
        return resident() - before


if __name__ == "__main__":
    if sys.argv[1] == "memory":
        print(json.dumps(cached_bytes()))
    else:
        print(json.dumps(measure(*map(int, sys.argv[2:]))))
