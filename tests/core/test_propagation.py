"""The trace's context on its way in from the application, and out to the provider when that is asked for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, set_span_in_context

from penstock import CallError, hookimpl
from penstock.errors import ConfigError
from penstock.http import HttpRequest, Limits
from penstock.runtime import drive
from penstock_testkit import Simulator, faults

World = Callable[..., Any]
ON = {"tracing": {"propagate": True}}


def sent(here: Any) -> list[str | None]:
    return [request.headers.get("traceparent") for request in here.simulator.requests]


def header(span: Any) -> str:
    context = span.context
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
def test_each_request_carries_the_span_of_its_own_attempt(
    world: World, exported: Any, streamed: bool
) -> None:
    here = world([faults.status(503)], **ON)
    (here.stream if streamed else here.chat)()
    _, attempts = exported.by_name()
    assert len(attempts) == 2
    assert sent(here) == [header(span) for span in attempts]


def test_nothing_is_sent_unless_it_is_asked_for(world: World, exported: Any) -> None:
    here = world()
    here.chat()
    here.stream()
    assert sent(here) == [None, None]
    assert here.client._engine.runtime.transport is here.transport  # not even asked


def test_nothing_is_sent_without_a_tracer(world: World) -> None:
    here = world(**ON)
    here.chat()
    assert sent(here) == [None]


def test_a_list_names_the_instances_that_may_know(world: World, exported: Any) -> None:
    providers = {
        name: {"plugin": "openai", "api_key": "sk-test-0123456789", "base_url": f"http://{name}.test/v1"}
        for name in ("ours", "theirs")
    }
    here = world(
        pipeline=["routing", "retry"],
        simulator=Simulator(script={"a": [faults.status(401)]}),
        providers=providers,
        routes={"fast": {"targets": ["theirs/a", "ours/b"]}},
        tracing={"propagate": ["ours"]},
    )
    here.chat(model="fast")
    _, attempts = exported.by_name()
    assert sent(here) == [None, header(attempts[1])]


def test_a_list_with_a_stranger_is_an_error_that_names_it(make_world: World) -> None:
    with pytest.raises(ConfigError, match=r"tracing.propagate: no provider is called 'opnai'"):
        make_world(tracing={"propagate": ["opnai"]})


def test_hedged_attempts_each_carry_their_own_span(make_world: World, exported: Any) -> None:
    here = make_world("simulated", **ON)

    async def crowd() -> None:
        tasks = [here.runtime.spawn(here.client.chat("openai/gpt-4o-mini", "Hello")) for _ in range(8)]
        for task in tasks:
            while not task.done:
                await here.runtime.sleep(1.0)

    here.run(crowd())
    attempts = [span for span in exported.get_finished_spans() if span.name == "penstock.attempt"]
    assert sorted(map(str, sent(here))) == sorted(header(span) for span in attempts)
    assert len(set(sent(here))) == 8


def test_the_headers_of_a_codec_are_not_changed(world: World, exported: Any) -> None:
    headers = {"Traceparent": "00-stale", "x-team": "blue"}
    here = world(
        providers={
            "openai": {
                "api_key": "sk-test-0123456789",
                "base_url": "http://sim.test/v1",
                "headers": headers,
            }
        },
        **ON,
    )
    here.chat()
    here.chat()
    attempts = [span for span in exported.get_finished_spans() if span.name == "penstock.attempt"]
    assert sent(here) == [header(span) for span in attempts]
    assert all(request.headers["x-team"] == "blue" for request in here.simulator.requests)


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
def test_a_call_is_a_child_of_the_application_s_span(world: World, exported: Any, streamed: bool) -> None:
    here = world(**ON)
    with trace.get_tracer("application").start_as_current_span("request") as outer:
        (here.stream if streamed else here.chat)()
    spans = {span.name: span for span in exported.get_finished_spans()}
    call, attempt = spans["chat gpt-4o-mini"], spans["penstock.attempt"]
    assert call.parent.span_id == outer.get_span_context().span_id
    assert attempt.parent.span_id == call.context.span_id
    assert {call.context.trace_id, attempt.context.trace_id} == {outer.get_span_context().trace_id}
    assert sent(here) == [header(attempt)]


def test_the_state_of_the_trace_goes_along_and_baggage_never(world: World, exported: Any) -> None:
    remote = SpanContext(
        1, 2, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("v", "x")])
    )
    here = world(**ON)
    token = context.attach(
        baggage.set_baggage("tenant", "secret", set_span_in_context(NonRecordingSpan(remote)))
    )
    try:
        here.chat()
    finally:
        context.detach(token)
    (request,) = here.simulator.requests
    assert request.headers["traceparent"].startswith(f"00-{1:032x}-")
    assert request.headers["tracestate"] == "v=x"
    assert "baggage" not in request.headers


def test_a_trace_that_is_not_sampled_says_so_to_the_provider(world: World, exported: Any) -> None:
    remote = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(0))
    here = world(**ON)
    token = context.attach(set_span_in_context(NonRecordingSpan(remote)))
    try:
        here.chat()
    finally:
        context.detach(token)
    (value,) = sent(here)
    assert str(value).startswith(f"00-{1:032x}-")
    assert str(value).endswith("-00")


def test_a_client_with_it_closes_its_transport(make_world: World, exported: Any) -> None:
    closed: list[bool] = []
    here = make_world("blocking", [faults.status(401)], **ON)
    close = here.transport.close

    async def recorded() -> None:
        closed.append(True)
        await close()

    here.transport.close = recorded
    with pytest.raises(CallError):
        here.chat()
    here.client.close()
    assert closed == [True]


def test_what_else_the_transport_can_do_is_its_own(make_world: World) -> None:
    here = make_world("blocking", **ON)
    here.transport.public = lambda: "its public side, for URLs from outside"
    assert "outside" in here.runtime.transport.public()
    with pytest.raises(AttributeError):
        _ = here.runtime.transport.nothing
    assert "nothing" not in repr(copy.copy(here.runtime.transport))


def test_a_request_outside_of_an_attempt_carries_nothing(make_world: World, exported: Any) -> None:
    here = make_world("blocking", **ON)
    limits = Limits(connect=1.0, pool=1.0, due=60.0, max_bytes=1000)

    def fetch() -> None:
        request = HttpRequest("GET", "http://sim.test/v1/models", {})
        drive(drive(here.runtime.transport.send(request, limits)).close())

    fetch()

    class Curious:
        @hookimpl
        def penstock_pre_request(self, call: Any) -> None:
            fetch()

    there = make_world("blocking", plugins=[("curious", Curious())], **ON)
    there.chat()
    assert sent(here) == [None, None]
    assert None not in sent(there)
