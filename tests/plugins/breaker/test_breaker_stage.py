"""The stage in a client, in three colours, in front of the simulated provider."""

from __future__ import annotations

import gc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from penstock import (
    AuthenticationError,
    BreakerOpen,
    CallError,
    ConfigError,
    InvalidRequestError,
    QuotaExceededError,
    StreamInterrupted,
    Target,
)
from penstock.call import Call, Reply, Timeouts
from penstock.errors import ContentFilterError, ServerError
from penstock.events import (
    AttemptStarted,
    BreakerRejected,
    BreakerTransition,
    CredentialRested,
    CredentialResumed,
)
from penstock.pipeline import chain
from penstock.runtime import drive
from penstock.specs import Scope
from penstock.testing import ManualClock, manual_runtime
from penstock_breaker import BreakerConfig, BreakerPolicy, BreakerStage
from penstock_breaker.circuits import Circuits
from penstock_testkit import faults

World = Callable[..., Any]
MODEL = "openai/gpt-4o-mini"
ALONE: dict[str, Any] = {"pipeline": ["breaker"], "breaker": {"jitter": 0}}


def fails(world: Any, times: int, **parameters: Any) -> list[type[BaseException]]:
    kinds = []
    for _ in range(times):
        with pytest.raises(CallError) as caught:
            world.chat(**parameters)
        kinds.append(type(caught.value))
    return kinds


def breaker(world: Any) -> BreakerStage:
    return world.client.stage("breaker")  # type: ignore[no-any-return]


def sleep(world: Any, seconds: float) -> None:
    """Let time pass in any colour."""
    if world.colour == "blocking":
        world.runtime._sleep(seconds)
    else:
        world.run(world.runtime.sleep(seconds))


def transitions(world: Any) -> list[str]:
    return [event.reason for event in world.events if isinstance(event, BreakerTransition)]


def test_five_failed_attempts_open_it_and_nothing_more_is_sent(world: World) -> None:
    here = world([faults.status(500)] * 9, **ALONE)
    fails(here, 5)
    with pytest.raises(BreakerOpen, match="openai/gpt-4o-mini: the circuit breaker is open") as caught:
        here.chat()
    error = caught.value
    assert (error.stage, error.retry_after, error.tags) == ("breaker", 15.0, ("open",))
    assert error.target == Target("openai", "gpt-4o-mini")
    assert here.count == 5
    rejected = [event for event in here.events if isinstance(event, BreakerRejected)]
    assert [(str(event.target), event.reason, event.retry_after) for event in rejected] == [
        (MODEL, "open", 15.0)
    ]


def test_it_recovers_by_two_probes(world: World) -> None:
    here = world([faults.status(500)] * 5, **ALONE)
    fails(here, 5)
    sleep(here, 15.0)
    here.chat()
    assert breaker(here).state(MODEL) == "half_open"
    here.chat()
    assert breaker(here).state(MODEL) == "closed"
    assert transitions(here) == ["consecutive_failures", "rest_over", "probes_succeeded"]


def test_inside_retry_it_ends_the_retries(world: World) -> None:
    here = world(
        [faults.status(500)] * 20,
        pipeline=["retry", "breaker"],
        breaker={"jitter": 0, "consecutive_failures": 2},
        retry={"max_attempts": 5},
    )
    assert fails(here, 1) == [ServerError]
    assert here.count == 2


def test_the_same_faults_give_the_same_events_in_every_colour(make_world: World) -> None:
    traces = []
    for colour in ("blocking", "async", "simulated"):
        here = make_world(
            colour, [faults.status(500)] * 6 + [faults.status(401)], pipeline=["retry", "breaker"]
        )
        fails(here, 4)
        sleep(here, 20.0)
        fails(here, 2)
        sleep(here, 60.0)
        fails(here, 1)
        breaker(here).reset()
        here.chat()
        traces.append(here.trace())
    assert traces[0] == traces[1] == traces[2]
    names = {step[0] for step in traces[0]}
    assert {"BreakerTransition", "BreakerRejected", "CredentialRested", "CredentialResumed"} <= names


@pytest.mark.parametrize(
    "fault",
    [
        faults.status(429),
        faults.status(429, retry_after=9.0),
        faults.status(400),
        faults.status(404),
        faults.status(409),
    ],
    ids=str,
)
def test_what_says_nothing_about_the_provider_never_opens_it(make_world: World, fault: Any) -> None:
    here = make_world("simulated", [fault] * 30, **ALONE)
    fails(here, 30)
    assert here.count == 30
    assert breaker(here).stats().circuits[MODEL].ignored == 30


@pytest.mark.parametrize(
    "fault",
    [
        faults.refuse(),
        faults.reset(),
        faults.hang(),
        faults.status(408),
        faults.status(500),
        faults.status(502),
        faults.status(504),
        faults.status(529),
        faults.overloaded(),
        faults.malformed(),
        faults.html(),
    ],
    ids=str,
)
def test_what_says_that_the_provider_is_broken_opens_it(make_world: World, fault: Any) -> None:
    here = make_world("simulated", [fault] * 6, timeouts={"attempt": 5}, **ALONE)
    fails(here, 5)
    assert breaker(here).state(MODEL) == "open"


def test_a_hint_of_the_server_extends_the_rest(make_world: World) -> None:
    here = make_world("blocking", [faults.status(503, retry_after=77)] * 5, **ALONE)
    fails(here, 5)
    assert breaker(here).stats().circuits[MODEL].retry_after == pytest.approx(77.0)


# Streams


@pytest.mark.parametrize(
    "fault", [faults.cut(1), faults.unterminated(), faults.reset(1), faults.hang(1)], ids=str
)
def test_a_stream_that_breaks_after_its_first_event_is_a_failure(make_world: World, fault: Any) -> None:
    here = make_world("simulated", [fault] * 5, timeouts={"idle": 5}, **ALONE)
    for _ in range(5):
        with pytest.raises(StreamInterrupted):
            here.stream()
    assert breaker(here).state(MODEL) == "open"


def test_a_stream_is_sampled_at_its_end(world: World) -> None:
    here = world(**ALONE)
    here.stream()
    assert breaker(here).stats().circuits[MODEL].successes == 1


def test_a_stream_closed_by_its_reader_after_an_event_is_a_success(world: World) -> None:
    here = world(**ALONE)
    here.stream(take=1)
    stats = breaker(here).stats().circuits[MODEL]
    assert (stats.successes, stats.failures, stats.cancelled) == (1, 0, 0)


def test_the_total_time_spent_within_a_stream_is_nobodys_fault(make_world: World) -> None:
    here = make_world("simulated", [faults.drip(30.0)], **ALONE)
    with pytest.raises(TimeoutError):
        here.stream(timeout=40)
    stats = breaker(here).stats().circuits[MODEL]
    assert (stats.ignored, stats.failures) == (1, 0)


def test_a_late_first_token_is_slow_and_a_long_stream_is_not(make_world: World) -> None:
    slow = {"jitter": 0, "slow_rate": 1, "min_calls": 2, "slow_after": "10s"}
    here = make_world("simulated", [faults.drip(1.0)] * 2, pipeline=["breaker"], breaker=slow)
    for _ in range(2):
        here.stream()
    assert breaker(here).state(MODEL) == "closed"
    there = make_world("simulated", [faults.slow_first_token(11.0)] * 2, pipeline=["breaker"], breaker=slow)
    for _ in range(2):
        there.stream()
    assert transitions(there) == ["slow_rate"]


# Credentials


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.status(401), AuthenticationError),
        (faults.status(403), AuthenticationError),
        (faults.quota(), QuotaExceededError),
    ],
    ids=str,
)
def test_a_refused_credential_rests_for_all_its_models(make_world: World, fault: Any, kind: Any) -> None:
    here = make_world("blocking", [fault], **ALONE)
    with pytest.raises(kind):
        here.chat()
    with pytest.raises(BreakerOpen, match="openai: the credential rests for another 300 s after") as caught:
        here.chat(model="openai/gpt-4o")
    assert caught.value.tags == ("credential_rests",)
    assert here.count == 1
    assert breaker(here).state(MODEL) == "closed"
    assert breaker(here).stats().resting == {"openai": 300.0}
    sleep(here, 300.0)
    here.chat()
    told = [event for event in here.events if isinstance(event, CredentialRested | CredentialResumed)]
    assert [(type(event).__name__, event.reason) for event in told] == [
        ("CredentialRested", kind.__name__ if fault != faults.status(403) else "PermissionDeniedError"),
        ("CredentialResumed", "rest_over"),
    ]


def test_another_instance_of_the_provider_has_a_credential_of_its_own(make_world: World) -> None:
    url = "http://sim.test/v1"
    here = make_world(
        "blocking",
        [faults.status(401)],
        providers={
            "openai": {"api_key": "sk-test-0123456789", "base_url": url},
            "spare": {"plugin": "openai", "api_key": "sk-test-9876543210", "base_url": url},
        },
        **ALONE,
    )
    fails(here, 1)
    here.chat(model="spare/gpt-4o")
    assert fails(here, 1) == [BreakerOpen]


def test_a_reset_ends_the_rest_of_the_credential(make_world: World) -> None:
    here = make_world("blocking", [faults.status(401)], **ALONE)
    fails(here, 2)
    breaker(here).reset("huggingface/*")
    assert fails(here, 1) == [BreakerOpen]
    breaker(here).reset("openai/*")
    here.chat()
    assert here.events[-1].outcome.kind == "ok"
    resumed = [event for event in here.events if isinstance(event, CredentialResumed)]
    assert [(event.provider, event.reason) for event in resumed] == [("openai", "reset")]


def test_a_cooldown_of_zero_is_off(make_world: World) -> None:
    here = make_world("blocking", [faults.status(401)] * 3, pipeline=["breaker"], breaker={"cooldown": 0})
    assert fails(here, 3) == [AuthenticationError] * 3


# By hand


def test_forced_open_holds_for_targets_that_were_never_asked(make_world: World) -> None:
    here = make_world("blocking", **ALONE)
    here.chat()
    breaker(here).force_open("openai/gpt-4o*")
    assert breaker(here).state("openai/gpt-4o-new") == "forced_open"
    for model in (MODEL, "openai/gpt-4o-new"):
        with pytest.raises(BreakerOpen, match="held open by hand"):
            here.chat(model=model)
    here.chat(model="openai/o3")
    breaker(here).reset("openai/gpt-4o-new")
    here.chat(model="openai/gpt-4o-new")
    assert fails(here, 1) == [BreakerOpen]
    breaker(here).reset()
    here.chat()


def test_disabled_lets_everything_through(make_world: World) -> None:
    here = make_world("blocking", [faults.status(500)] * 20, **ALONE)
    breaker(here).disable(MODEL)
    fails(here, 20)
    assert here.count == 20
    assert breaker(here).stats().circuits[MODEL].failures == 20


def test_a_call_may_leave_the_stage_out_and_say_nothing_else(make_world: World) -> None:
    here = make_world("blocking", [faults.status(500)] * 9, **ALONE)
    fails(here, 5)
    fails(here, 1, breaker=False)
    assert here.count == 6
    with pytest.raises(InvalidRequestError, match="breaker: a call may only leave it out"):
        here.chat(breaker={"consecutive_failures": 3})
    assert fails(here, 1, breaker=True) == [BreakerOpen]


# Places


def test_a_target_may_have_numbers_of_its_own(make_world: World) -> None:
    here = make_world(
        "blocking",
        [faults.status(500)] * 20,
        pipeline=["breaker"],
        breaker={"targets": {"openai/o*": {"consecutive_failures": 1}, "openai/x": {"enabled": False}}},
    )
    fails(here, 1, model="openai/o3")
    fails(here, 4)
    fails(here, 12, model="openai/x")
    assert [breaker(here).state(f"openai/{model}") for model in ("o3", "gpt-4o-mini")] == ["open", "closed"]
    assert here.count == 17


def test_peek_says_what_a_call_would_meet_without_doing_anything(make_world: World) -> None:
    here = make_world("blocking", [faults.status(500)] * 5, **ALONE)
    fails(here, 5)
    place = breaker(here).bind(
        Scope(
            config=BreakerConfig(jitter=0.0),
            route=None,
            target=Target("openai", "gpt-4o-mini"),
            provider=SimpleNamespace(base_url="http://sim.test/v1"),  # type: ignore[arg-type]
        )
    )
    events = len(here.events)
    call = call_to(here.runtime)
    refusal = place.peek(call)
    assert isinstance(refusal, BreakerOpen)
    assert refusal.retry_after == 15.0
    sleep(here, 15.0)
    assert [place.peek(call), place.peek(call)] == [None, None]
    assert breaker(here).state(MODEL) == "open"
    assert len(here.events) == events


def test_a_place_without_a_target_is_refused_when_the_pipeline_is_built() -> None:
    with pytest.raises(ConfigError, match="list it further in"):
        stage().bind(Scope(config=BreakerConfig(), route="fast", target=None, provider=None))


# The parts without a client


def services(events: list[Any], clock: ManualClock) -> Any:
    runtime = manual_runtime(None, clock)  # type: ignore[arg-type]  # nothing is sent
    return SimpleNamespace(name="breaker", runtime=runtime, emit=events.append)


def stage(events: list[Any] | None = None, clock: ManualClock | None = None, **numbers: Any) -> BreakerStage:
    return BreakerStage(
        BreakerConfig(**numbers), services([] if events is None else events, clock or ManualClock())
    )


def call_to(runtime: Any, model: str = "gpt-4o-mini") -> Call:
    return Call(
        id="a",
        request=None,  # type: ignore[arg-type]  # no provider reads it
        target=Target("openai", model),
        runtime=runtime,
        timeouts=Timeouts(),
        started=0.0,
    )


def test_the_permit_is_taken_inside_the_limiter_and_the_gate_refuses_outside() -> None:
    clock, events = ManualClock(), []  # type: ignore[var-annotated]
    made = stage(events, clock, consecutive_failures=1, jitter=0)
    place = made.bind(
        Scope(config=made._config, route=None, target=Target("openai", "gpt-4o-mini"), provider=None)
    )
    call = call_to(made_runtime(clock))
    seen = []

    class Limiter:
        async def __call__(self, call: Call, proceed: Any) -> Reply:
            seen.append(made.state(MODEL))
            return await proceed(call)  # type: ignore[no-any-return]

    async def provider(call: Call) -> Reply:
        seen.append(made.state(MODEL))
        raise ServerError("no")

    proceed = chain([place, Limiter(), place.inner], provider)
    with pytest.raises(ServerError):
        drive(proceed(call))
    with pytest.raises(BreakerOpen):
        drive(proceed(call))
    clock.advance(15.0)
    with pytest.raises(ServerError):
        drive(proceed(call))
    assert seen == ["closed", "closed", "open", "half_open"]


def made_runtime(clock: ManualClock) -> Any:
    return manual_runtime(None, clock)  # type: ignore[arg-type]  # nothing is sent


def test_unbound_it_guards_the_calls_target_in_one_place() -> None:
    clock = ManualClock()
    made = stage(clock=clock, consecutive_failures=1)

    async def provider(call: Call) -> Reply:
        raise ServerError("no")

    proceed = chain([made], provider)
    with pytest.raises(ServerError):
        drive(proceed(call_to(made_runtime(clock))))
    with pytest.raises(BreakerOpen):
        drive(proceed(call_to(made_runtime(clock))))
    with pytest.raises(ServerError):
        drive(proceed(call_to(made_runtime(clock), "gpt-4o")))


@pytest.mark.parametrize(
    ("error", "counter"),
    [
        (ServerError("broken"), "failures"),
        (ContentFilterError("no"), "successes"),
        (KeyError("a bug of ours"), "ignored"),
        (KeyboardInterrupt(), "cancelled"),
        (GeneratorExit(), "cancelled"),
    ],
)
def test_every_way_out_settles_the_permit_of_a_probe(error: BaseException, counter: str) -> None:
    clock = ManualClock()
    made = stage(clock=clock, consecutive_failures=1)
    answers: list[BaseException] = [ServerError("first"), error]

    async def provider(call: Call) -> Reply:
        raise answers.pop(0)

    proceed = chain([made], provider)
    for expected in (ServerError, type(error)):
        with pytest.raises(expected):
            drive(proceed(call_to(made_runtime(clock))))
        clock.advance(20.0)
    stats = made.stats().circuits[MODEL]
    assert stats.probes == 0
    assert getattr(stats, counter) == (2 if counter == "failures" else 1)
    assert stats.state == ("open" if counter == "failures" else "half_open")


def test_a_refusal_that_was_under_way_at_the_reset_does_not_rest_the_new_credential() -> None:
    clock = ManualClock()
    made = stage(clock=clock)

    async def provider(call: Call) -> Reply:
        made.reset("openai/*")
        raise AuthenticationError("the old key")

    with pytest.raises(AuthenticationError):
        drive(chain([made], provider)(call_to(made_runtime(clock))))
    assert made.stats().resting == {}


def test_models_without_number_are_not_remembered_without_number() -> None:
    circuits = Circuits(lambda: 0.5, lambda target, note: None, kept=100)
    policy = BreakerPolicy()
    held = circuits.get(Target("openai", "held"), "u", policy, 0.0)
    for number in range(5000):
        circuits.get(Target("openai", f"m{number}"), "u", policy, 0.0)
    gc.collect()
    assert len(circuits.matching()) == 101
    assert circuits.get(Target("openai", "held"), "u", policy, 0.0) is held


def test_circuits_differ_by_provider_address_model_and_numbers() -> None:
    circuits = Circuits(lambda: 0.5, lambda target, note: None)
    policy, other = BreakerPolicy(), BreakerPolicy(probes=2)
    keys = [
        (Target("a", "m"), "u", policy),
        (Target("b", "m"), "u", policy),
        (Target("a", "n"), "u", policy),
        (Target("a", "m"), "v", policy),
        (Target("a", "m"), "u", other),
    ]
    made = [circuits.get(*key, 0.0) for key in keys]
    assert len({id(circuit) for circuit in made}) == 5
    assert [circuits.get(*key, 0.0) for key in keys] == made


def test_the_latest_decision_by_hand_counts_for_circuits_to_come() -> None:
    circuits = Circuits(lambda: 0.5, lambda target, note: None)

    def state(model: str) -> str:
        return circuits.get(Target("a", model), "u", BreakerPolicy(), 0.0).state

    circuits.decide("a/*", "force_open", 0.0)
    circuits.decide("a/x*", "disable", 0.0)
    circuits.decide("a/xy", "reset", 0.0)
    assert [state("m"), state("xz"), state("xy")] == ["forced_open", "disabled", "closed"]
    circuits.decide("*", "reset", 0.0)
    assert [state("m"), state("xz"), state("n")] == ["closed", "closed", "closed"]
    assert circuits._manual == {}


def test_without_listeners_no_attempt_event_is_made_and_the_answer_is_the_same(world: World) -> None:
    here = world(**{**ALONE, "listeners": []})
    assert here.chat().text
    assert not [event for event in here.events if isinstance(event, AttemptStarted)]
