"""How calls, attempts and retries are told."""

from __future__ import annotations

from collections.abc import Mapping
from logging import DEBUG, INFO, WARNING

from penstock import events
from penstock.call import Call
from penstock_logs.entries import Entry, Fields, Kind, failure_of, of_call, what_of


def _call_started(event: events.CallStarted) -> Entry:
    return Entry(f"call of {event.call.request.model}", of_call(event.call, "call_started"))


def _call_finished(event: events.CallFinished) -> Entry:
    call, outcome = event.call, event.outcome
    seconds = event.at - call.started
    fields = of_call(
        call, "call_finished", outcome=outcome.kind, seconds=round(seconds, 6), attempts=len(call.attempts)
    )
    error = outcome.error
    if error is not None:
        fields |= failure_of(error)
        how = f"failed with {what_of(error)}" if isinstance(error, Exception) else "was cancelled"
        return Entry(f"call {how} after {seconds:.3f} s, {_attempts(call)}", fields)
    cached = bool(call.facts.get("cached"))
    fields["cached"] = cached
    usage = None if outcome.response is None else outcome.response.usage
    if usage is not None and not cached:
        fields |= {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    verb = "was left" if outcome.kind == "abandoned" else "answered from the cache" if cached else "answered"
    return Entry(f"call {verb} after {seconds:.3f} s, {_attempts(call)}", fields)


def _finished_level(event: events.CallFinished) -> int:
    error = event.outcome.error
    if error is None:
        return DEBUG
    return WARNING if isinstance(error, Exception) else INFO


def _attempts(call: Call) -> str:
    count = len(call.attempts)
    return f"{count} attempt" if count == 1 else f"{count} attempts"


def _attempt_fields(event: events.AttemptStarted | events.AttemptFinished, name: str) -> Fields:
    attempt = event.attempt
    fields = of_call(event.call, name)
    fields |= {"provider": attempt.target.provider, "model": attempt.target.model, "attempt": attempt.number}
    return fields


def _attempt_started(event: events.AttemptStarted) -> Entry:
    attempt = event.attempt
    return Entry(f"attempt {attempt.number} at {attempt.target}", _attempt_fields(event, "attempt_started"))


def _attempt_finished(event: events.AttemptFinished) -> Entry:
    attempt, seconds = event.attempt, event.at - event.attempt.started
    fields = _attempt_fields(event, "attempt_finished")
    fields |= {"outcome": event.kind, "seconds": round(seconds, 6)}
    how: str = event.kind
    if attempt.error is not None:
        fields |= failure_of(attempt.error)
        how = f"{event.kind} with {what_of(attempt.error)}"
    return Entry(f"attempt {attempt.number} {how} after {seconds:.3f} s", fields)


def _retry_scheduled(event: events.RetryScheduled) -> Entry:
    fields = of_call(event.call, "retry_scheduled", delay=round(event.delay, 6), hint=event.hint)
    asked = "" if event.hint is None else f" (asked for {event.hint:g} s)"
    return Entry(
        f"{event.call.target} is tried again in {event.delay:.3f} s{asked} after {what_of(event.error)}",
        fields | failure_of(event.error),
    )


_STOPPED = {
    "exhausted": "all attempts are used",
    "denied": "the retry budget is empty",
    "hint_too_long": "the server asks for a longer wait than allowed",
    "deadline": "the deadline is too near",
    "breaker_open": "its circuit breaker has opened",
}


def _stopped_level(event: events.RetryStopped) -> int:
    return WARNING if event.reason == "denied" else INFO


def _retry_stopped(event: events.RetryStopped) -> Entry:
    return Entry(
        f"{event.call.target} is not tried again after {what_of(event.error)}: {_STOPPED[event.reason]}",
        of_call(event.call, "retry_stopped", reason=event.reason, **failure_of(event.error)),
    )


CALL_KINDS: Mapping[type[events.Event], Kind] = {
    events.CallStarted: Kind("call", DEBUG, _call_started),
    events.CallFinished: Kind("call", _finished_level, _call_finished),
    events.AttemptStarted: Kind("attempt", DEBUG, _attempt_started),
    events.AttemptFinished: Kind("attempt", DEBUG, _attempt_finished),
    events.RetryScheduled: Kind("retry", INFO, _retry_scheduled),
    events.RetryStopped: Kind("retry", _stopped_level, _retry_stopped),
}
