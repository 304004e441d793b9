"""
A thousand hours of virtual traffic against a provider that fails in every way, with callers that give up
at any await. A failing seed is in the test's name and replays.
"""

from __future__ import annotations

import random
from asyncio import CancelledError
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from penstock import BreakerOpen, CallError, Chunk, Target
from penstock.call import Call, Outcome, Reply, Timeouts
from penstock.errors import (
    AuthenticationError,
    ConnectError,
    InvalidRequestError,
    OverloadedError,
    RateLimitError,
    ServerError,
    StreamInterrupted,
)
from penstock.events import BreakerProbesLost, BreakerTransition, CredentialRested
from penstock.pipeline import chain
from penstock.simulated import SimulatedRuntime
from penstock.specs import Scope
from penstock_breaker import BreakerConfig, BreakerStage

TARGET = Target("openai", "gpt-4o-mini")
HOURS = 60
SEEDS = range(20)
LEASE = 200.0
CAUSES = {
    ("closed", "open"): {"consecutive_failures", "failure_rate", "slow_rate"},
    ("open", "half_open"): {"rest_over"},
    ("half_open", "open"): {"probe_failed", "probe_slow"},
    ("half_open", "closed"): {"probes_succeeded"},
}


class Source:
    """A live stream of a few events, which may break or be closed."""

    def __init__(self, runtime: SimulatedRuntime, events: int, broken: bool) -> None:
        self._runtime, self._left, self._broken = runtime, events, broken
        self.reply = Reply(chunks=self)

    def __aiter__(self) -> Source:
        return self

    async def __anext__(self) -> Chunk:
        if self.reply.outcome is not None:
            raise StopAsyncIteration
        try:
            await self._runtime.sleep(1.0)
        except BaseException:
            self.reply.finish(Outcome("abandoned"))
            raise
        self._left -= 1
        if self._left > 0:
            return Chunk("x")
        if self._broken:
            error = StreamInterrupted("cut")
            self.reply.finish(Outcome("failed", error=error))
            raise error
        self.reply.finish(Outcome("ok"))
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.reply.finish(Outcome("abandoned"))


class Traffic:
    """One simulated client, provider and crowd."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.runtime = SimulatedRuntime(seed=seed)
        self.events: list[Any] = []
        services: Any = SimpleNamespace(name="breaker", runtime=self.runtime, emit=self.events.append)
        config = BreakerConfig(slow_rate=0.8, slow_after=20.0, probes=self.dice.choice([1, 1, 2, 3]))
        self.stage = BreakerStage(config, services)
        place = self.stage.bind(Scope(config=config, route=None, target=TARGET, provider=None))
        self.circuit = place.inner.circuit
        self.probes = config.probes
        self.proceed = chain([place, self.limiter, place.inner], self.provider)  # type: ignore[list-item]
        self.healthy = True
        self.running: dict[int, int] = {}
        self.sent = 0
        self.refused = 0
        self.forgotten = 0
        self.violations: list[str] = []

    async def limiter(self, call: Call, proceed: Callable[[Call], Any]) -> Reply:
        """Stands where calls queue, so that many pass the gate before the first probe has ended."""
        await self.runtime.sleep(self.dice.choice([0.0, 0.0, 0.5, 3.0]))
        return await proceed(call)  # type: ignore[no-any-return]

    async def provider(self, call: Call) -> Reply:
        """Works, or fails in one of many ways; never more probes at once than allowed."""
        self.sent += 1
        generation = self.circuit._generation
        if self.circuit.state == "half_open":
            self.running[generation] = self.running.get(generation, 0) + 1
            if self.running[generation] > self.probes:
                self.violations.append(f"{self.running[generation]} probes at {self.runtime.now()}")
        elif self.circuit.state != "closed":
            self.violations.append(f"sent while {self.circuit.state} at {self.runtime.now()}")
        try:
            return await self.answer()
        finally:
            if generation in self.running:
                self.running[generation] -= 1

    async def answer(self) -> Reply:
        dice, sleep = self.dice, self.runtime.sleep
        await sleep(dice.uniform(0.0, 2.0))
        trouble = dice.random()
        if trouble < 0.02:
            raise RateLimitError("slow down", retry_after=5.0)
        if trouble < 0.03:
            raise InvalidRequestError("no such parameter")
        if trouble < 0.0305:
            raise AuthenticationError("not you")
        if trouble < 0.04:
            await sleep(25.0)
        if not self.healthy and dice.random() < 0.9:
            await sleep(dice.choice([0.0, 5.0, 30.0, 100.0]))
            raise dice.choice(
                [ServerError("broken"), OverloadedError("busy", retry_after=60.0), ConnectError("gone")]
            )
        if dice.random() < 0.5:
            return Reply(None)
        return Source(self.runtime, dice.randint(1, 5), broken=not self.healthy).reply

    async def caller(self) -> None:
        call = Call(
            id="a",
            request=None,  # type: ignore[arg-type]  # the provider above does not read it
            target=TARGET,
            runtime=self.runtime,
            timeouts=Timeouts(attempt=LEASE),
            started=self.runtime.now(),
        )
        try:
            reply = await self.proceed(call)
            if reply.chunks is not None and self.dice.random() < 0.02:
                self.forgotten += 1  # neither read nor closed: its permit is never settled
            elif reply.chunks is not None:
                try:
                    async for _ in reply.chunks:
                        if self.dice.random() < 0.1:
                            break
                finally:
                    await reply.close()
        except BreakerOpen as error:
            self.refused += 1
            if not error.retry_after or not error.tags:
                self.violations.append(f"refused without a hint or a reason: {error}")
        except (CallError, CancelledError):
            pass

    async def crowd(self) -> None:
        end = self.runtime.now() + HOURS * 3600.0
        turn = 0.0
        while self.runtime.now() < end:
            if self.runtime.now() >= turn:
                self.healthy = self.dice.random() < 0.6
                turn = self.runtime.now() + self.dice.expovariate(1 / 1800.0)
            for _ in range(self.dice.choice([1, 1, 2, 12])):
                self.runtime.spawn(self.caller())
            await self.runtime.sleep(self.dice.expovariate(1 / 120.0))

    def give_up_anywhere(self, task: Any) -> None:
        if task.name == "task" and self.dice.random() < 0.05:
            task.cancel()


@pytest.mark.parametrize("seed", SEEDS)
def test_traffic_of_hours_breaks_no_rule_of_the_breaker(seed: int) -> None:
    traffic = Traffic(seed)
    runtime = traffic.runtime
    runtime.on_suspend = traffic.give_up_anywhere
    runtime.run(traffic.crowd())
    runtime.settle()
    stats = traffic.stage.stats().circuits[str(TARGET)]
    # Every permit was settled exactly once, but for those of streams that nobody closed.
    settled = stats.successes + stats.failures + stats.ignored + stats.cancelled
    assert settled + traffic.forgotten == traffic.sent
    assert stats.rejections == traffic.refused
    assert traffic.violations == []
    assert stats.probes + stats.lost_probes <= traffic.forgotten
    assert not any(traffic.running.values())
    # All of it happened, so the assertions above were about something.
    assert min(stats.successes, stats.failures, stats.ignored, stats.cancelled, stats.rejections) > 0
    check_transitions(traffic.events)
    # It recovers from wherever it stands, as soon as the provider does.
    runtime.on_suspend = None
    traffic.healthy = True
    traffic.answer = healthy_answer  # type: ignore[method-assign]
    for _ in range(12):
        runtime.run(runtime.sleep(60.0))
        runtime.run(traffic.caller())
    assert traffic.stage.state(TARGET) == "closed"


async def healthy_answer() -> Reply:
    return Reply(None)


def check_transitions(events: list[Any]) -> None:
    state, generation, opens, since = "closed", 0, 0, 0.0
    for event in events:
        if isinstance(event, BreakerTransition):
            assert event.before == state
            assert event.reason in CAUSES[event.before, event.after]
            assert event.generation == generation + 1
            if event.after == "open":
                opens += 1
                base = min(15.0 * 2 ** (opens - 1), 120.0)
                assert event.open_for is not None
                assert base * 0.9 <= event.open_for <= max(base * 1.1, 60.0)
            if event.after == "half_open":
                assert event.at >= since
            if event.after == "closed":
                opens = 0
            state, generation = event.after, event.generation
            since = event.at + (event.open_for or 0.0)
        elif isinstance(event, BreakerProbesLost):
            assert state == "half_open"
            assert event.at >= since + LEASE
    assert generation > 0


def test_a_thousand_hours_are_simulated() -> None:
    assert HOURS * len(SEEDS) >= 1000


def test_a_probe_cancelled_at_any_await_leaves_its_place_free() -> None:
    """The stuck half-open breaker of other libraries."""
    cancelled = 0
    for point in range(1, 50):
        traffic = Traffic(1)
        runtime = traffic.runtime
        trip(traffic)

        def cancel_here(task: Any, point: int = point) -> None:
            if task.name == "task" and task.suspensions == point:
                task.cancel()

        runtime.on_suspend = cancel_here
        task = runtime.spawn(traffic.caller())
        runtime.settle()
        cancelled += traffic.circuit.stats(runtime.now()).cancelled
        assert traffic.circuit.stats(runtime.now()).probes == 0
        assert traffic.circuit.refusal(runtime.now() + 300.0) is None
        if task.suspensions < point:
            break
    assert cancelled >= 1


def trip(traffic: Traffic) -> None:
    """Open it, and let the rest pass."""

    async def broken() -> Reply:
        raise ServerError("broken")

    working, traffic.answer = traffic.answer, broken  # type: ignore[method-assign]
    while traffic.circuit.state == "closed":
        traffic.runtime.run(traffic.caller())
    traffic.runtime.run(traffic.runtime.sleep(30.0))
    traffic.answer = working  # type: ignore[method-assign]


def test_a_hundred_callers_behind_the_gate_send_one_probe() -> None:
    traffic = Traffic(1)
    traffic.probes = 1
    traffic.stage = BreakerStage(
        BreakerConfig(),
        SimpleNamespace(name="breaker", runtime=traffic.runtime, emit=traffic.events.append),  # type: ignore[arg-type]
    )
    config = BreakerConfig()
    place = traffic.stage.bind(Scope(config=config, route=None, target=TARGET, provider=None))
    traffic.circuit = place.inner.circuit
    traffic.proceed = chain([place, traffic.limiter, place.inner], traffic.provider)  # type: ignore[list-item]
    trip(traffic)
    before = traffic.sent

    async def slow() -> Reply:
        await traffic.runtime.sleep(10.0)
        return Reply(None)

    traffic.answer = slow  # type: ignore[method-assign]
    for _ in range(100):
        traffic.runtime.spawn(traffic.caller())
    traffic.runtime.settle()
    assert traffic.sent - before == 1
    assert traffic.violations == []


def test_a_rested_credential_costs_at_most_one_request_each_rest() -> None:
    traffic = Traffic(3)

    async def refused() -> Reply:
        raise AuthenticationError("not you")

    traffic.answer = refused  # type: ignore[method-assign]

    async def hours() -> None:
        for _ in range(720):
            await traffic.caller()
            await traffic.runtime.sleep(10.0)

    traffic.runtime.run(hours())
    rests = [event for event in traffic.events if isinstance(event, CredentialRested)]
    assert traffic.sent == len(rests)
    assert traffic.sent <= 1 + traffic.runtime.now() // 300
    assert traffic.refused == 720 - traffic.sent
