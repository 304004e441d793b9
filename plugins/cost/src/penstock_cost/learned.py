"""
What experience says of a model's counts: the ratio of reported to estimated input tokens.

Sums rather than single ratios, so that a long prompt says more than a short one, and both fade, so that a
change is noticed. A little of the estimate itself is mixed in, so that the first answers move it gently.
"""

from __future__ import annotations

PRIOR = 200.0
"""Tokens of belief in the estimate."""
FADE = 0.97
"""What each further answer leaves of the older ones."""
BOUNDS = (0.25, 4.0)
"""No ratio beyond these is believed."""


class LearnedRatio:
    """The ratio of one model; observations from several threads may be lost, never mixed up."""

    __slots__ = ("_sums", "seen")

    def __init__(self) -> None:
        self._sums = (0.0, 0.0)
        self.seen = 0

    @property
    def ratio(self) -> float:
        """What to multiply an estimate with."""
        reported, estimated = self._sums
        low, high = BOUNDS
        return min(high, max(low, (reported + PRIOR) / (estimated + PRIOR)))

    def observe(self, estimated: float, reported: int) -> None:
        """An estimate, not corrected by this ratio, and what the provider counted."""
        if estimated > 0 and reported > 0:
            low, high = BOUNDS
            # One beyond them (a picture nobody has seen, a page that was searched) may not drown the rest.
            told = min(high * estimated, max(low * estimated, reported))
            before = self._sums
            self._sums = (before[0] * FADE + told, before[1] * FADE + estimated)
            self.seen += 1
