"""What a record says about the call it belongs to, from the context it is made in."""

from __future__ import annotations

import logging
import sys

from penstock.call import Call, current
from penstock.spans import TRACE_ID

FIELDS = ("request_id", "trace_id", "provider", "model", "attempt")


def stamp(record: logging.LogRecord) -> None:
    """Add the fields of the running call to a record; what the record says itself stays."""
    known = record.__dict__
    if "request_id" in known:
        call = None
        values: dict[str, object] = {}
    else:
        call = current.get()
        values = {} if call is None else fields_of(call)
    if call is None and "trace_id" not in known:
        values["trace_id"] = _trace_id()
    for name in FIELDS:
        known.setdefault(name, values.get(name, ""))


def fields_of(call: Call) -> dict[str, object]:
    """The fields of a call; of its attempts the latest."""
    attempt = call.attempt or (call.attempts[-1] if call.attempts else None)
    target = attempt.target if attempt is not None else call.target
    return {
        "request_id": call.id,
        "trace_id": call.facts.get(TRACE_ID) or _trace_id(),
        "provider": target.provider if target is not None else "",
        "model": target.model if target is not None else call.request.model,
        "attempt": attempt.number if attempt is not None else "",
    }


def _trace_id() -> str:
    """The trace of the application's own span, "" without one; OpenTelemetry is not imported for it."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return ""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else ""


class CallFilter(logging.Filter):
    """
    Adds `request_id`, `trace_id`, `provider`, `model` and `attempt` to every record.

    For handlers of an application that sets up its logging itself:
    `handler.addFilter(CallFilter())`, and `%(request_id)s` in its format.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        stamp(record)
        return True
