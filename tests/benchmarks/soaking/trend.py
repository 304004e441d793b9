"""Whether a series is flat: the slope of a straight line through its second half, by least squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PER = 100_000
"""Calls that slopes are given for."""


@dataclass(frozen=True, slots=True)
class Bound:
    """
    What still counts as flat.

    Args:
        label: what is counted, for people.
        limit: growth per 100,000 calls.
        unit: of the values.
        scale: from the samples' values to the unit.
    """

    label: str
    limit: float
    unit: str = ""
    scale: float = 1.0


BOUNDS = {
    # A pointer and an empty object for each call would be 6 MB, one for each hundred calls 64 KB.
    "rss": Bound("resident memory", 256, "KB", 1 / 1024),
    "objects": Bound("Python objects", 200),
    "descriptors": Bound("file descriptors", 1),
    "tasks": Bound("asyncio tasks", 1),
    "threads": Bound("threads", 1),
    "tables": Bound("entries of internal tables", 100),
}


def slope(calls: Sequence[int], values: Sequence[float]) -> float:
    """Growth per 100,000 calls in the second half of a series."""
    half = len(calls) // 2
    x, y = calls[half:], values[half:]
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((each - middle_x) ** 2 for each in x)
    if not spread:
        raise ValueError("a slope needs samples at different numbers of calls")
    products = sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True))
    return products / spread * PER
