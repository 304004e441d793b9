"""
Permits at once: a fixed number, or one that is found out (additive increase, multiplicative decrease).

Rules of the adaptive form
1. It starts at 8 and stays within [1, ceiling].
2. One more after as many successes as the limit is high, counted only while at least half of it is in
   use: an idle limit proves nothing.
3. Times 0.7 when the server says that it is too much (429, 503, a timeout), at most once in
   max(1 s, the median time a permit is held): one crowd of failures is one piece of news.
"""

from __future__ import annotations

from penstock_limiter.percentile import SlidingPercentile

START = 8
CEILING = 128
CUT = 0.7
SETTLING_SECONDS = 1.0


class Concurrency:
    """
    Permits that are out, and how many may be; the caller holds the lock.

    Args:
        limit: the fixed number; in the adaptive form the ceiling.
        adaptive: find the number out.
    """

    __slots__ = ("_cut_at", "_held", "_successes", "adaptive", "ceiling", "in_use", "limit")

    def __init__(self, limit: int | None, *, adaptive: bool = False) -> None:
        self.adaptive = adaptive
        self.ceiling = limit or CEILING
        self.limit = min(START, self.ceiling) if adaptive else self.ceiling
        self.in_use = 0
        self._successes = 0
        self._cut_at = float("-inf")
        self._held = SlidingPercentile(64)

    def predict(self, ahead: int) -> float:
        """
        Seconds until a permit is free for one behind `ahead` others, by the median time one is held; 0 when
        one is free now or nothing is known.
        """
        over = self.in_use + ahead + 1 - self.limit
        return 0.0 if over <= 0 else self._held.at(0.5) * over / self.limit

    def release(self, now: float, kind: str, held: float) -> None:
        """
        A permit comes back.

        Args:
            now: the clock's reading in seconds.
            kind: `success`, `throttled`, or anything else for what says nothing about the limit.
            held: seconds it was out.
        """
        busy = self.in_use * 2 >= self.limit
        self.in_use -= 1
        if kind == "success":
            self._held.add(held)
            if self.adaptive and busy:
                self._successes += 1
                if self._successes >= self.limit:
                    self._successes = 0
                    self.limit = min(self.ceiling, self.limit + 1)
        elif (
            kind == "throttled"
            and self.adaptive
            and now - self._cut_at >= max(SETTLING_SECONDS, self._held.at(0.5))
        ):
            self._cut_at = now
            self._successes = 0
            self.limit = max(1, int(self.limit * CUT))

    def change(self, limit: int | None, *, adaptive: bool) -> None:
        """Another number from now on; permits that are out stay out."""
        self.ceiling = limit or CEILING
        if not adaptive:
            self.limit = self.ceiling
        elif self.adaptive:
            self.limit = min(self.limit, self.ceiling)
        else:
            self.limit = min(START, self.ceiling)
        self.adaptive = adaptive
