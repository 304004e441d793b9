"""What stages decided about a call, in words for its trace."""

from __future__ import annotations

from dataclasses import fields

from penstock.events import (
    BreakerRejected,
    BreakerTransition,
    CacheLookup,
    CacheNotStored,
    CacheStored,
    CostRecorded,
    CostRejected,
    CredentialRested,
    Event,
    Failover,
    GuardFound,
    GuardRejected,
    HedgeFinished,
    HedgeStarted,
    LimiterAdmitted,
    LimiterPaused,
    LimiterQueued,
    LimiterRejected,
    RetryStopped,
    StreamLost,
    StreamRecovered,
    TargetSkipped,
)
from penstock_cli.failure import seconds

_LOOKUPS = {
    "fresh": "a hit",
    "coalesced": "shares the answer of another call",
    "negative": "a remembered error",
}


def words_of(event: Event) -> str | None:
    """One line for an event, None for one that is the usual course; of strangers the plain facts."""
    match event:
        case RetryStopped():
            return f"retry: no further attempt: {_plain(event.reason)}"
        case CacheLookup():
            return f"cache: {_lookup(event)}"
        case CacheStored():
            return f"cache: keeps the answer for {seconds(event.ttl)}"
        case CacheNotStored():
            return f"cache: does not keep the answer ({_plain(event.reason)})"
        case LimiterAdmitted():
            return f"limiter: admitted after {seconds(event.waited)} in the queue" if event.queued else None
        case LimiterQueued():
            return (
                f"limiter: queues for about {seconds(event.predicted)} ({event.reason}, limit {event.limit})"
            )
        case LimiterRejected():
            return f"limiter: refused ({_plain(event.reason)}){_again(event.error.retry_after)}"
        case LimiterPaused():
            return f"limiter: {event.limit} pauses for {seconds(event.seconds)} ({event.reason})"
        case BreakerTransition():
            rest = "" if event.open_for is None else f" for {seconds(event.open_for)}"
            states = f"{_plain(event.before)} to {_plain(event.after)}"
            return f"breaker: {event.target} goes from {states}{rest} ({_plain(event.reason)})"
        case BreakerRejected():
            return f"breaker: refused {event.target} ({_plain(event.reason)}){_again(event.retry_after)}"
        case CredentialRested():
            rest = seconds(event.rest_for)
            return f"breaker: the credential of {event.provider} rests {rest} ({event.reason})"
        case TargetSkipped():
            return f"routing: skips {event.target} ({_plain(event.reason)})"
        case Failover():
            return f"routing: turns from {event.before} to {event.after} ({_plain(event.reason)})"
        case StreamRecovered():
            begins = "begins the answer anew" if event.mode == "restart" else "continues the answer"
            return f"routing: {event.after} {begins} after {event.before} broke"
        case StreamLost():
            return f"routing: the stream of {event.target} is not taken over ({_plain(event.reason)})"
        case HedgeStarted():
            return f"routing: {event.first} is slow after {seconds(event.delay)}, asks {event.second} too"
        case HedgeFinished():
            return f"routing: {event.winner or 'neither target'} answered first"
        case CostRecorded():
            sum_ = "unknown" if event.usd is None else f"{event.usd:f} USD"
            return f"cost: {event.target}: {sum_} ({event.source})"
        case CostRejected():
            named = f" by the budget {event.budget}" if event.budget else ""
            return f"cost: refused{named} ({_plain(event.reason)}){_again(event.retry_after)}"
        case GuardRejected():
            return f"guard: refused ({event.param or 'a scan found something'})"
        case GuardFound():
            found = ", ".join(f"{times} {name}" for name, times in event.found.items())
            return f"guard: {found} in the {event.where} ({event.action})"
        case _:
            return _facts(event)


def _lookup(event: CacheLookup) -> str:
    age = "" if event.age is None else f", {seconds(event.age)} old"
    if event.result == "hit":
        return f"{_LOOKUPS.get(event.reason, event.reason)}{age}"
    if event.result == "stale":
        return f"an expired answer{age} ({event.reason})"
    if event.result == "bypass":
        return f"not for this call ({_plain(event.reason)})"
    return f"{event.result} ({_plain(event.reason)})"


def _again(after: float | None) -> str:
    return "" if after is None else f", room in {seconds(after)}"


def _plain(word: str) -> str:
    return word.replace("_", " ")


def _facts(event: Event) -> str:
    """An event nobody described: its name and its plain facts."""
    facts = []
    for each in fields(event):
        value = getattr(event, each.name)
        if each.name != "at" and isinstance(value, str | int | float | bool):
            facts.append(f"{each.name}={value:.3g}" if isinstance(value, float) else f"{each.name}={value}")
    return " ".join([type(event).__name__, *facts])
