"""
Where numbers add up: one cell for each instrument and set of attributes.

Cells do not lock; whoever holds them holds the lock of their book.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

from penstock_metrics.instruments import Instrument


class Tally:
    """A number that grows, or for a gauge is set."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def copy(self) -> Tally:
        """The same number, from now on alone."""
        other = Tally()
        other.value = self.value
        return other


class Distribution:
    """
    How values are spread over buckets.

    Args:
        bounds: the upper bounds, ascending; a value that equals one is below it.
    """

    __slots__ = ("bounds", "counts", "highest", "lowest", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.lowest = math.inf
        self.highest = -math.inf

    def record(self, value: float) -> None:
        """Add a value; one below zero, from a clock that was set back, counts as zero."""
        if value < 0.0:
            value = 0.0
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
        if value < self.lowest:
            self.lowest = value
        if value > self.highest:
            self.highest = value

    @property
    def count(self) -> int:
        """How many values."""
        return sum(self.counts)

    def copy(self) -> Distribution:
        """The same values, from now on alone."""
        return merged([self], self.bounds)

    def cumulated(self, bounds: tuple[float, ...]) -> list[int]:
        """How many values are no greater than each of `bounds`, which must be among its own."""
        sums = list(accumulate(self.counts))
        return [sums[bisect_left(self.bounds, bound)] for bound in bounds]

    def percentile(self, share: float) -> float | None:
        """
        The value that a share of all values does not exceed; None without values.

        Interpolated inside its bucket, so it is off by less than the bucket's width.

        Args:
            share: 0 to 1, such as 0.95.
        """
        count = self.count
        if not count:
            return None
        rank, below = share * count, 0
        for index, inside in enumerate(self.counts):
            if inside and below + inside >= rank:
                low = self.bounds[index - 1] if index else 0.0
                high = self.bounds[index] if index < len(self.bounds) else self.highest
                value = low + (high - low) * max(0.0, rank - below) / inside
                return min(max(value, self.lowest), self.highest)
            below += inside
        return self.highest


def merged(parts: Iterable[Distribution], bounds: tuple[float, ...]) -> Distribution:
    """All values of several distributions over the same bounds."""
    whole = Distribution(bounds)
    for part in parts:
        whole.counts = [mine + its for mine, its in zip(whole.counts, part.counts, strict=True)]
        whole.total += part.total
        whole.lowest = min(whole.lowest, part.lowest)
        whole.highest = max(whole.highest, part.highest)
    return whole


def cell_of(instrument: Instrument) -> Tally | Distribution:
    """An empty cell."""
    return Distribution(instrument.fine) if instrument.kind == "histogram" else Tally()
