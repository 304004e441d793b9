"""
What an answer will probably cost: the 95th percentile of what answers like it did cost.

Answers are alike when the model and the size class of `max_tokens` are: a caller who allows 4,000 tokens
asks other questions than one who allows 50. Until there are enough of them the most that may come is
assumed: `max_tokens`, or the configured guess where the caller set none.
"""

from __future__ import annotations

from penstock_limiter.percentile import SlidingPercentile


class Forecast:
    """
    The outputs of one target.

    Args:
        assumed: output tokens of an answer, when neither experience nor `max_tokens` says.
    """

    __slots__ = ("_assumed", "_seen", "_usual")

    ENOUGH = 10

    def __init__(self, assumed: float) -> None:
        self._assumed = assumed
        self._seen: dict[int, SlidingPercentile] = {}
        self._usual: dict[int, float] = {}

    def output(self, max_tokens: int | None) -> float:
        """Output tokens of one choice, never more than `max_tokens`."""
        usual = self._usual.get(0 if max_tokens is None else max_tokens.bit_length())
        if max_tokens is None:
            return self._assumed if usual is None else usual
        return float(max_tokens) if usual is None else min(usual, float(max_tokens))

    def observe(self, max_tokens: int | None, output: float) -> None:
        """An answer had so many output tokens, for each of its choices."""
        size = 0 if max_tokens is None else max_tokens.bit_length()
        seen = self._seen.get(size)
        if seen is None:
            seen = self._seen[size] = SlidingPercentile()
        seen.add(output)
        if len(seen) >= self.ENOUGH:
            self._usual[size] = seen.at(0.95)
