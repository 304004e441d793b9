"""One span for a call, one for each attempt; nothing secret in them, nothing made without a tracer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from penstock import AuthenticationError, StreamInterrupted, spans
from penstock.events import AttemptFinished, AttemptStarted
from penstock_testkit import faults

World = Callable[..., Any]


def test_without_a_tracer_no_listener_is_added(world: World) -> None:
    assert not spans.active()
    here = world()
    here.chat()
    assert "spans.call" not in here.events[0].call.facts


def test_a_retried_call_is_one_client_span_with_an_attempt_for_each_request(
    world: World, exported: Any
) -> None:
    answer = world([faults.status(503)]).chat(temperature=0.5, max_tokens=10, stop=["x"])
    call, attempts = exported.by_name()
    assert call.name == "chat gpt-4o-mini"
    assert call.kind is SpanKind.CLIENT
    assert call.status.status_code is StatusCode.UNSET
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 10,
        "gen_ai.request.stop_sequences": ("x",),
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.id": answer.response.id,
        "gen_ai.usage.input_tokens": answer.usage.input_tokens,
        "gen_ai.usage.output_tokens": answer.usage.output_tokens,
        "penstock.request.id": answer.request_id,
    }
    assert expected.items() <= dict(call.attributes).items()
    assert "error.type" not in call.attributes
    assert [span.attributes["penstock.attempt.number"] for span in attempts] == [1, 2]
    assert [span.attributes["penstock.attempt.outcome"] for span in attempts] == ["failed", "ok"]
    assert attempts[0].attributes["error.type"] == "503"
    assert all(span.parent.span_id == call.context.span_id for span in attempts)


def test_a_failed_call_has_the_status_as_its_error_type_and_no_events(world: World, exported: Any) -> None:
    with pytest.raises(AuthenticationError):
        world([faults.status(401)]).chat()
    call, attempts = exported.by_name()
    assert call.attributes["error.type"] == "401"
    assert call.status.status_code is StatusCode.ERROR
    assert not call.events
    assert not attempts[0].events


def test_a_stream_ends_its_span_when_it_ends(world: World, exported: Any) -> None:
    here = world([faults.slow_first_token(2.0)])
    _, stream = here.stream()
    call, _ = exported.by_name()
    assert call.attributes["gen_ai.request.stream"] is True
    assert call.attributes["gen_ai.response.time_to_first_chunk"] == pytest.approx(2.0)
    assert call.attributes["gen_ai.usage.output_tokens"] == stream.answer.usage.output_tokens


def test_a_cut_stream_is_a_failed_span_with_its_partial_model(world: World, exported: Any) -> None:
    with pytest.raises(StreamInterrupted):
        world([faults.cut(after=2)]).stream()
    call, (attempt,) = exported.by_name()
    assert call.attributes["error.type"] == attempt.attributes["error.type"] == "connection_error"


def test_an_embedding_is_its_own_operation(world: World, exported: Any) -> None:
    world().embed("text")
    call, _ = exported.by_name()
    assert call.name == "embeddings text-embedding-3-small"


def test_an_error_message_in_a_span_is_redacted(world: World, exported: Any) -> None:
    key = "sk-test-0123456789"
    with pytest.raises(AuthenticationError):
        world([faults.status(401, message=f"Incorrect API key provided: {key}")]).chat()
    assert key not in repr(
        [(span.status.description, dict(span.attributes)) for span in exported.by_name()[1]]
    )


def test_an_attempt_that_outlives_its_call_still_ends_its_span(world: World, exported: Any) -> None:
    here = world()
    here.chat()
    call = here.events[0].call
    attempt = call.attempts[0]
    listener = spans.SpanListener(here.client.settings.redactor, lambda provider: "http://sim.test/v1")
    listener(AttemptStarted(0.0, call, attempt))
    listener(AttemptFinished(1.0, call, attempt, "ok"))
    listener(AttemptFinished(1.0, call, attempt, "ok"))
    assert len([span for span in exported.get_finished_spans() if span.name == "penstock.attempt"]) == 2
