"""Cache, routing, retry, breaker and limiter in one pipeline: what each does when the others are there."""

from __future__ import annotations

from asyncio import CancelledError
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from penstock import (
    AllTargetsFailed,
    AuthenticationError,
    BreakerOpen,
    CallError,
    DeadlineExceeded,
    RateLimited,
    RateLimitError,
    ServerError,
    Target,
)
from penstock.events import (
    AttemptFinished,
    AttemptStarted,
    BreakerTransition,
    HedgeDenied,
    HedgeStarted,
    LimiterCancelled,
    LimiterPaused,
    LimiterQueued,
    RetryScheduled,
    RetryStopped,
    TargetSkipped,
)
from penstock_testkit import Simulator, faults

World = Callable[..., Any]
A, B, C = Target("one", "a"), Target("two", "b"), Target("one", "c")
PIPELINE = ["cache", "routing", "retry", "breaker", "limiter"]
DOWN = faults.status(503)


def whole(world: World, script: Any = None, targets: Any = ("one/a", "two/b", "one/c"), **tables: Any) -> Any:
    """A client with every stage in front of two providers; `script` is by model."""
    simulator = tables.pop("simulator", None) or Simulator(script=script or {}, text="one two three four")
    providers = {
        name: {"plugin": "openai", "api_key": "sk-test-0123456789", "base_url": f"http://{name}.test/v1"}
        for name in ("one", "two")
    }
    return world(
        simulator=simulator,
        pipeline=PIPELINE,
        providers=providers,
        routes={"fast": {"targets": list(targets)}},
        **tables,
    )


def simulated(make_world: World) -> World:
    return lambda **options: make_world("simulated", **options)


def models(here: Any) -> list[str]:
    return [request.model for request in here.simulator.requests]


def seen(here: Any, kind: type) -> list[Any]:
    return [event for event in here.events if isinstance(event, kind)]


def skipped(here: Any) -> list[tuple[str, str]]:
    return [(str(event.target), event.reason) for event in seen(here, TargetSkipped)]


def check_settled(here: Any) -> None:
    """Nothing is held: no connection, no place in a queue, no permit, no probe, no flight."""
    assert here.transport.open == ()
    limiter = here.client.stage("limiter").stats()
    assert (limiter.in_flight, limiter.waiting) == (0, 0)
    circuits = here.client.stage("breaker").stats().circuits
    assert all(circuit.probes == 0 for circuit in circuits.values())
    assert len(here.client.stage("cache").flights) == 0
    assert len(seen(here, AttemptStarted)) == len(seen(here, AttemptFinished))


# Breaker, limiter and retry


def test_no_probe_is_held_while_its_call_queues(make_world: World) -> None:
    here = whole(
        simulated(make_world),
        {"a": [DOWN] * 2},
        breaker={"consecutive_failures": 2, "jitter": 0, "close_after": 1},
        limiter={"rate": "1/s", "burst": 1},
        retry={"max_attempts": 1},
    )
    for _ in range(2):
        with pytest.raises(ServerError):
            here.chat(model="one/a")
    runtime, client = here.runtime, here.client
    ended: Counter[str] = Counter()
    looks: list[int] = []

    async def caller() -> None:
        try:
            await client.chat("one/a", "Hello", limiter={"max_wait": 5})
            ended["ok"] += 1
        except CallError as error:
            ended[type(error).__name__] += 1

    async def crowd() -> None:
        await runtime.sleep(15.0)
        await client.chat("one/c", "Hello")  # takes the room of this second, so all of them pass the gate
        callers = [runtime.spawn(caller()) for _ in range(5)]
        while not all(task.done for task in callers):
            looks.append(client.stage("breaker").stats().circuits["one/a"].probes)
            await runtime.sleep(0.25)

    here.run(crowd())
    assert ended == {"ok": 5}
    assert set(looks) == {0}, "an answer takes no time here, so a probe is out for none"
    reasons = [event.reason for event in seen(here, BreakerTransition)]
    assert reasons == ["consecutive_failures", "rest_over", "probes_succeeded"]
    check_settled(here)


def test_a_breaker_that_opens_while_a_call_queues_costs_it_no_quota(make_world: World) -> None:
    here = whole(
        simulated(make_world),
        {"a": [faults.chain(DOWN, faults.slow_first_token(2.5))]},
        breaker={"consecutive_failures": 1, "jitter": 0},
        limiter={"targets": {"one/a": {"concurrency": 1, "rate": "1/min", "burst": 2}}},
        retry={"max_attempts": 1},
    )
    runtime, client = here.runtime, here.client

    async def two() -> Any:
        first = runtime.spawn(client.chat("one/a", "Hello"))
        await runtime.sleep(1.0)
        answer = await client.chat("fast", "Hello")
        with pytest.raises(ServerError):
            first.result()
        return answer

    answer = here.run(two())
    assert answer.target == B
    assert [event.reason for event in seen(here, LimiterQueued)] == ["concurrency"]
    limit = client.stage("limiter").stats().limits["one"]
    assert limit["available_requests"] >= 1, "the call that was refused behind the queue gave its place back"
    check_settled(here)


@pytest.mark.parametrize("hint", [20.0, 90.0])
def test_a_429_pauses_its_target_and_the_calls_after_it_go_elsewhere(world: World, hint: float) -> None:
    here = whole(world, {"a": [faults.status(429, retry_after=hint)]}, retry={"max_attempts": 1})
    assert here.chat(model="fast").target == B
    assert here.chat(model="fast").target == B
    assert skipped(here) == [("one/a", "rate_limited_local")]
    assert [event.reason for event in seen(here, LimiterPaused)] == ["throttled"]
    assert here.client.stage("breaker").state("one/a") == "closed", "a 429 never trips it"
    with pytest.raises(RateLimited) as caught:
        here.chat(model="one/a", limiter={"mode": "nowait"})
    assert hint - 1 < (caught.value.retry_after or 0) <= hint * 1.1
    check_settled(here)


def test_a_short_pause_is_waited_for_and_a_long_one_is_not(world: World) -> None:
    here = whole(world, {"a": [faults.status(429, retry_after=1.0)]}, retry={"max_attempts": 1})
    assert here.chat(model="fast").target == B
    assert here.chat(model="fast").target == A
    assert skipped(here) == []
    check_settled(here)


def test_a_refused_credential_rests_and_its_other_models_are_passed_over(world: World) -> None:
    here = whole(world, {"a": [faults.status(401)]}, targets=["one/a", "one/c", "two/b"])
    assert here.chat(model="fast").target == B
    assert here.chat(model="fast").target == B
    assert models(here) == ["a", "b", "b"]
    assert skipped(here) == [("one/c", "circuit_open"), ("one/a", "circuit_open"), ("one/c", "circuit_open")]
    assert here.client.stage("breaker").state("one/a") == "closed", "the provider works"
    check_settled(here)


# Routes


def test_what_no_target_answered_says_why_each_did_not_and_when_to_come_back(world: World) -> None:
    here = whole(
        world,
        {"a": [DOWN] * 9, "b": [faults.status(429, retry_after=40)], "c": [faults.status(401)]},
        breaker={"consecutive_failures": 1, "jitter": 0},
        retry={"max_attempts": 1},
    )
    with pytest.raises(AllTargetsFailed) as first:
        here.chat(model="fast")
    assert [type(error) for error in first.value.errors] == [
        type(first.value.errors[0]),
        RateLimitError,
        AuthenticationError,
    ]
    assert isinstance(first.value.errors[0], ServerError)
    assert [error.target for error in first.value.errors] == [A, B, C]
    assert first.value.retry_after == 40
    assert len(first.value.attempts) == 3
    with pytest.raises(AllTargetsFailed) as second:
        here.chat(model="fast")
    assert [(type(e), e.tags) for e in second.value.errors] == [
        (BreakerOpen, ("credential_rests",)),
        (RateLimited, ()),
        (BreakerOpen, ("credential_rests",)),
    ]
    assert second.value.attempts == ()
    assert second.value.retry_after == min(e.retry_after for e in second.value.errors if e.retry_after)
    assert here.count == 3
    check_settled(here)


def test_the_attempts_of_a_call_are_bounded_over_all_its_targets(world: World) -> None:
    here = whole(world, {"a": [DOWN] * 9, "b": [DOWN] * 9, "c": [DOWN] * 9})
    with pytest.raises(AllTargetsFailed):
        here.chat(model="fast")
    assert models(here) == ["a"] * 3 + ["b"] * 3
    check_settled(here)


@pytest.mark.parametrize("own", [False, True], ids=["configured", "of the call"])
def test_the_bound_of_the_retry_stage_holds_for_the_targets_of_a_route(world: World, own: bool) -> None:
    value = {"max_attempts": 2, "max_total_attempts": 3}
    here = whole(world, {"a": [DOWN] * 9, "b": [DOWN] * 9, "c": [DOWN] * 9}, retry={} if own else value)
    with pytest.raises(AllTargetsFailed) as caught:
        here.chat(model="fast", **({"retry": value} if own else {}))
    assert models(here) == ["a", "a", "b"]
    assert caught.value.errors[-1].target == C
    assert caught.value.errors[-1].tags == ("attempts_exhausted",)
    check_settled(here)


def test_the_bound_holds_when_a_hedge_makes_the_attempts(make_world: World) -> None:
    late = faults.chain(DOWN, faults.slow_first_token(1.5))
    here = whole(
        simulated(make_world),
        {"a": [*[faults.ok()] * 40, *[late] * 9], "b": [late] * 9, "c": [late] * 9},
        routing={"hedge": {"enabled": True, "min_samples": 20, "share": 0.1}},
        retry={"max_attempts": 9, "max_total_attempts": 5, "base": 3.0, "throttle_base": 3.0},
        breaker={"enabled": False},
    )
    for number in range(40):
        here.chat(f"warm {number}", model="fast")
    here.events.clear()
    with pytest.raises(AllTargetsFailed) as caught:
        here.chat(model="fast")
    assert len(seen(here, HedgeStarted)) == 1
    assert len(caught.value.attempts) == 5
    assert len({attempt.target for attempt in caught.value.attempts}) == 2


def test_retries_and_hedges_of_a_provider_take_from_one_budget(make_world: World) -> None:
    slow = faults.slow_first_token(30.0)
    here = whole(
        simulated(make_world),
        {"a": [*[faults.ok()] * 40, slow, slow], "b": [DOWN] * 99},
        routing={"hedge": {"enabled": True, "min_samples": 20, "share": 0.1}},
        retry={"base": 0.01, "throttle_base": 0.01},
        breaker={"enabled": False},
    )
    for number in range(40):
        here.chat(f"warm {number}", model="fast")
    for number in range(20):  # every retry of `two` there is
        with pytest.raises(ServerError):
            here.chat(f"down {number}", model="two/b")
    assert seen(here, RetryStopped)[-1].reason == "denied"
    assert "budget_exhausted" in seen(here, RetryStopped)[-1].error.tags
    here.events.clear()
    assert here.chat(model="fast").target == A
    assert seen(here, HedgeStarted) == []
    assert [event.reason for event in seen(here, HedgeDenied)] == ["budget"]


def test_the_deadline_of_a_call_is_spent_over_all_its_targets(world: World) -> None:
    here = whole(
        world,
        {"a": [faults.hang()] * 9, "b": [faults.hang()] * 9, "c": [faults.hang()] * 9},
        timeouts={"attempt": 4, "total": 10},
        retry={"max_attempts": 1},
    )
    began = here.now()
    with pytest.raises(DeadlineExceeded):
        here.chat(model="fast")
    assert here.now() - began == pytest.approx(10.0)
    assert models(here) == ["a", "b", "c"]
    assert [type(attempt.error).__name__ for attempt in seen_attempts(here)] == [
        "AttemptTimeout",
        "AttemptTimeout",
        "DeadlineExceeded",
    ]
    check_settled(here)


def seen_attempts(here: Any) -> list[Any]:
    return [event.attempt for event in seen(here, AttemptFinished)]


# The cache around them


def test_hits_are_given_while_everything_is_down(world: World) -> None:
    here = whole(
        world,
        {"a": [faults.ok(), *[DOWN] * 9], "b": [DOWN] * 9, "c": [DOWN] * 9},
        breaker={"consecutive_failures": 1},
        limiter={"rate": "1/h", "burst": 4},
    )
    first = here.chat("known", model="fast", temperature=0)
    with pytest.raises(AllTargetsFailed):
        here.chat("unknown", model="fast", temperature=0)
    count = here.count
    again = here.chat("known", model="fast", temperature=0)
    assert (again.text, again.cached, again.target) == (first.text, True, A)
    assert here.count == count
    check_settled(here)


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_an_old_answer_is_given_when_no_target_has_one(world: World, streamed: bool) -> None:
    here = whole(
        world,
        {"a": [faults.ok(), *[DOWN] * 9], "b": [DOWN] * 9, "c": [DOWN] * 9},
        cache={"mode": "aggressive", "ttl": 60, "stale_while_revalidate": 0},
        breaker={"consecutive_failures": 1},
    )
    first = here.chat("known", model="fast")
    let_pass(here, 120)
    for _ in range(3):  # the second and third find every breaker open
        if streamed:
            _, stream = here.stream("known", model="fast")
            answer = stream.answer
        else:
            answer = here.chat("known", model="fast")
        assert (answer.text, answer.cached) == (first.text, True)
        assert (answer.age or 0) >= 120
    assert models(here) == ["a", "a", "b", "c"]
    check_settled(here)


def test_no_old_answer_hides_that_every_target_refuses_the_request(world: World) -> None:
    here = whole(
        world,
        {"a": [faults.ok(), faults.status(401)], "b": [faults.status(401)]},
        targets=["one/a", "two/b"],
        cache={"mode": "aggressive", "ttl": 60, "stale_while_revalidate": 0},
    )
    here.chat("known", model="fast")
    let_pass(here, 120)
    with pytest.raises(AllTargetsFailed):
        here.chat("known", model="fast")
    check_settled(here)


def test_a_leader_cancelled_in_the_limiters_queue_is_replaced(make_world: World) -> None:
    here = whole(simulated(make_world), limiter={"rate": "6/min", "burst": 1}, targets=["one/a"])
    runtime, client = here.runtime, here.client

    async def crowd() -> list[Any]:
        await client.chat("fast", "first", temperature=0)
        leader = runtime.spawn(client.chat("one/a", "same", temperature=0))
        await runtime.sleep(1.0)
        followers = [runtime.spawn(client.chat("one/a", "same", temperature=0)) for _ in range(4)]
        await runtime.sleep(1.0)
        leader.cancel()
        while not all(task.done for task in followers):
            await runtime.sleep(1.0)
        with pytest.raises(CancelledError):
            leader.result()
        return [task.result() for task in followers]

    answers = here.run(crowd())
    assert len(seen(here, LimiterCancelled)) == 1
    assert Counter(answer.cached for answer in answers) == {True: 3, False: 1}
    assert here.count == 2
    check_settled(here)


@pytest.mark.parametrize("take", [1, 2, None])
def test_a_stream_left_early_gives_everything_back(world: World, take: int | None) -> None:
    here = whole(
        world,
        {"a": [faults.reset()], "b": [faults.cut(after=0)]},
        cache={"mode": "aggressive"},
        routing={"on_interrupt": "restart"},
        limiter={"concurrency": 1, "tokens": "100000/min"},
        retry={"max_attempts": 1},
    )
    chunks, _ = here.stream(model="fast", take=take)
    assert models(here) == ["a", "b", "c"]
    assert take is None or len(chunks) == take
    check_settled(here)
    assert here.client.stage("breaker").stats().circuits["one/c"].successes == 1
    assert here.client.stage("cache").stats().stores == (1 if take is None else 0)
    # The place is free again, for the next one to the same provider.
    assert here.chat(model="one/c", limiter={"mode": "nowait"}).target == C


# Overrides and control by hand


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ({"retry": {"routes": {"fast": {"max_attempts": 1}}}}, ["a", "b"]),
        ({"retry": {"targets": {"one/*": {"max_attempts": 1}}}}, ["a", "b", "b"]),
        ({"retry": {"routes": {"fast": {"enabled": False}}}}, ["a", "b"]),
        ({"breaker": {"targets": {"one/a": {"consecutive_failures": 1}}}}, ["a", "b", "b"]),
        ({"breaker": {"routes": {"fast": {"consecutive_failures": 1}}}}, ["a", "b"]),
    ],
)
def test_numbers_may_be_those_of_a_route_or_of_a_target(
    world: World, tables: dict[str, Any], expected: list[str]
) -> None:
    here = whole(
        world,
        {"a": [DOWN] * 9, "b": [DOWN] * 9},
        targets=["one/a", "two/b"],
        **{"retry": {"max_attempts": 2}, **with_two_attempts(tables)},
    )
    with pytest.raises(AllTargetsFailed):
        here.chat(model="fast")
    assert models(here) == expected
    check_settled(here)


def with_two_attempts(tables: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {"max_attempts": 2, **table} if name == "retry" else table for name, table in tables.items()
    }


def test_a_route_may_do_without_cache_and_limiter(world: World) -> None:
    here = whole(
        world,
        cache={"routes": {"fast": {"enabled": False}}},
        limiter={"rate": "1/h", "burst": 1, "mode": "nowait", "routes": {"fast": {"enabled": False}}},
    )
    assert [here.chat(model="fast", temperature=0).cached for _ in range(2)] == [False, False]
    assert [here.chat(model="one/a", temperature=0).cached for _ in range(2)] == [False, True]
    with pytest.raises(RateLimited):
        here.chat("other", model="one/a", temperature=0)


def test_every_stage_can_be_asked_and_controlled_by_hand(world: World) -> None:
    here = whole(world, cache={"mode": "aggressive"}, limiter={"rate": "100/s"})
    stage = here.client.stage
    stage("breaker").force_open("one/a")
    assert here.chat("x", model="fast").target == B
    stage("breaker").reset("one/a")
    stage("limiter").configure("one/a", rate="1/h", burst=1)
    assert [here.chat(f"y{n}", model="fast").target for n in range(2)] == [A, B]
    stage("limiter").configure("one/a", rate="100/s", burst=100)
    assert here.chat("z", model="fast").target == A
    stage("routing").drain("one/*")
    assert here.chat("w", model="fast").target == B
    stage("routing").restore()
    assert here.chat("w", model="fast").cached
    here.run(stage("cache").invalidate("fast"))
    assert not here.chat("w", model="fast").cached
    assert stage("cache").stats().hits == 1
    assert stage("limiter").stats().admitted == here.count
    assert stage("routing").stats()["fast"].targets["two/b"].chosen == 3
    assert stage("breaker").stats().circuits["two/b"].successes == 3
    check_settled(here)


def test_a_target_that_was_passed_over_is_asked_again_once_its_limit_is_widened(world: World) -> None:
    here = whole(world, limiter={"targets": {"one/*": {"rate": "1/h", "burst": 2}}})
    for model in ("one/c", "one/a"):
        here.chat(model=model)
    assert here.chat(model="fast").target == B
    here.client.stage("limiter").configure("one/a", rate="100/s", burst=100)
    assert here.chat(model="fast").target == A


def let_pass(here: Any, seconds: float) -> None:
    if here.colour == "blocking":
        here.runtime._sleep(seconds)
    else:
        here.run(here.runtime.sleep(seconds))


def test_every_decision_is_told_with_its_reason(world: World) -> None:
    here = whole(
        world,
        {"a": [DOWN] * 9, "b": [faults.status(429, retry_after=9)]},
        breaker={"consecutive_failures": 3},
        retry={"max_attempts": 3},
    )
    here.chat(model="fast", temperature=0)
    for event in here.events:
        for field in ("reason", "result", "kind"):
            value = getattr(event, field, "said")
            assert value or value == "", event
    assert [event.delay > 0 for event in seen(here, RetryScheduled)] == [True] * 3


def test_a_target_whose_permits_are_all_stuck_holds_up_no_route(make_world: World) -> None:
    here = whole(
        simulated(make_world),
        {"a": [*[faults.slow_first_token(0.1)] * 10, *[faults.hang()] * 2]},
        limiter={"targets": {"one/a": {"concurrency": 2}}},
    )
    for number in range(10):
        assert here.chat(f"warm {number}", model="fast").target == A
    runtime, client = here.runtime, here.client

    async def crowd() -> list[Any]:
        stuck = [runtime.spawn(client.chat("one/a", "Hello", timeout=50)) for _ in range(2)]
        await runtime.sleep(1.0)
        began = runtime.now()
        answer = await client.chat("fast", "Hello")
        waited = runtime.now() - began
        while not all(task.done for task in stuck):
            await runtime.sleep(1.0)
        for task in stuck:
            with pytest.raises(DeadlineExceeded):
                task.result()
        return [answer.target, waited]

    # By their usual time the permits should have been back long ago: only waiting shows that they are not.
    assert here.run(crowd()) == [B, pytest.approx(2.0)]
    assert [event.reason for event in seen(here, LimiterQueued)] == ["concurrency"]
    check_settled(here)
