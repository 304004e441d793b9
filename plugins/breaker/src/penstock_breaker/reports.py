"""What a circuit tells of itself: notes of what happened, and its counters."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from penstock.frozen import dataclass

if TYPE_CHECKING:
    from penstock.events import BreakerReason, BreakerState


@dataclass(frozen=True, slots=True)
class Transition:
    """
    The state changed.

    Args:
        at: the clock's reading in seconds.
        before, after: the states.
        reason: what caused it.
        generation: the one that begins.
        open_for: seconds until probes are let through, or None when `after` is not `open`.
    """

    at: float
    before: BreakerState
    after: BreakerState
    reason: BreakerReason
    generation: int
    open_for: float | None = None


@dataclass(frozen=True, slots=True)
class Extension:
    """A server's hint made the rest longer: from `at`, `open_for` more seconds."""

    at: float
    open_for: float


@dataclass(frozen=True, slots=True)
class LostProbes:
    """The leases of `count` probes ended before they were settled."""

    at: float
    count: int


Note: TypeAlias = Transition | Extension | LostProbes


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitStats:
    """
    What a circuit looks like, and what it has seen since it was made.

    Args:
        state: one of the five.
        generation: how many began before this one.
        retry_after: seconds until a probe may pass, 0 when calls pass.
        consecutive_failures: in the present generation.
        opens: how many times in a row it has opened.
        probes: under way.
        window_calls, window_failures, window_slow: samples in the window.
        successes, failures, ignored, cancelled: settled permits.
        slow: those of the samples that were slow.
        stale: those that came too late to count.
        rejections: refused attempts.
        lost_probes: leases that ended unsettled.
    """

    state: BreakerState
    generation: int
    retry_after: float
    consecutive_failures: int
    opens: int
    probes: int
    window_calls: int
    window_failures: int
    window_slow: int
    successes: int
    failures: int
    ignored: int
    cancelled: int
    slow: int
    stale: int
    rejections: int
    lost_probes: int
