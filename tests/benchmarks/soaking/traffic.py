"""
The callers: who asks what, who gives up, and what comes of it.

One plan of a call serves both colours. Names of models, prompts that repeat and keys of tenants come from
pools so small that every table is full before the second half of a run; names without bound are the business
of `flood`.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from penstock import AsyncClient, CallError, Client
from penstock.events import AttemptFinished, AttemptStarted, CallFinished, CallStarted

MODELS = tuple(f"openai/model-{number}" for number in range(40))
ROUTES: dict[str, dict[str, Any]] = {
    "first": {"targets": list(MODELS[:3])},
    "shared": {"targets": [[{"target": MODELS[3], "weight": 3}, {"target": MODELS[4]}], MODELS[5]]},
    "recovering": {"targets": list(MODELS[6:9]), "on_interrupt": "restart"},
}
HEDGED = {"hedged": {"targets": list(MODELS[9:11]), "hedge": True}}
TENANTS = 5
"""For each model there is."""
REPEATED = 40
"""Prompts that come again, to any model."""


def configuration(base_url: str, *, hedge: bool) -> dict[str, Any]:
    """Every stage in use: queues form, breakers open, entries expire, budgets settle."""
    return {
        "providers": {"openai": {"api_key": "sk-soak-0123456789", "base_url": base_url}},
        "pipeline": ["guard", "cache", "routing", "cost", "retry", "breaker", "limiter"],
        "routes": {**ROUTES, **(HEDGED if hedge else {})},
        "routing": {"hedge": {"min_delay": 0.005, "min_samples": 20, "quantile": 0.9}},
        "cache": {
            "mode": "aggressive",
            "ttl": 2,
            "stale_while_revalidate": 2,
            "stale_if_error": 4,
            "max_entries": 1000,
            "negative": True,
        },
        "cost": {
            "prices": {"openai/*": {"input": "0.15/M", "output": "0.60/M"}},
            "local": [],
            "budgets": {"all": {"limit": 1_000_000}, "tenant": {"limit": 100_000, "each": "key"}},
        },
        "retry": {"base": 0.001, "throttle_base": 0.001, "max_delay": 0.005, "margin": 0},
        "breaker": {"open_for": 0.02, "max_open": 0.05, "window": 5, "cooldown": 0.05},
        "limiter": {
            "rate": "100000/s",
            "tokens": "10000000000/min",
            "concurrency": 48,
            "max_wait": 5,
            "key": {"concurrency": 40},
        },
        "wire": {"pool_maxsize": 64, "limit": 64},
        "metrics": {},
    }


class Ears:
    """A listener that counts; safe for threads."""

    def __init__(self) -> None:
        self.heard: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, event: object) -> None:
        with self._lock:
            self.heard[type(event).__name__] += 1
            # Whoever was not told anything cannot know whether the request had arrived.
            if isinstance(event, AttemptFinished) and event.attempt.head is None and event.kind != "ok":
                self.heard["unknown"] += 1

    def all_ended(self) -> bool:
        """Whether every call and attempt that began has ended."""
        heard = self.heard
        return all(
            heard[begun.__name__] == heard[ended.__name__]
            for begun, ended in ((CallStarted, CallFinished), (AttemptStarted, AttemptFinished))
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """
    One call.

    Args:
        model: a route or target.
        prompt: its text.
        stream: whether the answer is read while it comes.
        take: chunks to read before leaving; None for all.
        given: further arguments.
        patience: turns of the loop before the caller gives up; None for a caller who waits.
    """

    model: str
    prompt: str
    stream: bool
    take: int | None
    given: dict[str, Any]
    patience: int | None


@dataclass(slots=True)
class Traffic:
    """
    A sequence of calls.

    Args:
        seed: of the dice.
        hedge: whether there is a route that hedges.
        models: how many are asked.

    Attributes:
        ended: how calls ended.
    """

    seed: int
    hedge: bool
    models: int
    ended: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _number: int = 0
    _dice: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._dice.seed(self.seed)

    def plans(self, calls: int, streams: int) -> Iterator[Plan]:
        """So many calls, streams among them spread evenly."""
        total = calls + streams
        for number in range(total):
            yield self._plan(stream=number * streams // total != (number + 1) * streams // total)

    def _plan(self, *, stream: bool) -> Plan:
        dice = self._dice
        self._number += 1
        names = [*ROUTES, *(HEDGED if self.hedge else ())]
        model = dice.choice(names) if dice.random() < 0.5 else dice.choice(MODELS[: self.models])
        prompt = f"new question {self._number}"
        if dice.random() < 0.3:
            prompt = f"old question {int(REPEATED * dice.random() ** 2)}"
        given: dict[str, Any] = {"temperature": 0}
        if dice.random() < 0.3:
            tenant = f"tenant-{dice.randrange(TENANTS * self.models)}"
            given |= {"cost": {"key": tenant}, "limiter": {"key": tenant}}
        if dice.random() < 0.005:
            given["timeout"] = 0.002
        take = dice.randrange(4) if stream and dice.random() < 0.1 else None
        patience = dice.randrange(1, 12) if dice.random() < 0.02 else None
        return Plan(model, prompt, stream, take, given, patience)

    def note(self, how: str) -> None:
        """Count an end."""
        with self._lock:
            self.ended[how] += 1

    # Blocking

    def threads(self, client: Client, plans: Iterator[Plan], number: int) -> None:
        """Make the calls with so many threads, which end."""
        lock = threading.Lock()

        def caller() -> None:
            while True:
                with lock:
                    plan = next(plans, None)
                if plan is None:
                    return
                self._call(client, plan)

        threads = [threading.Thread(target=caller) for _ in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _call(self, client: Client, plan: Plan) -> None:
        try:
            if not plan.stream:
                client.chat(plan.model, plan.prompt, **plan.given)
            else:
                with client.stream(plan.model, plan.prompt, **plan.given) as stream:
                    for number, _ in enumerate(stream):
                        if number == plan.take:
                            break
            self.note("left" if plan.take is not None else "ok")
        except CallError as error:
            self.note(type(error).__name__)

    # asyncio

    async def tasks(self, client: AsyncClient, plans: Iterator[Plan], number: int) -> None:
        """Make the calls with so many tasks, which end."""

        async def caller() -> None:
            for plan in plans:
                if plan.patience is None:
                    await self._call_async(client, plan)
                else:
                    await self._impatient(client, plan, plan.patience)

        await asyncio.gather(*(caller() for _ in range(number)))

    async def _impatient(self, client: AsyncClient, plan: Plan, patience: int) -> None:
        task = asyncio.ensure_future(self._call_async(client, plan))
        for _ in range(patience):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            self.note("cancelled")

    async def _call_async(self, client: AsyncClient, plan: Plan) -> None:
        try:
            if not plan.stream:
                await client.chat(plan.model, plan.prompt, **plan.given)
            else:
                async with client.stream(plan.model, plan.prompt, **plan.given) as stream:
                    taken = 0
                    async for _ in stream:
                        if taken == plan.take:
                            break
                        taken += 1
            self.note("left" if plan.take is not None else "ok")
        except CallError as error:
            self.note(type(error).__name__)
