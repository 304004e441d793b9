"""What passes between the gate and those who come: lanes, tickets, permits, refusals."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from penstock.frozen import dataclass

if TYPE_CHECKING:
    from penstock.runtime import Event
    from penstock_limiter.gate import Gate
    from penstock_limiter.limit import Limit, Reason, Settlement

RefusalReason: TypeAlias = "Reason | Literal['quota', 'full', 'too_large', 'deadline']"


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    Not admitted, and nothing taken.

    Args:
        reason: what lacks.
        wait: seconds until it would probably fit, `inf` for never.
        limit: the name of the limit that lacks it.
    """

    reason: RefusalReason
    wait: float
    limit: str


@dataclass(frozen=True, slots=True)
class Pause:
    """
    Not yet.

    Args:
        due: the clock's reading at which to look again.
        asleep: only time can help, so nobody will set the event before.
    """

    due: float
    asleep: bool


class Lane:
    """
    The queue in front of a set of limits.

    Args:
        limits: every limit a request of this lane needs, in a fixed order.
    """

    __slots__ = ("limits", "queue")

    def __init__(self, limits: Sequence[Limit]) -> None:
        self.limits = tuple(limits)
        self.queue: deque[Ticket] = deque()


class Permit:
    """What was admitted; settle it exactly once (a second time does nothing)."""

    __slots__ = ("_gate", "_receipts", "at", "lane", "settled", "tokens")

    def __init__(self, gate: Gate, lane: Lane, now: float, tokens: float, receipts: list[Any]) -> None:
        self._gate = gate
        self._receipts = receipts
        self.lane = lane
        self.at = now
        self.tokens = tokens
        self.settled = False

    @property
    def stamp(self) -> Any:
        """The receipt of the last limit of the lane; for a learnt one, the number of the request."""
        return self._receipts[-1]

    def settle(self, now: float, settlement: Settlement) -> None:
        """
        Say what became of it; from any thread.

        Args:
            now: the clock's reading in seconds.
            settlement: how it ended and what it cost.
        """
        gate = self._gate
        woken: list[Event] | None = None
        with gate.lock:
            if self.settled:
                return
            self.settled = True
            held = now - self.at
            tokens = self.tokens
            receipts = iter(self._receipts)
            for limit in self.lane.limits:
                limit.settle(next(receipts), now, tokens, held, settlement)
            gate.out -= 1
            if gate.waiting:
                woken = gate.pump(now, self.lane.limits)
        if woken:
            wake(woken)


class Ticket:
    """A place in the queue of a lane."""

    __slots__ = (
        "asleep",
        "claimed",
        "due",
        "event",
        "expires",
        "lane",
        "number",
        "permit",
        "since",
        "tokens",
    )

    def __init__(self, number: int, lane: Lane, now: float, tokens: float, expires: float) -> None:
        self.number = number
        self.lane = lane
        self.since = now
        self.tokens = tokens
        self.expires = expires
        self.event: Event | None = None
        self.due = math.inf
        self.asleep = False
        self.permit: Permit | None = None
        self.claimed: list[Limit] = []


def wake(events: Sequence[Event]) -> None:
    """Set events, outside every lock."""
    for event in events:
        event.set()
