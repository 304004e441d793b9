"""Counts of the recent past, in a ring of buckets."""

from __future__ import annotations


class Window:
    """
    How many samples there were lately, how many failed and how many were slow; O(1) for each sample.

    The window moves on by whole buckets, so it covers at most `seconds` and at least one bucket less.
    The caller holds the lock.

    Args:
        seconds: its length.
        buckets: steps in which it moves on.
    """

    __slots__ = ("_at", "_buckets", "_next", "_width", "calls", "failures", "slow")

    def __init__(self, seconds: float, buckets: int) -> None:
        self._width = seconds / buckets
        self._buckets = [[0, 0, 0] for _ in range(buckets)]
        self._at = 0
        self._next = float("-inf")
        self.calls = 0
        self.failures = 0
        self.slow = 0

    def add(self, now: float, failed: bool, slow: bool) -> None:
        """Count one sample at clock reading `now` (seconds); one from a moment ago counts as now."""
        if now >= self._next:
            self.advance(now)
        bucket = self._buckets[self._at % len(self._buckets)]
        bucket[0] += 1
        self.calls += 1
        if failed:
            bucket[1] += 1
            self.failures += 1
        if slow:
            bucket[2] += 1
            self.slow += 1

    def advance(self, now: float) -> None:
        """Forget what is too old at clock reading `now`."""
        at = int(now // self._width)
        for number in range(self._at + 1, min(at, self._at + len(self._buckets)) + 1):
            bucket = self._buckets[number % len(self._buckets)]
            self.calls -= bucket[0]
            self.failures -= bucket[1]
            self.slow -= bucket[2]
            bucket[:] = 0, 0, 0
        self._at = max(self._at, at)
        self._next = (self._at + 1) * self._width

    def clear(self) -> None:
        """Forget everything."""
        for bucket in self._buckets:
            bucket[:] = 0, 0, 0
        self.calls = self.failures = self.slow = 0
