"""The numbers are what the simulator and the caller counted, in every colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from penstock.call import Target
from penstock.events import BreakerTransition
from penstock_metrics.instruments import INSTRUMENTS
from penstock_testkit import faults

COLOURS = ("blocking", "async", "simulated")
STATED = {
    "gen_ai.client.operation.duration": {"gen_ai.operation.name", "error.type"},
    "gen_ai.client.operation.time_to_first_chunk": set(),
    "gen_ai.client.token.usage": {"gen_ai.token.type"},
    "penstock.attempt.duration": {"error.type"},
    "penstock.attempt.errors": {"error.type"},
    "penstock.retry.attempts": {"outcome"},
    "penstock.failovers": {"from", "to", "reason"},
    "penstock.circuit_breaker.state": {"state"},
    "penstock.circuit_breaker.transitions": {"state"},
    "penstock.circuit_breaker.rejections": {"reason"},
    "penstock.rate_limiter.requests": {"result"},
    "penstock.rate_limiter.queue_time": set(),
    "penstock.cache.requests": {"result"},
    "penstock.cost.usd": {"source"},
}
CALLS = "gen_ai_client_operation_duration_seconds_count"
ATTEMPTS = "penstock_attempt_duration_seconds_count"
ERRORS = "penstock_attempt_errors_total"


@pytest.fixture(params=COLOURS)
def run(request: pytest.FixtureRequest, make_run: Callable[..., Any]) -> Any:
    return make_run(request.param)


def test_there_are_exactly_the_instruments_of_the_specification() -> None:
    assert {each.name: set(each.attributes) for each in INSTRUMENTS} == STATED
    assert all(each.description.endswith(".") and each.unit for each in INSTRUMENTS)


def test_every_instrument_has_a_value_with_its_attributes_after_a_run_with_faults(run: Any) -> None:
    series = run.series()
    for instrument in INSTRUMENTS:
        name = instrument.prometheus_name + ("_count" if instrument.kind == "histogram" else "")
        stated = {attribute.replace(".", "_") for attribute in STATED[instrument.name]}
        assert series.labels(name) == {"gen_ai_provider_name", "gen_ai_request_model", *stated}, name


def test_calls_and_attempts_are_those_that_were_made(run: Any) -> None:
    series = run.series()
    assert series.sum(CALLS) == run.calls
    assert series.sum(CALLS, gen_ai_operation_name="embeddings") == 1
    assert series.sum(ATTEMPTS) == run.simulator.count()
    for model, count in Counter(request.model for request in run.simulator.requests).items():
        assert series.sum(ATTEMPTS, gen_ai_request_model=model) == count, model


def test_errors_of_attempts_are_the_faults_that_were_met(run: Any) -> None:
    series = run.series()
    broken = run.simulator.count(model="broken")
    assert series.sum(ERRORS, gen_ai_request_model="first", error_type="503") == 1
    assert series.sum(ERRORS, gen_ai_request_model="first", error_type="429") == 1
    assert series.sum(ERRORS, gen_ai_request_model="locked", error_type="401") == 1
    assert series.sum(ERRORS, gen_ai_request_model="broken", error_type="500") == broken == 5
    assert series.sum(ERRORS, gen_ai_request_model="streamed", error_type="connection_error") == 2
    assert series.sum(ERRORS) == 5 + broken
    assert series.sum(ATTEMPTS, error_type="") == run.simulator.count() - series.sum(ERRORS)


def test_errors_of_calls_are_those_the_caller_saw(run: Any) -> None:
    series = run.series()
    failed = series.sum(CALLS) - series.sum(CALLS, error_type="")
    assert failed == len(run.failed) + 1  # and the stream that was cut while it was read
    assert series.sum(CALLS, error_type="circuit_open", gen_ai_request_model="broken") == run.failed.count(
        "BreakerOpen"
    )
    assert series.sum(CALLS, error_type="rate_limited_local", gen_ai_request_model="strict") == 1


def test_retries_and_failovers_are_counted_with_their_outcome(run: Any) -> None:
    series = run.series()
    retries = "penstock_retry_attempts_total"
    assert series.sum(retries, outcome="scheduled", gen_ai_request_model="first") == 2
    assert series.sum(retries, outcome="scheduled", gen_ai_request_model="streamed") == 1
    assert series.sum(retries, outcome="exhausted", gen_ai_request_model="broken") == 1
    assert series.sum("penstock_failovers_total") == 1
    assert series.sum(
        "penstock_failovers_total", **{"from": "shut/locked", "to": "spare/second", "reason": "401"}
    )


def test_the_breaker_shows_one_state_at_a_time(run: Any) -> None:
    series = run.series()
    state = "penstock_circuit_breaker_state"
    broken = {"gen_ai_provider_name": "spare", "gen_ai_request_model": "broken"}
    assert series.values(state, "state") == {"closed", "open", "half_open", "forced_open", "disabled"}
    assert series.sum(state, **broken) == series.sum(state, **broken, state="open") == 1
    assert series.sum("penstock_circuit_breaker_transitions_total", **broken, state="open") == 1
    assert series.sum("penstock_circuit_breaker_rejections_total", **broken) >= 1


def test_an_older_transition_that_is_told_late_does_not_change_the_state(
    make_run: Callable[..., Any],
) -> None:
    run = make_run()
    target = Target("main", "late")
    for generation, after in ((4, "open"), (6, "closed"), (5, "half_open")):
        run.metrics(BreakerTransition(0.0, target, "closed", after, "reset", generation, None))  # type: ignore[arg-type]
    series = run.series()
    assert series.sum("penstock_circuit_breaker_state", gen_ai_request_model="late", state="closed") == 1
    assert series.sum("penstock_circuit_breaker_transitions_total", gen_ai_request_model="late") == 3


def test_the_limiter_counts_what_became_of_its_requests(run: Any) -> None:
    series = run.series()
    requests, queued = "penstock_rate_limiter_requests_total", "penstock_rate_limiter_queue_time_seconds"
    slow = {"gen_ai_request_model": "slow"}
    assert series.sum(requests, **slow, result="acquired") == run.simulator.count(model="slow") == 2
    assert series.sum(requests, **slow, result="queued") == 1
    assert series.sum(f"{queued}_count", **slow) == 1
    assert 0.9 < series.sum(f"{queued}_sum", **slow) < 1.1
    assert series.sum(requests, gen_ai_request_model="strict", result="rejected") == 1


def test_a_cache_hit_has_a_duration_but_no_tokens_and_no_first_chunk(run: Any) -> None:
    series = run.series()
    usage = "gen_ai_client_token_usage_count"
    assert series.sum("penstock_cache_requests_total", result="hit", gen_ai_request_model="first") == 1
    assert series.sum("penstock_cache_requests_total", result="miss", gen_ai_request_model="first") == 2
    assert series.sum(CALLS, gen_ai_request_model="first") == 3
    assert series.sum(usage, gen_ai_request_model="first", gen_ai_token_type="input") == 2
    assert series.sum("penstock_cache_requests_total") == run.calls


def test_tokens_are_what_the_provider_reported(make_world: Callable[..., Any]) -> None:
    world = make_world(metrics={})
    answers = [world.chat(text) for text in ("one", "two and more", "three")]
    chunks, stream = world.stream("four")
    usage = [answer.usage for answer in answers] + [stream.answer.usage]
    total = world.client.metrics().total
    assert chunks
    assert total.input_tokens == sum(each.input_tokens for each in usage)
    assert total.output_tokens == sum(each.output_tokens for each in usage)


def test_the_first_chunk_of_a_stream_is_timed_from_the_start_of_the_call(
    make_world: Callable[..., Any],
) -> None:
    world = make_world("simulated", [faults.status(503), faults.slow_first_token(2.0)], metrics={})
    world.stream()
    (summary,) = world.client.metrics().targets
    waited = sum(attempt.delay for attempt in world.events[-1].call.attempts)
    assert summary.first_chunk_p50 == pytest.approx(2.0 + waited, rel=0.05)
    assert summary.first_chunk_p50 == summary.p50


def test_a_cancelled_call_is_no_error(make_world: Callable[..., Any]) -> None:
    world = make_world("simulated", [faults.slow_first_token(30.0)], metrics={})
    task = world.runtime.spawn(world.client.chat("openai/gpt-4o-mini", "Hello"))

    async def give_up() -> None:
        await world.runtime.sleep(1.0)
        task.cancel()

    world.run(give_up())
    world.runtime.settle()
    (summary,) = world.client.metrics().targets
    assert (summary.calls, summary.errors, summary.availability) == (1, 0, 1.0)
    assert summary.attempts == 1
    assert 'error_type="cancelled"' in world.client.listener("metrics").exposition()


def test_a_call_that_reached_nobody_has_its_route_as_model(make_world: Callable[..., Any]) -> None:
    world = make_world(
        pipeline=["routing"], routes={"fast": {"targets": ["openai/a", "openai/b"]}}, metrics={}
    )
    world.client.stage("routing").drain("openai/*")
    with pytest.raises(Exception, match="fast"):
        world.chat(model="fast")
    (summary,) = world.client.metrics().targets
    assert (summary.provider, summary.model, summary.errors) == ("", "fast", 1)
    assert summary.availability == 0.0


@pytest.mark.parametrize("colour", COLOURS)
def test_the_cost_is_that_of_the_answers(
    colour: str, make_world: Callable[..., Any], series: Callable[[str], Any]
) -> None:
    prices = {"openai/*": {"input": "2/M", "output": "8/M"}}
    world = make_world(
        colour, [faults.status(503)], pipeline=["cache", "cost", "retry"], cost={"prices": prices}, metrics={}
    )
    answers = [world.chat(text, temperature=0) for text in ("one", "two", "one")]
    _, stream = world.stream("three")
    costs = [answer.cost for answer in (*answers, stream.answer)]
    assert all(cost > 0 for cost in (costs[0], costs[1], costs[3]))
    assert (answers[2].cached, costs[2]) == (True, 0)
    exposed = series(world.client.listener("metrics").exposition())
    assert exposed.sum("penstock_cost_usd_total", source="calculated") == pytest.approx(float(sum(costs)))
    assert exposed.values("penstock_cost_usd_total", "source") == {"calculated"}
