"""What a limiter says of itself: counts so far, and the state of each limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from penstock.frozen import dataclass

if TYPE_CHECKING:
    from penstock_limiter.gate import Gate


@dataclass(frozen=True, slots=True, kw_only=True)
class LimiterStats:
    """
    What became of those who came, since the limiter was made.

    Args:
        admitted: those that needed a permit and got one: while nothing is configured or learnt, no call
            needs one.
        queued: those that had to wait for it.
        rejected: those that were refused.
        cancelled: those that gave up while they queued.
        in_flight: permits that are out.
        waiting: in the queue.
        limits: the numbers of every limit, by its name; a dimension without a bound is absent.
    """

    admitted: int
    queued: int
    rejected: int
    cancelled: int
    in_flight: int
    waiting: int
    limits: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, gate: Gate, limits: Mapping[str, Mapping[str, Any]]) -> LimiterStats:
        """The counts of a gate, and the numbers of the limits behind it."""
        return cls(
            admitted=gate.admitted,
            queued=gate.queued,
            rejected=gate.refused,
            cancelled=gate.left,
            in_flight=gate.out,
            waiting=gate.waiting,
            limits=limits,
        )
