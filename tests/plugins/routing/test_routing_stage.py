"""Routes in a client, in three colours, in front of the simulated provider."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from penstock import (
    AllTargetsFailed,
    AuthenticationError,
    BreakerOpen,
    CallError,
    ContextLengthError,
    DeadlineExceeded,
    Image,
    InvalidRequestError,
    RateLimited,
    ServerError,
    Target,
)
from penstock.errors import ContentFilterError, Rejection
from penstock.events import Failover, TargetsDrained, TargetSkipped
from penstock_testkit import Simulator, faults

World = Callable[..., Any]
PROVIDERS = {
    "openai": {"api_key": "sk-test-0123456789", "base_url": "http://sim.test/v1"},
    "other": {"plugin": "openai", "api_key": "sk-test-9876543210", "base_url": "http://sim2.test/v1"},
}
A, B, C = Target("openai", "a"), Target("other", "b"), Target("openai", "c")
THREE = {"targets": ["openai/a", "other/b", "openai/c"]}


def routed(world: World, script: Any = None, route: Any = None, **options: Any) -> Any:
    simulator = Simulator(script=script or {}, text=options.pop("text", "Hello there, world."))
    options = {
        "pipeline": ["routing"],
        "providers": PROVIDERS,
        "routes": {"fast": route or THREE},
        "simulator": simulator,
        **options,
    }
    return world(**options)


def models(world: Any) -> list[str]:
    return [request.model for request in world.simulator.requests]


def skipped(world: Any) -> list[tuple[str, str]]:
    return [(str(e.target), e.reason) for e in world.events if isinstance(e, TargetSkipped)]


def stage(world: Any) -> Any:
    return world.client.stage("routing")


def test_a_route_asks_its_first_target(world: World) -> None:
    here = routed(world)
    answer = here.chat(model="fast")
    assert answer.text == "Hello there, world."
    assert answer.target == A
    assert models(here) == ["a"]


def test_the_next_target_is_asked_when_one_fails_and_each_once(world: World) -> None:
    here = routed(world, {"a": [faults.status(500)], "b": [faults.reset()]})
    answer = here.chat(model="fast")
    assert answer.target == C
    assert models(here) == ["a", "b", "c"]
    assert [attempt.number for attempt in answer.attempts] == [1, 2, 3]
    failovers = [e for e in here.events if isinstance(e, Failover)]
    assert [(e.before, e.after, e.reason) for e in failovers] == [(A, B, "500"), (B, C, "connection_error")]
    stats = stage(here).stats()["fast"].targets
    assert [(name, each.chosen, each.failed) for name, each in stats.items()] == [
        ("openai/a", 1, 1),
        ("other/b", 1, 1),
        ("openai/c", 1, 0),
    ]


def test_a_stream_fails_over_before_its_first_token(world: World) -> None:
    here = routed(world, {"a": [faults.cut(after=0)]})
    chunks, stream = here.stream(model="fast")
    assert "".join(chunk.text for chunk in chunks) == "Hello there, world."
    assert stream.answer.target == B
    assert models(here) == ["a", "b"]


def test_embeddings_take_the_same_way(world: World) -> None:
    here = routed(world, {"a": [faults.status(503)]})
    assert here.embed(["one", "two"], model="fast").target == B


def test_when_all_fail_every_error_is_there_and_the_smallest_hint(world: World) -> None:
    here = routed(
        world,
        {
            "a": [faults.status(503, retry_after=9)],
            "b": [faults.status(429, retry_after=4)],
            "c": [faults.status(500)],
        },
    )
    with pytest.raises(AllTargetsFailed, match="the route 'fast' has no answer: openai/a: ") as caught:
        here.chat(model="fast")
    error = caught.value
    assert [each.target for each in error.errors] == [A, B, C]
    assert error.retry_after == 4
    assert [attempt.target for attempt in error.attempts] == [A, B, C]
    assert error.tags == ()


def test_an_error_that_no_target_can_mend_ends_the_call(world: World) -> None:
    here = routed(world, {"a": [faults.status(400)]})
    with pytest.raises(InvalidRequestError):
        here.chat(model="fast")
    assert models(here) == ["a"]


@pytest.mark.parametrize("fault", [faults.status(401), faults.quota(), faults.status(404), faults.html()])
def test_errors_of_one_vendor_go_to_the_next(world: World, fault: Any) -> None:
    here = routed(world, {"a": [fault]})
    assert here.chat(model="fast").target == B


def test_retries_of_a_target_come_before_the_next_one(world: World) -> None:
    here = routed(world, {"a": [faults.status(503)] * 9}, pipeline=["routing", "retry"])
    assert here.chat(model="fast").target == B
    assert models(here) == ["a", "a", "a", "b"]


def test_no_target_is_tried_after_the_last_attempt_a_call_may_make(world: World) -> None:
    down = [faults.status(503)] * 9
    here = routed(
        world,
        {"a": down, "b": down, "c": down},
        pipeline=["routing", "retry"],
        routing={"max_total_attempts": 5},
    )
    with pytest.raises(AllTargetsFailed, match=r"not tried after 6 attempts .*: openai/c") as caught:
        here.chat(model="fast")
    assert caught.value.tags == ("attempts_exhausted",)
    assert models(here) == ["a"] * 3 + ["b"] * 3


def test_a_spent_deadline_ends_the_search(world: World) -> None:
    # The answer comes whole, but too late for another: only the clock of the first attempt has moved.
    late = faults.chain(faults.status(500), faults.slow_first_token(5))
    here = routed(world, {"a": [late]})
    with pytest.raises(DeadlineExceeded):
        here.chat(model="fast", timeout=5)
    assert models(here) == ["a"]


def test_a_target_with_an_open_breaker_costs_no_attempt(world: World) -> None:
    here = routed(
        world,
        {"a": [faults.status(500)] * 2},
        pipeline=["routing", "breaker"],
        breaker={"consecutive_failures": 2, "jitter": 0},
    )
    for _ in range(4):
        assert here.chat(model="fast").target == B
    assert models(here) == ["a", "b", "a", "b", "b", "b"]
    assert skipped(here) == [("openai/a", "circuit_open")] * 2
    assert stage(here).stats()["fast"].targets["openai/a"].skipped == {"circuit_open": 2}


def test_a_credential_that_rests_is_passed_over_for_all_its_models(world: World) -> None:
    here = routed(world, {"a": [faults.status(401)]}, pipeline=["routing", "breaker"])
    assert here.chat(model="fast").target == B
    assert here.chat(model="fast").target == B
    assert models(here) == ["a", "b", "b"]


def test_when_all_are_passed_over_nothing_is_sent(world: World) -> None:
    here = routed(world, pipeline=["routing", "breaker"])
    here.client.stage("breaker").force_open("*")
    with pytest.raises(AllTargetsFailed) as caught:
        here.chat(model="fast")
    assert [type(error) for error in caught.value.errors] == [BreakerOpen] * 3
    assert caught.value.retry_after is not None
    assert here.count == 0
    assert caught.value.attempts == ()


@pytest.mark.parametrize(("max_wait", "second"), [(2, A), (0.5, B)])
def test_a_limiter_that_would_keep_the_call_waiting_is_passed_over(
    world: World, max_wait: float, second: Target
) -> None:
    here = routed(
        world,
        pipeline=["routing", "limiter"],
        limiter={"targets": {"openai/a": {"rate": "1/s", "burst": 1}}},
        routing={"max_wait": max_wait},
    )
    assert here.chat(model="fast").target == A
    assert here.chat(model="fast").target == second
    assert skipped(here) == ([] if second == A else [("openai/a", "rate_limited_local")])


def test_a_long_queue_is_passed_over(world: World) -> None:
    here = routed(
        world,
        pipeline=["routing", "limiter"],
        limiter={"rate": "1/min", "burst": 1},
        route={"targets": ["openai/a", "other/b"]},
    )
    assert [here.chat(model="fast").target for _ in range(2)] == [A, B]
    with pytest.raises(AllTargetsFailed) as caught:
        here.chat(model="fast")
    assert [type(error) for error in caught.value.errors] == [RateLimited] * 2
    assert 0 < (caught.value.retry_after or 0) <= 60


@pytest.mark.parametrize(
    ("able", "parameters", "lack"),
    [
        (["chat", "stream"], {"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        (["chat", "stream"], {"schema": {"type": "object", "properties": {}}}, "schema"),
        (
            ["chat"],
            {"messages": [{"role": "user", "content": [Image.from_url("https://x.test/y")]}]},
            "vision",
        ),
        (["embed"], {}, "chat"),
    ],
)
def test_a_target_that_lacks_what_the_request_needs_is_passed_over(
    world: World, able: list[str], parameters: dict[str, Any], lack: str
) -> None:
    here = routed(
        world, route={"targets": [{"target": "openai/a", "capabilities": able}, "other/b"]}, text="{}"
    )
    answer = here.chat(model="fast", **parameters)
    assert answer.target == B
    assert skipped(here) == [("openai/a", lack)]
    assert models(here) == ["b"]


def test_a_stream_goes_to_a_target_that_streams(world: World) -> None:
    here = routed(world, route={"targets": [{"target": "openai/a", "capabilities": ["chat"]}, "other/b"]})
    _, stream = here.stream(model="fast")
    assert stream.answer.target == B
    assert here.chat(model="fast").target == A


def test_a_prompt_longer_than_the_window_goes_to_a_larger_one(world: World) -> None:
    here = routed(
        world, route={"targets": [{"target": "openai/a", "context_length": 1000}, "other/b"]}, text="ok"
    )
    assert here.chat("word " * 400, model="fast").target == A
    assert here.chat("word " * 2000, model="fast").target == B
    assert skipped(here) == [("openai/a", "context_length")]


def test_a_window_smaller_than_usual_is_heeded(world: World) -> None:
    here = routed(
        world, route={"targets": [{"target": "openai/a", "context_length": 400}, "other/b"]}, text="ok"
    )
    assert here.chat("word " * 500, model="fast").target == B


def test_a_context_length_error_goes_only_to_a_larger_window(world: World) -> None:
    too_long = faults.status(400, kind="context_length")
    here = routed(
        world,
        {"a": [too_long]},
        {
            "targets": [
                {"target": "openai/a", "context_length": 8000},
                {"target": "other/b", "context_length": 8000},
                {"target": "openai/c", "context_length": 16000},
            ]
        },
    )
    assert here.chat(model="fast").target == C
    assert models(here) == ["a", "c"]
    assert skipped(here) == [("other/b", "context_length")]


def test_without_a_larger_window_all_errors_are_about_the_length(world: World) -> None:
    here = routed(
        world,
        {"a": [faults.status(400, kind="context_length")]},
        {"targets": [{"target": t, "context_length": 8000} for t in ("openai/a", "other/b")]},
    )
    with pytest.raises(AllTargetsFailed) as caught:
        here.chat(model="fast")
    assert [type(error) for error in caught.value.errors] == [ContextLengthError] * 2
    assert models(here) == ["a"]


@pytest.mark.parametrize("where", ["config", "route", "call"])
def test_a_refusal_of_the_content_switches_vendor_only_when_asked(world: World, where: str) -> None:
    refusal = faults.status(400, kind="content_filter")
    here = routed(world, {"a": [refusal]})
    with pytest.raises(ContentFilterError):
        here.chat(model="fast")
    assert models(here) == ["a"]
    option = {"failover_on_content_filter": True}
    here = routed(
        world,
        {"a": [refusal]},
        {**THREE, **(option if where == "route" else {})},
        routing=option if where == "config" else {},
    )
    assert here.chat(model="fast", **({"routing": option} if where == "call" else {})).target == B


def test_a_limit_for_a_call_is_checked(world: World) -> None:
    here = routed(world)
    for wrong in ({"on_interrupt": "explode"}, {"hedge": True}, {"speed": 1}, "fast"):
        with pytest.raises(InvalidRequestError, match="routing: "):
            here.chat(model="fast", routing=wrong)
    assert here.count == 0
    assert here.chat(model="fast", routing=True).target == A


def test_a_route_may_be_called_like_a_target(world: World) -> None:
    here = routed(
        world,
        {"a": [faults.status(500)]},
        routes={"openai/a": {"targets": ["openai/a", "other/b"]}},
    )
    assert here.chat(model="openai/a").target == B


def test_a_plain_target_has_no_routing_around_it(world: World) -> None:
    here = routed(world, {"a": [faults.status(500)]})
    with pytest.raises(ServerError):
        here.chat(model="openai/a")
    assert models(here) == ["a"]
    place = here.client._engine.parts.rings[0].bind(None, A, None)
    assert place is None


def test_a_call_may_leave_routing_out(world: World) -> None:
    here = routed(world)
    with pytest.raises(InvalidRequestError, match="no provider claims the model 'fast'"):
        here.chat(model="fast", routing=False)


def test_weights_decide_inside_a_group(world: World) -> None:
    here = routed(
        world,
        route={"targets": [[{"target": "openai/a", "weight": 3}, "other/b"], "openai/c"]},
    )
    for _ in range(200):
        here.chat(model="fast")
    counts = {name: models(here).count(name) for name in "abc"}
    assert counts["c"] == 0
    assert 120 < counts["a"] < 180


def test_a_group_is_used_up_before_the_next_one(world: World) -> None:
    down = [faults.status(500)] * 50
    here = routed(world, {"a": down, "b": down}, {"targets": [["openai/a", "other/b"], "openai/c"]})
    for _ in range(10):
        assert here.chat(model="fast").target == C
    asked = models(here)
    assert all(set(asked[at : at + 2]) == {"a", "b"} for at in range(0, 30, 3))


def test_targets_can_be_drained_by_hand(world: World) -> None:
    here = routed(world)
    stage(here).drain("openai/*")
    stage(here).drain("openai/*")
    assert here.chat(model="fast").target == B
    stage(here).drain("other/b")
    with pytest.raises(AllTargetsFailed) as caught:
        here.chat(model="fast")
    assert [type(error) for error in caught.value.errors] == [Rejection] * 3
    stage(here).restore("openai/*")
    assert here.chat(model="fast").target == A
    stage(here).restore()
    drained = [(e.pattern, e.drained) for e in here.events if isinstance(e, TargetsDrained)]
    assert drained == [("openai/*", True), ("other/b", True), ("openai/*", False), ("other/b", False)]
    assert skipped(here)[0] == ("openai/a", "drained")


def test_the_targets_of_a_route_can_be_asked_for(make_world: World) -> None:
    here = routed(make_world)
    assert stage(here).targets("fast") == (A, B, C)
    assert stage(here).claims("fast")
    assert not stage(here).claims("slow")


def test_a_route_may_have_numbers_of_its_own(world: World) -> None:
    here = routed(
        world,
        {"a": [faults.status(400, kind="content_filter")] * 2},
        routing={"routes": {"fast": {"failover_on_content_filter": True}}},
    )
    assert here.chat(model="fast").target == B


def test_the_same_faults_give_the_same_events_in_every_colour(make_world: World) -> None:
    traces = []
    for colour in ("blocking", "async", "simulated"):
        here = routed(
            lambda **options: make_world(colour, **options),  # noqa: B023  (used at once)
            {"a": [faults.status(503)] * 7, "b": [faults.status(429, retry_after=3), faults.status(401)]},
            {"targets": [["openai/a", "other/b"], "openai/c"]},
            pipeline=["routing", "retry", "breaker", "limiter"],
            breaker={"jitter": 0},
        )
        for _ in range(4):
            with contextlib.suppress(CallError):
                here.chat(model="fast")
        traces.append(here.trace())
    assert traces[0] == traces[1] == traces[2]
    assert any(name == "TargetSkipped" for name, *_ in traces[0])


def test_an_error_names_the_target_that_failed(world: World) -> None:
    here = routed(world, {"a": [faults.status(401)], "b": [faults.status(401)], "c": [faults.status(401)]})
    with pytest.raises(AllTargetsFailed) as caught:
        here.chat(model="fast")
    assert all(isinstance(error, AuthenticationError) for error in caught.value.errors)
    assert isinstance(caught.value.__cause__, AuthenticationError)
