"""What the routing stage decides: skipped targets, failovers, recovered streams, hedges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from penstock.events.calls import CallEvent, Event
from penstock.frozen import dataclass

if TYPE_CHECKING:
    from penstock.call import Target
    from penstock.errors import CallError


@dataclass(frozen=True, slots=True)
class TargetSkipped(CallEvent):
    """
    A route passed over a target; nothing was sent and no attempt counted.

    Args:
        target: who was not asked.
        reason: the `error.type` of a refusal (`circuit_open`, `rate_limited_local`), the capability it
            lacks, `context_length`, `prefill` (it cannot continue a text) or `drained` (by hand).
        error: what asking it would have ended with.
    """

    target: Target
    reason: str
    error: CallError


@dataclass(frozen=True, slots=True)
class Failover(CallEvent):
    """
    A route turns to another target.

    Args:
        before: the target that failed.
        after: the one that is asked next.
        reason: the `error.type` of the failure.
        error: the failure.
    """

    before: Target
    after: Target
    reason: str
    error: CallError


@dataclass(frozen=True, slots=True)
class StreamRecovered(CallEvent):
    """
    Another target took a broken stream over; what it writes comes next.

    Args:
        before: the target whose stream broke.
        after: the one that took over.
        mode: `restart` (a reset event comes first) or `continue`.
        error: what broke the stream.
    """

    before: Target
    after: Target
    mode: Literal["restart", "continue"]
    error: CallError


@dataclass(frozen=True, slots=True)
class StreamLost(CallEvent):
    """
    A broken stream that should have been taken over was not; its error is raised.

    Args:
        target: whose stream broke.
        reason: `final` (no other target would help), `complete` (only its end was missing), `not_text`
            (tool calls, several choices or unfinished reasoning cannot be continued) or `exhausted`.
        error: what broke it.
    """

    target: Target
    reason: Literal["final", "complete", "not_text", "exhausted"]
    error: CallError


@dataclass(frozen=True, slots=True)
class HedgeStarted(CallEvent):
    """
    A second target is asked, because the first is slow.

    Args:
        first, second: the targets.
        delay: seconds the first had been given.
    """

    first: Target
    second: Target
    delay: float


@dataclass(frozen=True, slots=True)
class HedgeDenied(CallEvent):
    """
    A slow call got no second target.

    Args:
        first: the slow target.
        reason: `share` (of calls), `budget` (retry budget), `breaker` (not closed at one of them),
            `attempts` (of the call) or `no_target`.
    """

    first: Target
    reason: Literal["share", "budget", "breaker", "attempts", "no_target"]


@dataclass(frozen=True, slots=True)
class HedgeFinished(CallEvent):
    """
    A hedged call has its answer, or neither target gave one.

    Args:
        first, second: the targets.
        winner: who answered; the other was cut off. None when both failed or the call was cancelled.
    """

    first: Target
    second: Target
    winner: Target | None


@dataclass(frozen=True, slots=True)
class TargetsDrained(Event):
    """
    Routes were told by hand to leave targets out, or to use them again.

    Args:
        pattern: which, as `provider/model` with wildcards.
        drained: False when they may be used again.
    """

    pattern: str
    drained: bool
