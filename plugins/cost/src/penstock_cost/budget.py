"""
How much may be spent: an account that reserves an estimate, and settles what it really was.

Rules
1. In every stretch of the window's length, what is settled and reserved together stays within the limit, as
   long as no answer costs more than was reserved for it. What it costs more is counted all the same.
2. Time is cut into slots, 60 to a window. An amount belongs to the slot it was reserved in, settled or not,
   and leaves when the whole slot is older than the window; so a window never holds more than it may. With a
   calendar a slot is a whole day, week or month, and leaves at its end: what is settled after midnight is
   still of the day it was reserved in.
3. A reservation over several accounts takes from all or from none, in one critical section.
4. A hold is settled once; a second settlement changes nothing.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from penstock_cost.rates import FREE

if TYPE_CHECKING:
    from penstock_cost.calendar import Calendar

SLOTS = 60


class Account:
    """
    One budget of one key; not safe by itself, a `Budgets` guards it.

    With a calendar its times are seconds since the epoch, else readings of any clock in seconds.

    Args:
        name: for messages.
        limit: US dollars in the window, or in a period of the calendar.
        window: seconds, or None for ever.
        calendar: in whose periods the limit counts, instead of a window.
    """

    __slots__ = ("_slots", "_width", "calendar", "limit", "name", "spent", "used", "window")

    def __init__(
        self, name: str, limit: Decimal, window: float | None = None, calendar: Calendar | None = None
    ) -> None:
        self.name = name
        self.limit = limit
        self.window = window
        self.calendar = calendar
        self.used = FREE
        """Reserved and settled in the window, in dollars."""
        self.spent = FREE
        """Settled since the account was made, in dollars."""
        self._width = math.inf if window is None else window / SLOTS
        self._slots: deque[Slot] = deque()

    def wait(self, now: float, amount: Decimal) -> float:
        """Seconds until an amount fits: 0 when it does now, `inf` when time brings no room for it."""
        self._age(now)
        lacking = self.used + amount - self.limit
        if lacking <= 0:
            return 0.0
        if amount > self.limit or (self.window is None and self.calendar is None):
            return math.inf
        for slot in self._slots:
            lacking -= slot.amount
            if lacking <= 0:
                return max(slot.leaves - now, 0.0)
        return math.inf

    def take(self, now: float, amount: Decimal) -> Slot:
        """Book an amount that fits."""
        self._age(now)
        number, leaves = self._stretch(now)
        if not self._slots or self._slots[-1].number < number:
            self._slots.append(Slot(number, leaves))
        slot = self._slots[-1]
        slot.amount += amount
        self.used += amount
        return slot

    def change(self, slot: Slot, reserved: Decimal, actual: Decimal) -> None:
        """Put what it was in place of what was reserved."""
        self.spent += actual
        if not slot.gone:
            slot.amount += actual - reserved
            self.used += actual - reserved

    def clear(self) -> None:
        """Forget what was used."""
        for slot in self._slots:
            slot.gone = True
        self._slots.clear()
        self.used = FREE

    def _stretch(self, now: float) -> tuple[float, float]:
        """The slot of a moment: its number, growing with time, and when it leaves."""
        if self.calendar is not None:
            return self.calendar.bounds(now)
        if self.window is None:
            return 0, math.inf
        number = math.floor(now / self._width)
        return number, (number + 1) * self._width + self.window

    def _age(self, now: float) -> None:
        slots = self._slots
        while slots and slots[0].leaves <= now:
            old = slots.popleft()
            old.gone = True
            self.used -= old.amount


class Slot:
    """What was booked in one stretch of time."""

    __slots__ = ("amount", "gone", "leaves", "number")

    def __init__(self, number: float, leaves: float) -> None:
        self.number = number
        self.leaves = leaves
        self.amount = FREE
        self.gone = False


class Hold:
    """A reservation; `settle` it once with what it really cost, nothing when it was not used."""

    __slots__ = ("_booked", "_lock", "_open", "amount")

    def __init__(self, lock: threading.Lock, booked: Sequence[tuple[Account, Slot]], amount: Decimal) -> None:
        self._lock = lock
        self._booked = booked
        self._open = True
        self.amount = amount
        """Reserved, in dollars."""

    def settle(self, actual: Decimal) -> None:
        """Say what it cost in dollars; only the first word counts."""
        with self._lock:
            if not self._open:
                return
            self._open = False
            for account, slot in self._booked:
                account.change(slot, self.amount, actual)

    def release(self) -> None:
        """Give all of it back."""
        self.settle(FREE)

    def keep(self) -> None:
        """Settle with what was reserved: nobody knows better."""
        self.settle(self.amount)


class Refusal:
    """
    Why nothing was reserved.

    Attributes:
        account: the one without room.
        wait: seconds until there is, `inf` when time alone brings none.
    """

    __slots__ = ("account", "wait")

    def __init__(self, account: Account, wait: float) -> None:
        self.account = account
        self.wait = wait


class Budgets:
    """
    Admission to accounts; one lock, held for arithmetic only.

    Args:
        wall: seconds since the epoch, for accounts with a calendar; None where there are none.
    """

    __slots__ = ("_lock", "_wall")

    def __init__(self, wall: Callable[[], float] | None = None) -> None:
        self._lock = threading.Lock()
        self._wall = wall

    def reserve(self, now: float, accounts: Sequence[Account], amount: Decimal) -> Hold | Refusal:
        """Take an amount from all accounts, or from none; `now` in seconds, the amount in dollars."""
        with self._lock:
            refusal = self._lacking(now, accounts, amount)
            if refusal is not None:
                return refusal
            booked = [(account, account.take(self._time(account, now), amount)) for account in accounts]
            return Hold(self._lock, booked, amount)

    def peek(self, now: float, accounts: Sequence[Account], amount: Decimal) -> Refusal | None:
        """What a reservation would be refused with, without side effects."""
        with self._lock:
            return self._lacking(now, accounts, amount)

    def clear(self, accounts: Iterable[Account]) -> None:
        """Forget what was used; reservations under way count no more."""
        with self._lock:
            for account in accounts:
                account.clear()

    def left(self, now: float, account: Account) -> Decimal:
        """Dollars that may still be reserved."""
        with self._lock:
            account.wait(self._time(account, now), FREE)
            return max(FREE, account.limit - account.used)

    def _lacking(self, now: float, accounts: Sequence[Account], amount: Decimal) -> Refusal | None:
        """The account that has no room for longest."""
        worst: Refusal | None = None
        for account in accounts:
            wait = account.wait(self._time(account, now), amount)
            if wait > 0 and (worst is None or wait > worst.wait):
                worst = Refusal(account, wait)
        return worst

    def _time(self, account: Account, now: float) -> float:
        return now if account.calendar is None or self._wall is None else self._wall()
