"""
The order in which a call tries the targets of a route, as a function of values.

Groups come in the order they are listed. Inside a group the next target is drawn from those left, each with
the chance its weight gives it; a group of one needs no dice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from penstock_routing.fitting import Candidate


def ordered(groups: Sequence[Sequence[Candidate]], random: Callable[[], float]) -> Iterator[Candidate]:
    """
    Every candidate once; lazily, so that a call that ends with the first one draws once at most.

    Args:
        groups: by priority.
        random: uniform in [0, 1).
    """
    for group in groups:
        if len(group) == 1:
            yield group[0]
            continue
        left = list(group)
        while len(left) > 1:
            yield left.pop(drawn([each.weight for each in left], random()))
        yield left[0]


def drawn(weights: Sequence[float], dice: float) -> int:
    """The index whose share of the weights, laid end to end, holds `dice` (in [0, 1))."""
    point = dice * sum(weights)
    for index, weight in enumerate(weights):
        point -= weight
        if point < 0:
            return index
    return len(weights) - 1  # rounding may leave the point just behind the last share
