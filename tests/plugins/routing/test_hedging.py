"""A second target for slow calls: when, how often, and what becomes of the loser."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import AllTargetsFailed, AsyncClient, InvalidRequestError, Target
from penstock.events import AttemptFinished, CallFinished, HedgeDenied, HedgeFinished, HedgeStarted
from penstock_routing.hedging import BURST, HedgePolicy, Hedging, Latencies
from penstock_testkit import Simulator, faults

World = Callable[..., Any]
A, B, C = (Target("openai", name) for name in "abc")
SLOW = faults.slow_first_token(20)


# The state machine


def test_without_enough_samples_there_is_no_hedge() -> None:
    hedging = Hedging(HedgePolicy())
    for number in range(49):
        hedging.observe(A, False, 5.0)
        assert hedging.delay(A, False) is None, number
    hedging.observe(A, False, 5.0)
    assert hedging.delay(A, False) == 5.0
    assert hedging.delay(A, True) is None, "streams are timed apart"
    assert hedging.delay(B, False) is None


def test_the_delay_is_the_percentile_and_never_less_than_the_least() -> None:
    hedging = Hedging(HedgePolicy())
    for _ in range(60):
        hedging.observe(A, False, 0.1)
    assert hedging.delay(A, False) == 1.0


@given(st.lists(st.floats(0, 100), min_size=1, max_size=300), st.floats(0.01, 0.99))
def test_a_quantile_is_what_its_share_does_not_exceed(times: list[float], share: float) -> None:
    latencies = Latencies()
    for seconds in times:
        latencies.add(seconds)
    quantile = latencies.quantile(share)
    kept = times[-256:]
    assert quantile in kept
    assert sum(seconds <= quantile for seconds in kept) / len(kept) >= share


@settings(max_examples=50)
@given(st.lists(st.booleans(), max_size=600), st.sampled_from([0.05, 0.1, 0.5]))
def test_hedges_stay_within_their_share(steps: list[bool], share: float) -> None:
    hedging = Hedging(HedgePolicy(share=share))
    calls, taken = 0, []
    for is_call in steps:
        if is_call:
            calls += 1
            hedging.note_call()
        elif hedging.take():
            taken.append(calls)
        assert len(taken) <= share * calls + 1e-6
    for index, since in enumerate(taken):
        for until_index in range(index, len(taken)):
            hedges = until_index - index + 1
            assert hedges <= share * (taken[until_index] - since) + BURST + 1e-6


def test_targets_without_calls_are_forgotten_in_the_end() -> None:
    hedging = Hedging(HedgePolicy(min_samples=1))
    for number in range(1500):
        hedging.observe(Target("a", str(number)), False, 2.0)
    assert hedging.delay(Target("a", "0"), False) is None
    assert hedging.delay(Target("a", "1499"), False) == 2.0


# In a client


def hedged(world: World, script: Any = None, **options: Any) -> Any:
    options = {
        "pipeline": ["routing"],
        "routes": {"fast": {"targets": ["openai/a", "openai/b", "openai/c"]}},
        "routing": {"hedge": {"enabled": True, "min_samples": 20, "share": 0.1}},
        "simulator": Simulator(script=script or {}, text="Hello there, world."),
        **options,
    }
    return world("simulated", **options)


def warm(world: Any, count: int = 40, **parameters: Any) -> None:
    for _ in range(count):
        world.chat(model="fast", **parameters)
    world.events.clear()


def seen(world: Any, kind: type) -> list[Any]:
    return [event for event in world.events if isinstance(event, kind)]


def ready(count: int = 40) -> list[Any]:
    return [faults.ok()] * count


def check_settled(world: Any) -> None:
    assert world.transport.open == ()
    names = [type(event).__name__ for event in world.events]
    assert names.count("AttemptStarted") == names.count("AttemptFinished")
    assert world.client.stage("routing")._shared.crew == set()


def test_a_slow_call_is_answered_by_the_next_target(make_world: World) -> None:
    here = hedged(make_world, {"a": [*ready(), SLOW]})
    warm(here)
    began = here.now()
    answer = here.chat(model="fast")
    assert answer.target == B
    assert here.now() - began == pytest.approx(1.0, abs=0.01)
    assert [(e.first, e.second, e.delay) for e in seen(here, HedgeStarted)] == [(A, B, 1.0)]
    assert [e.winner for e in seen(here, HedgeFinished)] == [B]
    ended = {(event.attempt.target, event.kind) for event in seen(here, AttemptFinished)}
    assert ended == {(A, "cancelled"), (B, "ok")}
    assert isinstance(here.events[-1], CallFinished), "the loser had unwound before the call was over"
    stats = here.client.stage("routing").stats()["fast"]
    assert (stats.hedges, stats.hedges_won) == (1, 1)
    check_settled(here)


def test_the_first_target_may_still_win(make_world: World) -> None:
    here = hedged(make_world, {"a": [*ready(), faults.slow_first_token(2)], "b": [SLOW]})
    warm(here)
    answer = here.chat(model="fast")
    assert answer.target == A, "though the last attempt was at the other"
    assert answer.attempts[-1].target == B
    assert [e.winner for e in seen(here, HedgeFinished)] == [A]
    check_settled(here)


def test_a_stream_is_hedged_until_its_first_token_and_never_after(make_world: World) -> None:
    here = hedged(make_world, {"a": [*ready(), SLOW, faults.drip(0.4)]})
    for _ in range(40):
        here.stream(model="fast")
    here.events.clear()
    chunks, stream = here.stream(model="fast")
    assert stream.answer.target == B
    assert "".join(chunk.text for chunk in chunks) == "Hello there, world."
    check_settled(here)
    here.events.clear()
    here.stream(model="fast")
    assert seen(here, HedgeStarted) == [], "slow, but its first token had come in time"
    check_settled(here)


def test_at_most_one_hedge_and_at_most_the_share_of_calls(make_world: World) -> None:
    slow = [SLOW] * 500
    here = hedged(make_world, {"a": [*ready(), *slow], "b": slow, "c": slow}, budget={"capacity": 100})
    warm(here)
    for _ in range(200):
        here.chat(model="fast")
    started = seen(here, HedgeStarted)
    assert 0 < len(started) <= 0.1 * 240
    asked = {request.model for request in here.simulator.requests}
    assert asked == {"a", "b"}, "there is no hedge of a hedge"
    check_settled(here)


def test_the_retry_budget_of_the_second_target_is_asked(make_world: World) -> None:
    here = hedged(make_world, {"a": [*ready(), SLOW, SLOW]}, budget={"capacity": 0})
    warm(here)
    assert here.chat(model="fast").target == A
    assert [(e.first, e.reason) for e in seen(here, HedgeDenied)] == [(A, "budget")]
    assert seen(here, HedgeStarted) == []


def test_a_hedge_takes_from_the_retry_budget(make_world: World) -> None:
    here = hedged(
        make_world, {"a": [*ready(), SLOW]}, budget={"capacity": 10, "per_second": 0, "per_call": 0}
    )
    warm(here)
    here.chat(model="fast")
    assert here.client._engine.parts.retry_budget("openai").level(here.now()) == 9.0


@pytest.mark.parametrize("half_open", ["openai/a", "openai/b"])
def test_there_is_no_hedge_while_a_breaker_is_not_closed(make_world: World, half_open: str) -> None:
    here = hedged(
        make_world,
        {"a": [*ready(), SLOW]},
        pipeline=["routing", "breaker"],
        breaker={"probes": 9, "close_after": 9},
    )
    here.chat(model="openai/b")
    warm(here)
    breaker = here.client.stage("breaker")
    ((_, circuit),) = [each for each in breaker._circuits.matching() if str(each[0].target) == half_open]
    circuit.state = "half_open"
    assert here.chat(model="fast").target == A
    assert [e.reason for e in seen(here, HedgeDenied)] == ["breaker"]
    assert breaker.state(half_open) == "half_open"


def test_the_losers_breaker_does_not_count_it(make_world: World) -> None:
    here = hedged(make_world, {"a": [*ready(), SLOW]}, pipeline=["routing", "breaker"])
    warm(here)
    before = here.client.stage("breaker").stats().circuits["openai/a"]
    here.chat(model="fast")
    after = here.client.stage("breaker").stats().circuits["openai/a"]
    assert (after.successes, after.failures) == (before.successes, before.failures)
    check_settled(here)


def test_the_losers_limiter_is_settled(make_world: World) -> None:
    here = hedged(
        make_world, {"a": [*ready(), SLOW]}, pipeline=["routing", "limiter"], limiter={"concurrency": 5}
    )
    warm(here)
    here.chat(model="fast")
    stats = here.client.stage("limiter").stats()
    assert (stats.in_flight, stats.waiting) == (0, 0)


def test_a_failure_of_one_waits_for_the_other(make_world: World) -> None:
    late_failure = faults.chain(faults.status(500), faults.slow_first_token(3))
    for script in (
        {"a": [*ready(), late_failure], "b": [faults.slow_first_token(9)]},
        {"a": [*ready(), faults.slow_first_token(9)], "b": [faults.status(500)]},
    ):
        here = hedged(make_world, script)
        warm(here)
        answer = here.chat(model="fast")
        assert answer.target == (B if script["a"][-1] is late_failure else A)
        check_settled(here)


def test_when_both_fail_the_rest_of_the_route_is_tried_without_a_hedge(make_world: World) -> None:
    late = faults.chain(faults.status(500), faults.slow_first_token(3))
    here = hedged(make_world, {"a": [*ready(), late], "b": [late], "c": [faults.slow_first_token(9)]})
    warm(here)
    answer = here.chat(model="fast")
    assert answer.target == C
    assert [attempt.target for attempt in answer.attempts] == [A, B, C]
    assert [e.winner for e in seen(here, HedgeFinished)] == [None]


def practised(make_world: World, script: Any, **options: Any) -> Any:
    """A world in which every target but the last has been timed often enough."""
    names = ["openai/a", "openai/b", "openai/c", "openai/d"]
    here = hedged(make_world, script, routes={"fast": {"targets": names, **options}})
    stage = here.client.stage("routing")
    for name in names[:3]:
        for _ in range(40):
            here.stream(model="fast")
        stage.drain(name)
    stage.restore()
    here.events.clear()
    return here


def test_a_call_is_hedged_once_however_many_targets_are_slow(make_world: World) -> None:
    late = faults.chain(faults.status(500), faults.slow_first_token(3))
    here = practised(make_world, {"a": [*ready(), late], "b": [*ready(), late], "c": [*ready(), SLOW]})
    _, stream = here.stream(model="fast")
    assert stream.answer.target == C
    assert [(e.first, e.second) for e in seen(here, HedgeStarted)] == [(A, B)]


def test_a_stream_that_is_taken_over_is_not_hedged(make_world: World) -> None:
    here = practised(
        make_world,
        {"a": [*ready(), faults.cut(after=2)], "b": [*ready(), SLOW]},
        on_interrupt="restart",
    )
    _, stream = here.stream(model="fast")
    assert stream.answer.target == B
    assert seen(here, HedgeStarted) == []


def test_when_all_fail_all_errors_are_there(make_world: World) -> None:
    late = faults.chain(faults.status(500), faults.slow_first_token(3))
    here = hedged(make_world, {"a": [*ready(), late], "b": [late], "c": [faults.status(503)]})
    warm(here)
    with pytest.raises(AllTargetsFailed) as caught:
        here.chat(model="fast")
    assert [error.target for error in caught.value.errors] == [A, B, C]


def test_a_final_error_ends_the_race(make_world: World) -> None:
    late = faults.chain(faults.status(400), faults.slow_first_token(3))
    here = hedged(make_world, {"a": [*ready(), late], "b": [SLOW]})
    warm(here)
    with pytest.raises(InvalidRequestError):
        here.chat(model="fast")
    check_settled(here)


def test_a_call_may_do_without(make_world: World) -> None:
    here = hedged(make_world, {"a": [*ready(), SLOW]})
    warm(here)
    assert here.chat(model="fast", routing={"hedge": False}).target == A
    assert seen(here, HedgeStarted) == seen(here, HedgeDenied) == []


def test_a_call_that_has_made_its_attempts_is_not_hedged(make_world: World) -> None:
    here = hedged(
        make_world,
        {"a": [*ready(), SLOW]},
        routing={"max_total_attempts": 1, "hedge": {"enabled": True, "min_samples": 20, "share": 0.1}},
    )
    warm(here)
    assert here.chat(model="fast").target == A
    assert [e.reason for e in seen(here, HedgeDenied)] == ["attempts"]


def test_a_route_of_one_target_is_never_hedged(make_world: World) -> None:
    here = hedged(make_world, {"a": [*ready(), SLOW]}, routes={"fast": {"targets": ["openai/a"]}})
    warm(here)
    assert here.chat(model="fast").target == A


def test_a_broken_stream_is_taken_over_without_a_hedge(make_world: World) -> None:
    here = hedged(
        make_world,
        {"a": [*ready(), SLOW], "b": [faults.cut(after=2)], "c": [faults.slow_first_token(9)]},
        routes={"fast": {"targets": ["openai/a", "openai/b", "openai/c"], "on_interrupt": "restart"}},
    )
    for _ in range(40):
        here.stream(model="fast")
    _, stream = here.stream(model="fast")
    assert stream.answer.target == C
    assert stream.answer.text == "Hello there, world."
    check_settled(here)


def test_cancelled_at_any_await_a_race_leaks_nothing(make_world: World) -> None:
    cancelled = 0
    for point in range(1, 200):
        here = hedged(make_world, {"a": [*ready(), SLOW], "b": [faults.slow_first_token(1)]})
        warm(here)
        suspended = [0]

        def cancel_here(task: Any, point: int = point, suspended: list[int] = suspended) -> None:
            if task.name == "main":
                suspended[0] += 1
                if suspended[0] == point:
                    task.cancel()

        here.runtime.on_suspend = cancel_here
        try:
            here.chat(model="fast", messages="Hello")
        except CancelledError:
            cancelled += 1
        else:
            break
        here.runtime.on_suspend = None
        here.runtime.settle()
        assert len(seen(here, CallFinished)) == 1
        check_settled(here)
    assert cancelled >= 3


def test_in_asyncio_the_loser_is_cut_off(make_world: World) -> None:
    from penstock.asynchronous import AsyncioRuntime

    class Upstream:
        """A transport whose model `a` hangs once it is told to."""

        def __init__(self) -> None:
            self.inner = Simulator(text="ok").transport()
            self.hangs = False
            self.hanging = 0

        async def send(self, request: Any, limits: Any) -> Any:
            if self.hangs and b'"model":"a"' in request.body.replace(b" ", b""):
                self.hanging += 1
                try:
                    await asyncio.sleep(600)
                finally:
                    self.hanging -= 1
            return await self.inner.send(request, limits)

        async def close(self) -> None:
            await self.inner.close()

    async def play() -> None:
        upstream = Upstream()
        events: list[Any] = []
        runtime = AsyncioRuntime(upstream)  # type: ignore[arg-type]  # as much of a transport as is needed
        upstream.inner.runtime = runtime
        async with AsyncClient(
            False,
            environ={},
            runtime=runtime,
            listeners=[events.append],
            providers={"openai": {"api_key": "sk-test-0123456789", "base_url": "http://sim.test/v1"}},
            pipeline=["routing", "retry", "breaker"],
            routes={"fast": {"targets": ["openai/a", "openai/b"]}},
            routing={"hedge": {"enabled": True, "min_samples": 20, "min_delay": 0.02, "share": 1}},
        ) as client:
            for _ in range(20):
                await client.chat("fast", "Hello")
            upstream.hangs = True
            answers = [await client.chat("fast", "Hello") for _ in range(3)]
            assert {answer.target for answer in answers} == {B}
            assert upstream.hanging == 0
            task = asyncio.ensure_future(client.chat("fast", "Hello"))
            await asyncio.sleep(0.005)
            assert upstream.hanging == 1
            task.cancel()
            with pytest.raises(CancelledError):
                await task
            assert upstream.hanging == 0
            assert client.stage("routing")._shared.crew == set()
        names = [type(event).__name__ for event in events]
        assert names.count("AttemptStarted") == names.count("AttemptFinished")

    asyncio.run(play())
