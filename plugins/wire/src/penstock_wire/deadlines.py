"""
One timer for everything in an event loop that waits.

A timer for each request and each read would cost 4 us apiece, nearly always to be cancelled. Here what waits
is kept in a set, which costs a tenth; one timer is armed for the earliest of them and moves itself when it
fires too early.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

_NEVER = float("inf")


class Waiting(Protocol):
    """
    Something that ends at a certain time.

    Attributes:
        due: the loop's time; must not change while it waits.
    """

    due: float

    def expire(self) -> None:
        """The time is over; called once, by the loop."""


class Deadlines:
    """
    Ends what waits too long.

    Args:
        loop: the loop whose time `due` refers to.
    """

    __slots__ = ("_at", "_loop", "_timer", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: set[Waiting] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._at = _NEVER

    def add(self, waiting: Waiting) -> None:
        """Watch until `remove`, or until it expired."""
        self._waiting.add(waiting)
        if waiting.due < self._at:
            self._arm(waiting.due)

    def remove(self, waiting: Waiting) -> None:
        """Watch no longer; harmless when it expired."""
        self._waiting.discard(waiting)

    def close(self) -> None:
        """Drop the timer."""
        self._waiting.clear()
        self._arm(_NEVER)

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at = at
        self._timer = None if at == _NEVER else self._loop.call_at(at, self._tick)

    def _tick(self) -> None:
        # A loop may fire a little early, by its clock's resolution.
        now = max(self._loop.time(), self._at)
        overdue = [waiting for waiting in self._waiting if waiting.due <= now]
        self._waiting.difference_update(overdue)
        self._arm(min((waiting.due for waiting in self._waiting), default=_NEVER))
        for waiting in overdue:
            waiting.expire()
