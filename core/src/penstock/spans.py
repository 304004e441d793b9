"""
OpenTelemetry spans, made from events like every other telemetry, and only when a tracer is configured.

One CLIENT span for a logical call over all its retries, one INTERNAL child for each attempt. Exceptions are
not recorded by the API's own means: those would put messages and tracebacks, and so secrets, into spans.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from penstock import semconv
from penstock.errors import (
    AttemptTimeout,
    BreakerOpen,
    DeadlineExceeded,
    ProviderError,
    RateLimited,
    TransportError,
)
from penstock.events import AttemptFinished, AttemptStarted, CallFinished, CallStarted
from penstock.messages import ChatRequest, EmbedRequest
from penstock.responses import ChatResponse

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    from penstock.call import Attempt, Call, Outcome
    from penstock.events import Event
    from penstock.redaction import Redactor

_SPAN = "spans.call"
_ATTEMPTS = "spans.attempts"
TRACE_ID = "trace_id"
"""The fact that tells other listeners which trace the call belongs to, as 32 hex digits."""


def active() -> bool:
    """
    Whether a tracer provider has been set for the process.

    Asked for each call, so it must cost nothing: a process that never imported OpenTelemetry's trace
    module cannot have configured it, and the API's default provider is told by its type.
    """
    trace = sys.modules.get("opentelemetry.trace")
    return trace is not None and type(trace.get_tracer_provider()).__name__ != "ProxyTracerProvider"


def error_type(error: BaseException | None) -> str | None:
    """The `error.type` of an error: the status as text, or a word for what never got one."""
    match error:
        case None:
            return None
        case DeadlineExceeded() | AttemptTimeout():
            return "timeout"
        case BreakerOpen():
            return "circuit_open"
        case RateLimited():
            return "rate_limited_local"
        case ProviderError(status=int(status)) if status >= 400:
            return str(status)
        case TransportError():
            return "connection_error"
    return type(error).__name__


def attempt_span(call: Call, attempt: Attempt) -> Span | None:
    """The span of an attempt that runs; None without a tracer."""
    spans: dict[int, Span] = call.facts.get(_ATTEMPTS, {})
    return spans.get(attempt.number)


def operation_of(call: Call) -> str:
    """`chat`, `embeddings` or `models`."""
    if isinstance(call.request, ChatRequest):
        return "chat"
    return "embeddings" if isinstance(call.request, EmbedRequest) else "models"


class SpanListener:
    """
    Turns the events of a call into spans.

    Args:
        redactor: applied to the error messages and contents that spans carry.
        base_url: of a provider instance that has been called.
        content: put prompts and answers into the spans.
    """

    def __init__(self, redactor: Redactor, base_url: Callable[[str], str], *, content: bool = False) -> None:
        self._redactor = redactor
        self._base_url = base_url
        self._content = content
        self._servers: dict[str, dict[str, Any]] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case CallStarted(call=call):
                self._start_call(call)
            case AttemptStarted(call=call, attempt=attempt):
                self._start_attempt(call, attempt)
            case AttemptFinished(call=call, attempt=attempt, kind=kind):
                self._finish_attempt(call, attempt, kind)
            case CallFinished(call=call, outcome=outcome):
                self._finish_call(call, outcome)

    def _start_call(self, call: Call) -> None:
        from opentelemetry.trace import SpanKind

        operation = operation_of(call)
        request = call.request
        attributes: dict[str, Any] = {
            semconv.OPERATION: operation,
            semconv.REQUEST_MODEL: request.model,
            semconv.CALL_ID: call.id,
        }
        if call.target is not None:
            attributes[semconv.PROVIDER] = call.target.provider
            attributes[semconv.REQUEST_MODEL] = call.target.model
        if isinstance(request, ChatRequest):
            stop = [request.stop] if isinstance(request.stop, str) else request.stop
            optional = {
                semconv.REQUEST_STREAM: request.stream or None,
                semconv.REQUEST_MAX_TOKENS: request.max_tokens,
                semconv.REQUEST_TEMPERATURE: request.temperature,
                semconv.REQUEST_TOP_P: request.top_p,
                semconv.REQUEST_STOP: stop,
            }
            attributes |= {name: value for name, value in optional.items() if value is not None}
        if self._content and isinstance(request, ChatRequest | EmbedRequest):
            from penstock.captured import input_messages

            attributes[semconv.INPUT_MESSAGES] = self._redactor(input_messages(request))
        span = call.facts[_SPAN] = _tracer().start_span(
            f"{operation} {attributes[semconv.REQUEST_MODEL]}",
            kind=SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        )
        call.facts[_ATTEMPTS] = {}
        call.facts[TRACE_ID] = f"{span.get_span_context().trace_id:032x}"

    def _start_attempt(self, call: Call, attempt: Attempt) -> None:
        from opentelemetry.trace import SpanKind, set_span_in_context

        parent: Span = call.facts[_SPAN]
        call.facts[_ATTEMPTS][attempt.number] = _tracer().start_span(
            semconv.ATTEMPT_SPAN,
            context=set_span_in_context(parent),
            kind=SpanKind.INTERNAL,
            attributes={
                semconv.ATTEMPT_NUMBER: attempt.number,
                semconv.ATTEMPT_TARGET: str(attempt.target),
                **self._server(attempt.target.provider),
            },
            record_exception=False,
            set_status_on_exception=False,
        )

    def _finish_attempt(self, call: Call, attempt: Attempt, kind: str) -> None:
        # The attempt may outlive its call: others may go on reading a stream that its caller has left.
        span: Span | None = call.facts[_ATTEMPTS].pop(attempt.number, None)
        if span is None:
            return
        span.set_attribute(semconv.ATTEMPT_OUTCOME, kind)
        self._end(span, attempt.error if kind != "cancelled" else None)

    def _finish_call(self, call: Call, outcome: Outcome) -> None:
        span: Span = call.facts[_SPAN]
        last = call.attempts[-1] if call.attempts else None
        if last is not None:
            span.set_attribute(semconv.PROVIDER, last.target.provider)
            span.set_attributes(self._server(last.target.provider))
            if call.request.stream and last.committed is not None:
                span.set_attribute(semconv.RESPONSE_FIRST_CHUNK, last.committed - call.started)
        response = outcome.response
        if isinstance(response, ChatResponse):
            span.set_attribute(semconv.RESPONSE_FINISH, [c.finish_reason or "" for c in response.choices])
            if response.id:
                span.set_attribute(semconv.RESPONSE_ID, response.id)
            if self._content:
                from penstock.captured import output_messages

                span.set_attribute(semconv.OUTPUT_MESSAGES, self._redactor(output_messages(response)))
        model: str = getattr(response, "model", "")
        if model:
            span.set_attribute(semconv.RESPONSE_MODEL, model)
        usage = response.usage if response is not None else None
        if usage is not None:
            counts = {
                semconv.INPUT_TOKENS: usage.input_tokens,
                semconv.OUTPUT_TOKENS: usage.output_tokens,
                semconv.CACHED_TOKENS: usage.cached_tokens,
                semconv.REASONING_TOKENS: usage.reasoning_tokens,
            }
            span.set_attributes({name: count for name, count in counts.items() if count is not None})
        self._end(span, outcome.error)

    def _server(self, provider: str) -> dict[str, Any]:
        """`server.address` and `server.port` of a provider instance; none where nothing is sent."""
        server = self._servers.get(provider)
        if server is None:
            server = self._servers[provider] = _address(self._base_url(provider))
        return server

    def _end(self, span: Span, error: BaseException | None) -> None:
        from opentelemetry.trace import Status, StatusCode

        if error is not None:
            span.set_attribute(semconv.ERROR_TYPE, error_type(error) or "")
            message = self._redactor(f"{type(error).__name__}: {error}")
            span.set_status(Status(StatusCode.ERROR, message))
        span.end()


def _address(url: str) -> dict[str, Any]:
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return {}
    if parts.hostname is None or port is None:
        return {}
    return {semconv.SERVER_ADDRESS: parts.hostname, semconv.SERVER_PORT: port}


def _tracer() -> Tracer:
    from opentelemetry.trace import get_tracer

    return get_tracer("penstock")
