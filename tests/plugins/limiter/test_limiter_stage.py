"""The limiter in a client, in every colour, in front of the simulated provider."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from penstock import (
    AsyncClient,
    ConfigError,
    DeadlineExceeded,
    InvalidRequestError,
    RateLimited,
    RequestTooLarge,
    hookimpl,
)
from penstock.asynchronous import AsyncioRuntime
from penstock.call import Reply
from penstock.config import Config
from penstock.errors import (
    BreakerOpen,
    ConnectError,
    OverloadedError,
    RateLimitError,
    ServerError,
    StreamInterrupted,
    TransferError,
)
from penstock.events import (
    LimiterAdapted,
    LimiterAdmitted,
    LimiterConfigured,
    LimiterPaused,
    LimiterQueued,
    LimiterRejected,
)
from penstock.http import HttpHead
from penstock.responses import ChatResponse, Choice
from penstock.simulated import SimulatedRuntime
from penstock.specs import ProviderSpec
from penstock_testkit import Fault, RateLimits, Simulator, faults
from penstock_testkit.plan import Head
from penstock_wire.headers import rate_limits as read_rate_limits
from penstock_wire.openai import OpenAIDialect

World = Callable[..., Any]
ALONE: dict[str, Any] = {"pipeline": ["limiter"]}
BOTH: dict[str, Any] = {"pipeline": ["retry", "limiter"]}


def events(world: Any, kind: type) -> list[Any]:
    return [event for event in world.events if isinstance(event, kind)]


def stats(world: Any, name: str = "openai") -> Any:
    return world.client.stage("limiter").stats().limits[name]


def test_the_burst_goes_at_once_and_the_rest_at_the_rate(world: World) -> None:
    here = world(limiter={"rate": "2/s", "burst": 3}, **ALONE)
    times = []
    for _ in range(6):
        here.chat()
        times.append(round(here.now(), 3))
    assert times == [0.0, 0.0, 0.0, 0.5, 1.0, 1.5]
    assert len(events(here, LimiterQueued)) == 3
    assert [event.queued for event in events(here, LimiterAdmitted)] == [False] * 3 + [True] * 3


def test_nothing_configured_and_nothing_learnt_limits_nothing(world: World) -> None:
    here = world(**ALONE)
    for _ in range(50):
        here.chat()
    assert here.now() == 0.0
    assert here.count == 50
    assert events(here, LimiterAdmitted) == []


def test_nowait_refuses_with_the_predicted_wait_and_takes_nothing(world: World) -> None:
    here = world(limiter={"rate": "1/min", "mode": "nowait"}, **BOTH)
    here.chat()
    for _ in range(3):
        with pytest.raises(RateLimited) as caught:
            here.chat()
        assert caught.value.stage == "limiter"
        assert caught.value.retry_after == pytest.approx(60.0, abs=0.01)
        assert caught.value.failover == "yes"
    assert here.count == 1
    assert [event.reason for event in events(here, LimiterRejected)] == ["rate"] * 3


def test_a_wait_longer_than_max_wait_is_refused_at_the_door(world: World) -> None:
    here = world(limiter={"rate": "6/min", "max_wait": 5}, **ALONE)
    here.chat()
    with pytest.raises(RateLimited, match="request rate is used up"):
        here.chat()
    assert here.now() == 0.0


def test_a_wait_longer_than_the_deadline_is_refused_at_the_door(world: World) -> None:
    here = world(limiter={"rate": "6/min"}, **ALONE)
    here.chat()
    with pytest.raises(RateLimited) as caught:
        here.chat(timeout=4)
    assert caught.value.retry_after == pytest.approx(10.0, abs=0.01)
    assert here.now() == 0.0
    assert here.count == 1


def test_a_request_above_the_whole_limit_is_too_large_at_once(world: World) -> None:
    here = world(limiter={"tokens": "50/min"}, **BOTH)
    with pytest.raises(RequestTooLarge):
        here.chat("x" * 400)
    with pytest.raises(RequestTooLarge):
        here.chat("Hello", max_tokens=60)
    assert here.count == 0
    here.chat("Hello", max_tokens=20)


def test_a_guessed_answer_does_not_make_a_request_too_large(world: World) -> None:
    here = world(limiter={"tokens": "50/min"}, **ALONE)
    assert here.chat("Hello").text


def test_tokens_are_settled_to_what_the_usage_says(world: World) -> None:
    here = world(limiter={"tokens": "10000/min"}, **ALONE)
    answer = here.chat("Hello there")
    assert stats(here)["available_tokens"] == 10000 - answer.response.usage.total_tokens
    here.stream("Hello there")
    assert stats(here)["available_tokens"] == 10000 - 2 * answer.response.usage.total_tokens


def test_tokens_that_are_used_up_are_waited_for_until_their_slot_has_aged_out(world: World) -> None:
    here = world(limiter={"tokens": "100/min", "max_wait": 100}, **ALONE)
    used = here.chat("Hello there", max_tokens=80).response.usage.total_tokens
    here.chat("Hello there", max_tokens=90 - used)
    assert here.now() == 0.0
    here.chat("x" * 40, max_tokens=80)
    assert 60.0 < here.now() < 61.1


@pytest.mark.parametrize(
    "fault",
    [faults.status(400), faults.status(404), faults.status(401), faults.status(429, retry_after=1)],
)
def test_a_refusal_by_the_server_keeps_the_request_and_refunds_the_tokens(
    fault: Any, make_world: World
) -> None:
    here = make_world(
        "blocking", [fault], limiter={"tokens": "1000/min", "rate": "1/min", "burst": 5}, **ALONE
    )
    with pytest.raises(Exception):  # noqa: B017  # each status has its own
        here.chat()
    assert stats(here)["available_tokens"] == 1000
    assert stats(here)["available_requests"] == pytest.approx(4.0, abs=0.01)


def test_what_was_never_sent_is_refunded_whole(world: World) -> None:
    here = world([faults.refuse()], limiter={"tokens": "1000/min", "rate": "1/min", "burst": 5}, **ALONE)
    with pytest.raises(ConnectError):
        here.chat()
    assert stats(here)["available_tokens"] == 1000
    assert stats(here)["available_requests"] == 5
    assert stats(here)["in_flight"] == 0


def test_a_request_the_provider_cannot_express_is_refunded_whole(world: World) -> None:
    here = world(limiter={"rate": "1/min", "burst": 5}, **ALONE)
    with pytest.raises(InvalidRequestError):
        here.chat([{"role": "user", "content": "Hi"}], extra={"seed": object()})
    assert stats(here)["available_requests"] == 5


def test_what_an_inner_stage_refuses_or_answers_itself_costs_nothing(bench: Callable[..., Any]) -> None:
    runtime = SimulatedRuntime()
    here = bench(runtime, rate="1/min", burst=3, tokens="1000/min", concurrency=1)
    place = here.place()

    async def refuses(call: Any) -> Reply:
        raise BreakerOpen("open", stage="breaker")

    async def answers(call: Any) -> Reply:
        return Reply(here.answer())

    with pytest.raises(BreakerOpen):
        runtime.run(place(here.call(), refuses))
    runtime.run(place(here.call(), answers))
    limits = here.stage.stats().limits["openai"]
    assert (limits["available_requests"], limits["available_tokens"], limits["in_flight"]) == (3, 1000, 0)


def test_missing_usage_keeps_the_reservation(bench: Callable[..., Any]) -> None:
    runtime = SimulatedRuntime()
    here = bench(runtime, tokens="1000/min")
    place = here.place()

    async def upstream(call: Any) -> Reply:
        here.begin(call)
        return Reply(ChatResponse(choices=(Choice("Hi"),)))

    runtime.run(place(here.call(text="abcd", max_tokens=93), upstream))
    assert here.stage.stats().limits["openai"]["available_tokens"] == 900


def test_reservations_follow_what_answers_really_cost(bench: Callable[..., Any]) -> None:
    runtime = SimulatedRuntime()
    here = bench(runtime, tokens="100000/min", assumed_output=2000)
    place = here.place()

    async def upstream(call: Any) -> Reply:
        here.begin(call)
        return Reply(here.answer(7, 40))

    async def unknown(call: Any) -> Reply:
        here.begin(call)
        return Reply(ChatResponse(choices=(Choice("Hi"),)))

    for _ in range(10):
        runtime.run(place(here.call(text="abcd"), upstream))
    before = here.stage.stats().limits["openai"]["available_tokens"]
    runtime.run(place(here.call(text="abcd"), unknown))
    assert before - here.stage.stats().limits["openai"]["available_tokens"] == 47


def test_the_adaptive_limit_shrinks_on_a_throttle_and_says_so(bench: Callable[..., Any]) -> None:
    runtime = SimulatedRuntime()
    here = bench(runtime, adaptive=True, learn="off")
    place = here.place()

    async def throttled(call: Any) -> Reply:
        here.begin(call, status=503)
        raise OverloadedError("busy", status=503)

    with pytest.raises(OverloadedError):
        runtime.run(place(here.call(), throttled))
    assert here.stage.stats().limits["openai"]["concurrency"] == 5
    (event,) = [event for event in here.events if isinstance(event, LimiterAdapted)]
    assert (event.before, event.after) == (8, 5)


def test_models_from_outside_do_not_grow_the_memory_without_bound(bench: Callable[..., Any]) -> None:
    runtime = SimulatedRuntime()
    here = bench(runtime, rate="10/s", scope="model", key={"rate": "1/s"})
    registry = here.stage._registry
    for number in range(registry.MAX_LIMITS + 500):
        here.place(f"openai/m{number}")
    assert len(registry._limits) <= registry.MAX_LIMITS
    assert len(registry._learnt) <= registry.MAX_LIMITS
    assert len(registry._lanes) <= registry.MAX_LIMITS
    assert len(registry._members) <= registry.MAX_LIMITS


def test_models_that_share_a_limit_are_remembered_up_to_a_bound(bench: Callable[..., Any]) -> None:
    runtime = SimulatedRuntime()
    here = bench(runtime, rate="10/s", scope="provider")
    registry = here.stage._registry
    for number in range(registry.MAX_MEMBERS + 500):
        here.place(f"openai/m{number}")
    assert [len(names) for names in registry._members.values()] == [registry.MAX_MEMBERS]
    here.stage.configure("openai/*", rate="7/s")
    assert [limit["rate"] for limit in here.stage.stats().limits.values()] == [7.0]


def test_a_broken_connection_keeps_the_reservation(world: World) -> None:
    here = world([faults.reset()], limiter={"tokens": "1000/min"}, **ALONE)
    with pytest.raises(TransferError):
        here.chat("Hello", max_tokens=100)
    assert stats(here)["available_tokens"] == pytest.approx(1000 - 100 - 8, abs=2)


def test_an_aborted_stream_pays_its_input_and_the_output_seen(world: World) -> None:
    here = world(limiter={"tokens": "1000/min", "concurrency": 1}, **ALONE)
    here.stream("Tell me a long story about everything", max_tokens=500, take=2)
    used = 1000 - stats(here)["available_tokens"]
    assert 0 < used < 40
    assert stats(here)["in_flight"] == 0


def test_a_cut_stream_pays_its_input_and_the_output_seen(world: World) -> None:
    here = world([faults.cut(after=2)], limiter={"tokens": "1000/min", "concurrency": 1}, **ALONE)
    with pytest.raises(StreamInterrupted):
        here.stream("Tell me a long story about everything", max_tokens=500)
    assert 0 < 1000 - stats(here)["available_tokens"] < 40
    assert stats(here)["in_flight"] == 0


def test_a_permit_is_held_until_the_stream_is_closed(make_world: World) -> None:
    here = make_world("blocking", limiter={"concurrency": 1, "mode": "nowait"}, **ALONE)
    with here.client.stream("openai/gpt-4o-mini", "Hello") as stream:
        next(iter(stream))
        with pytest.raises(RateLimited, match="too many calls"):
            here.chat()
    here.chat()


def test_a_429_pauses_the_whole_key(world: World) -> None:
    here = world([faults.status(429, retry_after=5)], **ALONE)
    with pytest.raises(RateLimitError):
        here.chat()
    here.chat()
    assert 5.0 <= here.now() <= 5.5
    (pause,) = events(here, LimiterPaused)
    assert (pause.limit, pause.reason) == ("openai/gpt-4o-mini", "throttled")


def test_a_429_pauses_its_model_or_on_demand_the_provider(make_world: World) -> None:
    script = {"a": [faults.status(429, retry_after=9)]}
    for learn, waited in (("model", False), ("provider", True)):
        here = make_world("blocking", simulator=Simulator(script=script), limiter={"learn": learn}, **ALONE)
        with pytest.raises(RateLimitError):
            here.chat(model="openai/a")
        here.chat(model="openai/b")
        assert (here.now() >= 9.0) is waited


def test_a_429_with_a_long_hint_is_quota_and_nobody_queues(world: World) -> None:
    here = world([faults.status(429, retry_after=3600)], limiter={"max_wait": "2h"}, **ALONE)
    with pytest.raises(RateLimitError):
        here.chat()
    with pytest.raises(RateLimited, match="quota is spent") as caught:
        here.chat(timeout=7200)
    assert caught.value.retry_after is not None
    assert 3600 <= caught.value.retry_after <= 3601.1
    assert here.now() == 0.0
    assert events(here, LimiterPaused)[0].reason == "quota"


def test_learning_can_be_switched_off(world: World) -> None:
    here = world([faults.status(429, retry_after=5)], limiter={"learn": "off"}, **ALONE)
    with pytest.raises(RateLimitError):
        here.chat()
    here.chat()
    assert here.now() == 0.0


class HeadedCodec(OpenAIDialect):
    """The OpenAI dialect of a provider that reads its rate-limit headers."""

    def rate_limits(self, head: HttpHead) -> Any:
        return read_rate_limits(head.headers, head.received)


class HeadedPlugin:
    """A provider plugin handed over in code."""

    @hookimpl
    def penstock_register_providers(self) -> Any:
        create = lambda config, services: HeadedCodec(base_url="http://sim.test/v1")  # noqa: E731
        return [ProviderSpec(name="headed", config=Config, create=create)]


HEADED: dict[str, Any] = {
    "pipeline": ["limiter"],
    "plugins": [("headed", HeadedPlugin())],
    "providers": {"headed": {}},
}


def with_headers(**values: str) -> Fault:
    """An answer with other headers."""
    replaced = {name.replace("_", "-"): value for name, value in values.items()}

    def change(plan: Any, occasion: Any) -> Any:
        return tuple(
            replace(step, headers={**step.headers, **replaced}) if isinstance(step, Head) else step
            for step in plan
        )

    return Fault("with_headers", change)


def test_headers_that_say_nothing_remains_hold_the_next_request(world: World) -> None:
    nothing = with_headers(x_ratelimit_remaining_requests="0", x_ratelimit_reset_requests="7s")
    here = world([nothing], **HEADED)
    here.chat(model="headed/m")
    here.chat(model="headed/m")
    assert here.now() == pytest.approx(7.05)
    assert events(here, LimiterQueued)[0].reason == "remaining"


def test_headers_of_errors_and_streams_count_too(world: World) -> None:
    nothing = with_headers(x_ratelimit_remaining_tokens="0", x_ratelimit_reset_tokens="5s")
    here = world([faults.chain(faults.status(500), nothing), nothing], **HEADED)
    with pytest.raises(ServerError):
        here.chat(model="headed/m")
    here.stream(model="headed/m")
    assert here.now() == pytest.approx(5.05)
    here.chat(model="headed/m")
    assert here.now() == pytest.approx(10.1)


def test_a_reset_far_away_is_quota(world: World) -> None:
    nothing = with_headers(x_ratelimit_remaining_requests="0", x_ratelimit_reset_requests="6h0m0s")
    here = world([nothing], limiter={"max_wait": "1d"}, **HEADED)
    here.chat(model="headed/m")
    with pytest.raises(RateLimited, match="quota is spent") as caught:
        here.chat(model="headed/m", timeout=90_000)
    assert caught.value.retry_after == pytest.approx(6 * 3600, abs=0.1)


def test_headers_never_widen_what_is_configured(world: World) -> None:
    plenty = with_headers(x_ratelimit_remaining_requests="50", x_ratelimit_reset_requests="1s")
    here = world([plenty] * 5, limiter={"rate": "1/s", "burst": 1}, **HEADED)
    for expected in (0.0, 1.0, 2.0):
        here.chat(model="headed/m")
        assert here.now() == pytest.approx(expected, abs=0.001)


def test_a_server_with_a_bucket_is_never_overrun_and_never_stalls(world: World) -> None:
    """60 a minute, enforced, told by headers only: no 429, and the pace is nearly that of the bucket."""
    here = world(simulator=Simulator(limits=RateLimits(requests=60, enforce=True)), **HEADED)
    for _ in range(90):
        here.chat(model="headed/m")
    assert here.count == 90
    assert events(here, LimiterPaused) == []
    assert 29.0 < here.now() < 35.0


def test_a_route_may_peek_without_any_effect(make_world: World) -> None:
    here = make_world("blocking", limiter={"rate": "1/min"}, **ALONE)
    here.chat()
    call, _ = here.client._engine.new_call(chat())
    refusal = here.client._engine.parts._peek(call)
    assert isinstance(refusal, RateLimited)
    assert refusal.retry_after == pytest.approx(60.0, abs=0.01)
    assert here.client.stage("limiter").stats().rejected == 0


def test_a_peek_at_a_short_wait_says_nothing(make_world: World) -> None:
    here = make_world("blocking", limiter={"rate": "1/s"}, **ALONE)
    here.chat()
    call, _ = here.client._engine.new_call(chat())
    assert here.client._engine.parts._peek(call) is None


def chat() -> Any:
    from penstock.requests import chat_request

    return chat_request("openai/gpt-4o-mini", "Hello", {}, stream=False)


def test_an_override_replaces_the_numbers_for_its_targets(world: World) -> None:
    limiter = {"rate": "1/s", "targets": {"openai/gpt-4*": {"rate": "4/s", "burst": 1}}}
    here = world(limiter=limiter, **ALONE)
    for _ in range(3):
        here.chat(model="openai/gpt-4o")
        here.chat(model="openai/gpt-4.1")
    assert here.now() == pytest.approx(1.25, abs=0.01)  # both share 4/s
    start = here.now()
    for _ in range(2):
        here.chat(model="openai/o3")
    assert here.now() - start == pytest.approx(1.0, abs=0.01)


def test_a_limit_of_each_model_is_nobody_elses(world: World) -> None:
    here = world(limiter={"rate": "1/s", "scope": "model", "mode": "nowait"}, **ALONE)
    here.chat(model="openai/a")
    here.chat(model="openai/b")
    with pytest.raises(RateLimited):
        here.chat(model="openai/a")


def test_several_limits_are_admitted_together_or_not_at_all(world: World) -> None:
    limiter = {
        "provider": {"rate": "1/min", "burst": 3},
        "model": {"rate": "1/min", "burst": 2},
        "mode": "nowait",
    }
    here = world(limiter=limiter, **ALONE)
    here.chat(model="openai/a")
    here.chat(model="openai/a")
    with pytest.raises(RateLimited, match="'model openai/a'"):
        here.chat(model="openai/a")
    here.chat(model="openai/b")  # the refusal took nothing of the provider's
    with pytest.raises(RateLimited, match="'provider openai'"):
        here.chat(model="openai/b")


def test_a_group_is_shared_across_providers(make_world: World) -> None:
    providers = {
        name: {"plugin": "openai", "api_key": "sk-test-0123456789", "base_url": "http://sim.test/v1"}
        for name in ("one", "two")
    }
    limiter = {"rate": "1/s", "mode": "nowait", "group": "egress"}
    here = make_world("blocking", limiter=limiter, providers=providers, **ALONE)
    here.chat(model="one/a")
    with pytest.raises(RateLimited, match="'group egress'"):
        here.chat(model="two/a")


def test_a_key_that_a_call_names_has_a_limit_of_its_own(world: World) -> None:
    here = world(limiter={"key": {"rate": "1/min"}, "mode": "nowait"}, **ALONE)
    here.chat(limiter={"key": "alice"})
    here.chat(limiter={"key": "bob"})
    here.chat()
    with pytest.raises(RateLimited, match="'key alice'"):
        here.chat(limiter={"key": "alice"})


def test_a_call_may_bring_its_own_patience(world: World) -> None:
    here = world(limiter={"rate": "1/s"}, **ALONE)
    here.chat()
    with pytest.raises(RateLimited):
        here.chat(limiter={"mode": "nowait"})
    with pytest.raises(RateLimited):
        here.chat(limiter={"max_wait": 0.5})
    here.chat(limiter=False)
    assert here.now() == 0.0
    here.chat(limiter=True)
    assert here.now() == pytest.approx(1.0, abs=0.001)


@pytest.mark.parametrize(
    "option", [{"max_wait": "soon"}, {"max_wait": -1}, {"mode": "maybe"}, {"rate": 3}, 7]
)
def test_an_option_that_cannot_work_is_refused_before_anything_is_taken(
    option: Any, make_world: World
) -> None:
    here = make_world("blocking", limiter={"rate": "1/min"}, **ALONE)
    with pytest.raises(InvalidRequestError, match="limiter"):
        here.chat(limiter=option)
    here.chat()


def test_configure_changes_a_limit_while_it_is_used(world: World) -> None:
    here = world(limiter={"rate": "1/s"}, **ALONE)
    here.chat()
    here.client.stage("limiter").configure("openai/*", rate="4/s", burst=1)
    here.chat()
    assert here.now() == pytest.approx(0.25, abs=0.001)
    assert stats(here)["rate"] == 4.0
    (event,) = events(here, LimiterConfigured)
    assert (event.target, event.values) == ("openai/*", {"rate": "4/s", "burst": 1})


def test_configure_sets_a_limit_where_there_was_none(world: World) -> None:
    here = world(**ALONE)
    here.chat()
    here.client.stage("limiter").configure("openai/gpt-4o-mini", rate=1, burst=1)
    here.chat()
    here.chat()
    assert here.now() == pytest.approx(1.0, abs=0.001)


def test_configure_for_some_targets_leaves_the_others_and_keeps_what_was_used(make_world: World) -> None:
    here = make_world("blocking", limiter={"rate": "1/s", "burst": 2, "mode": "nowait"}, **ALONE)
    here.chat(model="openai/a")
    here.chat(model="openai/b")
    here.client.stage("limiter").configure("openai/a", rate="2/s")
    with pytest.raises(RateLimited) as caught:
        here.chat(model="openai/a")
    assert caught.value.retry_after == pytest.approx(0.5, abs=0.01)
    with pytest.raises(RateLimited) as caught:
        here.chat(model="openai/b")
    assert caught.value.retry_after == pytest.approx(1.0, abs=0.01)


def test_configure_refuses_nonsense(make_world: World) -> None:
    here = make_world("blocking", **ALONE)
    with pytest.raises(ValueError):
        here.client.stage("limiter").configure("openai/*", rate="fast")
    with pytest.raises(ValueError):
        here.client.stage("limiter").configure("openai/*", burst=0)


def test_reset_forgets_what_was_learnt(world: World) -> None:
    here = world([faults.status(429, retry_after=50)], limiter={"mode": "nowait"}, **ALONE)
    with pytest.raises(RateLimitError):
        here.chat()
    with pytest.raises(RateLimited):
        here.chat()
    here.client.stage("limiter").reset("openai/*")
    here.chat()


def test_the_names_people_know_from_the_environment_work(make_world: World) -> None:
    environ = {"DEFAULT_RATE_LIMIT": "2", "DEFAULT_BURST_LIMIT": "1"}
    here = make_world("blocking", environ=environ, **ALONE)
    here.chat()
    here.chat()
    assert here.now() == pytest.approx(0.5, abs=0.001)


def test_a_limit_that_cannot_work_is_refused_by_the_configuration(make_world: World) -> None:
    for bad in ({"rate": "0/s"}, {"burst": 0}, {"concurrency": 0}, {"mode": "sometimes"}, {"speed": 1}):
        with pytest.raises(ConfigError, match="limiter"):
            make_world("blocking", limiter=bad, **ALONE)


def test_the_same_trace_in_every_colour(make_world: World) -> None:
    def trace(colour: str) -> Any:
        script = [faults.status(503), faults.ok(), faults.status(429, retry_after=1.5), faults.ok()]
        here = make_world(colour, script, limiter={"rate": "1/s", "burst": 2, "tokens": "2000/min"}, **BOTH)
        for _ in range(5):
            here.chat(max_tokens=50)
        return here.trace()

    assert trace("blocking") == trace("async") == trace("simulated")


def test_many_calls_at_once_share_the_permits_in_order(make_world: World) -> None:
    here = make_world("simulated", limiter={"concurrency": 3, "max_wait": 1000}, **ALONE)
    stage = here.client.stage("limiter")
    most = 0

    async def one(number: int) -> None:
        await here.client.chat("openai/gpt-4o-mini", f"Hello {number}")

    def watch(task: Any) -> None:
        nonlocal most
        most = max(most, stage.stats().in_flight)

    here.runtime.on_suspend = watch
    for number in range(200):
        here.runtime.spawn(one(number))
    here.runtime.settle()
    assert here.count == 200
    assert most == 3
    counts = stage.stats()
    assert (counts.in_flight, counts.waiting) == (0, 0)
    assert counts.queued > 190


def test_many_asyncio_calls_lose_no_permit() -> None:
    """The real clock, without sleeps: only permits that come back wake who waits."""
    simulator = Simulator()
    transport = simulator.transport()
    runtime = AsyncioRuntime(transport)
    transport.runtime = runtime

    async def main() -> Any:
        client = AsyncClient(
            config=False,
            environ={},
            runtime=runtime,
            providers={"openai": {"api_key": "sk-test-0123456789", "base_url": "http://sim.test/v1"}},
            limiter={"concurrency": 5},
            **ALONE,
        )
        async with client:
            calls = [asyncio.create_task(client.chat("openai/m", "Hello")) for _ in range(500)]
            for victim in calls[50::7]:
                victim.cancel()
            answers = await asyncio.gather(*calls, return_exceptions=True)
            return answers, client.stage("limiter").stats()

    answers, counts = asyncio.run(main())
    assert sum(isinstance(each, asyncio.CancelledError) for each in answers) == len(range(50, 500, 7))
    assert (counts.in_flight, counts.waiting) == (0, 0)


def test_a_deadline_that_passes_in_the_queue_is_the_deadlines_error(make_world: World) -> None:
    here = make_world("simulated", [faults.hang()], limiter={"concurrency": 1}, **ALONE)

    async def both() -> Any:
        first = here.runtime.spawn(here.client.chat("openai/gpt-4o-mini", "Hello", timeout=20), "first")
        await here.runtime.sleep(1.0)
        with pytest.raises(DeadlineExceeded):
            await here.client.chat("openai/gpt-4o-mini", "Hello", timeout=5)
        return first

    here.run(both())
    here.runtime.settle()
    assert here.client.stage("limiter").stats().in_flight == 0
