"""
Requests in time: the generic cell rate algorithm, a token bucket in its exact form.

Rules
1. One number is the state: the theoretical arrival time (`tat`), when the bucket would be full again. A
   request moves it by 1 / rate from where it is, or from now when that is later.
2. A request fits when the new `tat` is no further than burst / rate ahead. So in every window of
   s seconds at most burst + rate * s are admitted.
3. Giving one back into a bucket that has refilled since would allow more than that: what was not
   used has been replaced by time already. So a refund replays the busy period without the request, as
   though it had never come, and one from an earlier busy period gives nothing.

Source: ITU-T I.371, the virtual scheduling algorithm.
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

EPSILON = 1e-7
"""Seconds of rounding forgiven, more than a float clock errs after a year."""

MEMORY = 512
"""Takes of a busy period that can still be given back; older ones are final."""

Take: TypeAlias = tuple[float]
"""When a request was counted; told apart by identity."""


class Gcra:
    """
    Requests under a rate and a burst; the caller holds the lock.

    Args:
        rate: requests per second.
        burst: requests that may come at once, at least 1.
    """

    __slots__ = ("_before", "_busy", "_tat", "burst", "interval", "reach")

    def __init__(self, rate: float, burst: float) -> None:
        self.interval = 1.0 / rate
        self.burst = burst
        self.reach = burst * self.interval + EPSILON
        self._tat = float("-inf")
        self._before = float("-inf")
        self._busy: deque[Take] = deque()

    def wait(self, now: float, ahead: int = 0) -> float:
        """Seconds until a request fits, behind `ahead` others; 0 when it fits now."""
        tat = self._tat
        if tat < now:
            tat = now
        wait = tat + (1 + ahead) * self.interval - self.reach - now
        return wait if wait > 0.0 else 0.0  # noqa: FURB136  # a comparison is a third of the call

    def take(self, now: float) -> Take:
        """Count a request that fits; what comes back is for `refund`."""
        busy = self._busy
        tat = self._tat
        if tat <= now:
            if busy:
                busy.clear()
            self._before = tat = now
        elif len(busy) >= MEMORY:
            (at,) = busy.popleft()
            before = self._before
            self._before = (before if before > at else at) + self.interval  # noqa: FURB136  # as in `wait`
        take = (now,)
        busy.append(take)
        self._tat = tat + self.interval
        return take

    def refund(self, take: Take) -> None:
        """Count as though this request had never come."""
        busy = self._busy
        for index, known in enumerate(busy):
            if known is take:
                del busy[index]
                break
        else:
            return
        tat = self._before
        for (at,) in busy:
            tat = max(tat, at) + self.interval
        self._tat = tat

    def change(self, now: float, rate: float, burst: float) -> None:
        """Another rate from now on; requests owed stay owed, and what was taken is final."""
        owed = max(0.0, self._tat - now) / self.interval
        self.interval = 1.0 / rate
        self.burst = burst
        self.reach = burst * self.interval + EPSILON
        self._busy.clear()
        self._tat = self._before = now + owed * self.interval

    def available(self, now: float) -> float:
        """Requests that would fit at once."""
        return max(0.0, self.burst - max(0.0, self._tat - now) / self.interval)

    def copy(self) -> Gcra:
        """The same state, apart from now on."""
        other = Gcra(1.0 / self.interval, self.burst)
        other._tat = other._before = self._tat
        return other
