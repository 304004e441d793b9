"""
Tokens in time: a sliding ledger of slots over a window.

Rules
1. Time is cut into slots of a sixtieth of the window (1 s for a limit per minute). What is taken is written
   into the slot of now.
2. A slot counts until its last moment is a whole window old, so with the slot of now up to 61 count. Any
   window of time touches no more than 61 slots: in every window, what was taken is within the limit.
3. Settling corrects the slot of the reservation, not the slot of now. Giving tokens back into a bucket
   that refills breaks the bound: the same tokens would be spent twice within one window.
4. A reservation that proves too small is booked as it was, even above the limit: the tokens are
   spent, and later requests wait until they have aged out.
"""

from __future__ import annotations

import math
from collections import deque

EPSILON = 1e-6
"""Seconds added to a wait, so that rounding cannot end it on the wrong side of a slot's edge."""


class LedgerSlot:
    """The tokens of one slot of time; `index` counts slots of the clock, `live` while it is in the window."""

    __slots__ = ("amount", "index", "live")

    def __init__(self, index: int) -> None:
        self.index = index
        self.amount = 0.0
        self.live = True


class TokenLedger:
    """
    Tokens under a limit in every window; the caller holds the lock.

    Args:
        limit: tokens in a window.
        window: seconds.
    """

    __slots__ = ("_open", "_slots", "_width", "limit", "used", "window")

    SLOTS = 60

    def __init__(self, limit: float, window: float = 60.0) -> None:
        self.limit = limit
        self.window = window
        self.used = 0.0
        self._width = window / self.SLOTS
        self._slots: deque[LedgerSlot] = deque()
        self._open: LedgerSlot | None = None

    def wait(self, now: float, cost: float, ahead: float = 0.0) -> float:
        """
        Seconds until `cost` fits behind `ahead` tokens of others; 0 when it fits now.

        A cost above the limit fits never: `inf`.
        """
        if cost > self.limit:
            return math.inf
        slots = self._slots
        if slots and slots[0].index < now // self._width - self.SLOTS:
            self._expire(now)
        lacking = self.used + ahead + cost - self.limit
        if lacking <= 0.0:
            return 0.0
        edge = now
        for slot in slots:
            if slot.amount > 0.0:
                edge = (slot.index + self.SLOTS + 1) * self._width
                lacking -= slot.amount
                if lacking <= 0.0:
                    return edge - now + EPSILON
        # What is ahead fills whole windows of its own.
        return edge - now + math.ceil(lacking / self.limit) * (self.window + self._width) + EPSILON

    def take(self, now: float, cost: float) -> LedgerSlot:
        """Book a cost that fits; what comes back is for `settle`."""
        index = int(now // self._width)
        slot = self._open
        if slot is None or slot.index < index:
            self._expire(now)
            slot = self._open = LedgerSlot(index)
            self._slots.append(slot)
        slot.amount += cost
        self.used += cost
        return slot

    def settle(self, slot: LedgerSlot, difference: float) -> None:
        """Correct a reservation by actual minus reserved tokens; no effect once its slot has aged out."""
        if slot.live:
            slot.amount += difference
            self.used += difference

    def change(self, now: float, limit: float, window: float) -> None:
        """Another limit from now on; with another window what was used is carried into the slot of now."""
        if window != self.window:
            self._expire(now)
            used = self.used
            for slot in self._slots:
                slot.live = False
            self._slots.clear()
            self.window, self._width = window, window / self.SLOTS
            self.used, self._open = 0.0, None
            if used > 0.0:
                self.take(now, used)
        self.limit = limit

    def available(self, now: float) -> float:
        """Tokens that would fit at once."""
        self._expire(now)
        return max(0.0, self.limit - self.used)

    def copy(self) -> TokenLedger:
        """The same state, apart from now on."""
        other = TokenLedger(self.limit, self.window)
        for slot in self._slots:
            twin = LedgerSlot(slot.index)
            twin.amount = slot.amount
            other._slots.append(twin)
        other._open = other._slots[-1] if other._slots else None
        other.used = self.used
        return other

    def _expire(self, now: float) -> None:
        slots = self._slots
        oldest = now // self._width - self.SLOTS
        while slots and slots[0].index < oldest:
            slot = slots.popleft()
            slot.live = False
            self.used -= slot.amount
        if not slots:
            self._open = None
            self.used = 0.0  # no rounding is carried for ever
