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

    __slots__ = ("_assumed", "_seen")

    ENOUGH = 10

    def __init__(self, assumed: float) -> None:
        self._assumed = assumed
        self._seen: dict[int, SlidingPercentile] = {}

    def output(self, max_tokens: int | None) -> float:
        """Output tokens of one choice, never more than `max_tokens`."""
        seen = self._seen.get(0 if max_tokens is None else max_tokens.bit_length())
        if seen is None or len(seen) < self.ENOUGH:
            return self._assumed if max_tokens is None else float(max_tokens)
        usual = seen.at(0.95)
        return usual if max_tokens is None else min(usual, float(max_tokens))

    def observe(self, max_tokens: int | None, output: float) -> None:
        """An answer had so many output tokens, for each of its choices."""
        size = 0 if max_tokens is None else max_tokens.bit_length()
        seen = self._seen.get(size)
        if seen is None:
            seen = self._seen[size] = SlidingPercentile()
        seen.add(output)
