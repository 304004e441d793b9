"""Percentiles over the last values: what outputs cost, and how long permits are held."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque


class SlidingPercentile:
    """
    The last values, kept sorted.

    Args:
        size: how many are remembered.
    """

    __slots__ = ("_order", "_size", "_sorted")

    def __init__(self, size: int = 100) -> None:
        self._size = size
        self._order: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, value: float) -> None:
        """Remember a value; the oldest is forgotten when there are too many."""
        if len(self._order) >= self._size:
            oldest = self._order.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]
        self._order.append(value)
        insort(self._sorted, value)

    def at(self, share: float) -> float:
        """The value that this share of the values does not exceed (nearest rank); 0 without values."""
        values = self._sorted
        if not values:
            return 0.0
        return values[min(len(values) - 1, int(share * len(values)))]
