"""
A thousand simulated hours of traffic through every stage, with faults and cancellation at any await.

A failing seed is in the test's name; `pytest "tests/simulation/test_traffic.py" -k seed-7` plays it again,
the same to the last event.
"""

from __future__ import annotations

import asyncio
import random
from asyncio import CancelledError
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from penstock import CallError
from penstock.events import (
    AttemptFinished,
    AttemptStarted,
    CallFinished,
    CallStarted,
    RetryScheduled,
)
from penstock_testkit import Simulator, faults

HOURS = 100.0
SEEDS = range(10)
PIPELINE = ["cache", "routing", "retry", "breaker", "limiter"]
RATES = {
    faults.status(503): 0.04,
    faults.status(500): 0.04,
    faults.status(429, retry_after=3.0): 0.03,
    faults.status(429): 0.01,
    faults.status(400): 0.01,
    faults.reset(): 0.03,
    faults.reset(after=2): 0.03,
    faults.hang(): 0.02,
    faults.hang(after=2): 0.02,
    faults.cut(after=1): 0.02,
    faults.unterminated(): 0.01,
    faults.error_event(): 0.01,
    faults.malformed(): 0.01,
    faults.html(): 0.01,
    faults.keep_alives(9.0, after=1): 0.01,
    faults.slow_first_token(4.0): 0.25,
    faults.drip(0.5): 0.1,
}
TABLES: dict[str, Any] = {
    "routes": {"both": {"targets": ["openai/gpt-4o", "other/gpt-4o"]}},
    "cache": {"mode": "aggressive", "ttl": "10m"},
    "limiter": {"rate": "2/s", "burst": 5, "concurrency": 4, "max_wait": "20s"},
    "timeouts": {"attempt": 40, "total": 120},
}


class Traffic:
    """Callers that come in bursts, wait, stream, give up and are cut off."""

    def __init__(self, world: Any, seed: int) -> None:
        self.world = world
        self.runtime = world.runtime
        self.dice = random.Random(seed)
        self.ended: Counter[str] = Counter()
        self.tasks: list[Any] = []

    def cancel_some(self, task: Any) -> None:
        """One suspension in thirty is where a caller gives up."""
        if task.name == "caller" and self.dice.random() < 0.03:
            task.cancel()

    async def arrive(self) -> None:
        """Bursts of callers until the time is over."""
        while self.runtime.now() < HOURS * 3600:
            await self.runtime.sleep(self.dice.expovariate(1 / 900.0))
            for _ in range(self.dice.choice([1, 1, 2, 3, 8])):
                self.tasks.append(self.runtime.spawn(self.caller(), "caller"))

    async def caller(self) -> None:
        client, dice = self.world.client, self.dice
        model = dice.choice(["both", "openai/gpt-4o", "other/gpt-4o"])
        question = f"question {dice.randrange(40)}"
        options = {"timeout": dice.choice([5, 30, 90])} if dice.random() < 0.3 else {}
        try:
            match dice.choice(["chat", "stream", "leave", "embed"]):
                case "chat":
                    await client.chat(model, question, **options)
                case "embed":
                    await client.embed("openai/text-embedding-3-small", question, **options)
                case kind:
                    async with client.stream(model, question, **options) as stream:
                        async for _ in stream:
                            await self.runtime.sleep(dice.random())
                            if kind == "leave":
                                break
            self.ended["ok"] += 1
        except CallError as error:
            self.ended[type(error).__name__] += 1
        except CancelledError:
            self.ended["cancelled"] += 1
            raise


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio itself, on a clock that jumps to the next timer when nothing is ready."""

    def __init__(self) -> None:
        super().__init__()
        self._reading = 0.0

    def time(self) -> float:
        return self._reading

    def _run_once(self) -> None:
        live = [timer for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        if not self._ready:  # type: ignore[attr-defined]
            if not live:
                raise AssertionError(f"stuck: {[task.get_stack() for task in asyncio.all_tasks(self)]}")
            self._reading = max(self._reading, min(timer.when() for timer in live))
        super()._run_once()  # type: ignore[misc]


def options(seed: int) -> dict[str, Any]:
    """A world of two providers that fail now and then."""
    simulator = Simulator(rate=RATES, seed=seed, text="one two three four five six")
    providers = {
        name: {"plugin": "openai", "api_key": "sk-test-0123456789", "base_url": f"http://{name}.test/v1"}
        for name in ("openai", "other")
    }
    return {"simulator": simulator, "pipeline": PIPELINE, "providers": providers, **TABLES}


def check_nothing_left(world: Any) -> None:
    check_calls(world.events)
    check_budget(world.events)
    assert world.transport.open == ()
    limiter = world.client.stage("limiter").stats()
    assert (limiter.in_flight, limiter.waiting) == (0, 0)


@pytest.mark.parametrize("seed", [21, 22], ids=lambda seed: f"seed-{seed}")
def test_asyncio_tasks_cancelled_at_any_moment_leave_nothing_behind(
    make_world: Callable[..., Any], seed: int
) -> None:
    world = make_world("async", loop_factory=VirtualLoop, **options(seed))
    dice = random.Random(seed)
    traffic = Traffic(world, seed)

    async def arrive() -> None:
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[None]] = set()
        while loop.time() < 50 * 3600:
            await asyncio.sleep(dice.expovariate(1 / 600.0))
            tasks |= {loop.create_task(traffic.caller()) for _ in range(dice.choice([1, 2, 8]))}
            while tasks and dice.random() < 0.5:
                await asyncio.sleep(dice.random())
                dice.choice(sorted(tasks, key=id)).cancel()
                tasks = {task for task in tasks if not task.done()}
        await asyncio.gather(*tasks, return_exceptions=True)
        while len(asyncio.all_tasks()) > 1:  # revalidations, which no caller waits for
            await asyncio.sleep(1)

    world.run(arrive())
    assert traffic.ended["ok"] > 200
    assert traffic.ended["cancelled"] > 20
    check_nothing_left(world)


def test_blocking_callers_one_after_another_leave_nothing_behind(make_world: Callable[..., Any]) -> None:
    # Without revalidation: its thread would move the clock that the caller's thread is waiting on.
    tables = {"cache": {**TABLES["cache"], "stale_while_revalidate": 0}}
    world = make_world("blocking", **{**options(31), **tables})
    dice = random.Random(31)
    ended: Counter[str] = Counter()
    for _ in range(1500):
        world.runtime._sleep(dice.expovariate(1 / 120.0))
        model, question = (
            dice.choice(["both", "openai/gpt-4o", "other/gpt-4o"]),
            f"question {dice.randrange(40)}",
        )
        try:
            if dice.random() < 0.5:
                world.chat(question, model)
            else:
                world.stream(question, model, take=dice.choice([None, 1, 3]))
            ended["ok"] += 1
        except CallError as error:
            ended[type(error).__name__] += 1
    assert world.now() > 40 * 3600
    assert ended["ok"] > 900
    check_nothing_left(world)


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed-{seed}")
def test_a_hundred_hours_leave_nothing_behind(make_world: Callable[..., Any], seed: int) -> None:
    world = make_world("simulated", **options(seed))
    traffic = Traffic(world, seed)
    world.runtime.on_suspend = traffic.cancel_some
    world.run(traffic.arrive())
    world.runtime.on_suspend = None
    world.runtime.settle()

    assert traffic.ended["ok"] > 500
    assert traffic.ended["cancelled"] > 20
    assert all(task.done for task in traffic.tasks)
    # The traffic met what it is meant to meet.
    met = Counter(type(event).__name__ for event in world.events)
    assert met["RetryScheduled"] > 100
    assert met["LimiterQueued"] > 50
    assert met["CacheStored"] > 100
    check_nothing_left(world)


def check_calls(events: list[Any]) -> None:
    """Every call and attempt ends once; caps, hints, deadlines and the commit point are kept."""
    started = Counter(id(event.call) for event in events if isinstance(event, CallStarted))
    finished = {id(event.call): event for event in events if isinstance(event, CallFinished)}
    assert started.keys() == finished.keys()
    assert sum(isinstance(event, CallFinished) for event in events) == len(finished)
    begun = Counter(id(event.attempt) for event in events if isinstance(event, AttemptStarted))
    ended = Counter(id(event.attempt) for event in events if isinstance(event, AttemptFinished))
    assert begun == ended
    for event in events:
        if isinstance(event, RetryScheduled) and event.hint is not None:
            assert event.delay >= event.hint
    for event in finished.values():
        call = event.call
        by_target = Counter(attempt.target for attempt in call.attempts)
        assert len(call.attempts) <= 6
        assert all(count <= 3 for count in by_target.values())
        committed = [attempt for attempt in call.attempts if attempt.committed is not None]
        assert len(committed) <= 1
        assert not committed or committed[0] is call.attempts[-1]
        if not call.request.stream:
            assert event.at <= call.deadline + 1e-6


def check_budget(events: list[Any]) -> None:
    """In every window: extra attempts <= 10 + 0.2 * first attempts + 0.1 * seconds, for each provider."""
    log: defaultdict[str, list[tuple[float, bool]]] = defaultdict(list)
    seen: set[tuple[int, Any]] = set()
    for event in events:
        if isinstance(event, AttemptStarted):
            key = (id(event.call.attempts), event.attempt.target)
            log[event.attempt.target.provider].append((event.at, key in seen))
            seen.add(key)
    for entries in log.values():
        for first in range(0, len(entries), 7):
            window = entries[first : first + 200]
            extras = sum(extra for _, extra in window)
            seconds = window[-1][0] - window[0][0]
            assert extras <= 10 + 0.2 * (len(window) - extras + 1) + 0.1 * seconds + 1e-6
