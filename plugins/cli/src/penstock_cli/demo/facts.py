"""What stages do, as facts that a step can count and words that a person can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.events import (
    BreakerRejected,
    BreakerTransition,
    CacheLookup,
    Failover,
    LimiterAdmitted,
    LimiterRejected,
    StreamRecovered,
    TargetSkipped,
)
from penstock_cli.failure import seconds

if TYPE_CHECKING:
    from penstock.events import Event

_STATES = {"closed": "closes", "half_open": "half open", "open": "opens"}
_LOOKUPS = {"fresh": "hit", "coalesced": "shared"}


def fact_of(event: Event) -> tuple[str, str] | None:
    """The fact an event is and the words for it; None for what no act counts."""
    match event:
        case BreakerTransition():
            fact = _STATES.get(event.after, event.after)
            return fact, fact if event.open_for is None else f"{fact} for {seconds(event.open_for)}"
        case BreakerRejected():
            return "refused", "refused"
        case LimiterAdmitted() if event.queued:
            return "queued", f"waited {seconds(event.waited)}"
        case LimiterRejected():
            hint = event.error.retry_after
            return "rejected", "rejected" if hint is None else f"rejected, room in {seconds(hint)}"
        case CacheLookup():
            fact = _LOOKUPS.get(event.reason, event.reason) if event.result == "hit" else event.result
            return fact, fact
        case Failover():
            return "failover", f"turns to {event.after.provider}"
        case TargetSkipped():
            return "skipped", f"skips {event.target.provider}"
        case StreamRecovered():
            return event.mode, f"{event.mode}s at {event.after.provider}"
        case _:
            return None


def shortened(words: list[str]) -> list[str]:
    """The words with repetitions counted: `refused x5`."""
    short: list[tuple[str, int]] = []
    for word in words:
        if short and short[-1][0] == word:
            short[-1] = word, short[-1][1] + 1
        else:
            short.append((word, 1))
    return [word if times == 1 else f"{word} x{times}" for word, times in short]
