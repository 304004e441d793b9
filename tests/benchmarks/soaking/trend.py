"""Whether a series is flat: the slope of a straight line through its second half, by least squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
    # 10 bytes a call: less than the smallest Python object, so nothing is kept of every call.
    "rss": Bound("resident memory", 1024, "KB", 1 / 1024),
    "objects": Bound("Python objects", 200),
    # Pools open and close a connection now and then; one that each hundredth fault leaves open would be 50.
    "descriptors": Bound("file descriptors", 10),
    "tasks": Bound("asyncio tasks", 1),
    "threads": Bound("threads", 1),
}
TABLE_GROWTH = 1.25
"""
The longest a table may get in the second half, by its longest in the first.

One that grows with the calls doubles.
"""
SMALL = 64
"""Tables that grow by so few entries are no leak yet."""


def longest(lengths: Sequence[int]) -> tuple[int, int]:
    """The longest a table was in the first half of the samples and in the second."""
    half = len(lengths) // 2
    return max(lengths[:half]), max(lengths[half:])


def grows(first: int, second: int) -> bool:
    """Whether a table grows with the calls, by `longest`."""
    return second - first > max(SMALL, (TABLE_GROWTH - 1) * first)


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


def slopes(part: dict[str, Any]) -> dict[str, float]:
    """Growth of one part of the soak per 100,000 calls, by what may grow, in the units of the bounds."""
    samples = part["samples"]
    calls = [sample["calls"] for sample in samples]
    return {
        name: slope(calls, [sample[name] for sample in samples]) * bound.scale
        for name, bound in BOUNDS.items()
    }
