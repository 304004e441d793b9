"""
Does a request fit a model's context window, asked before it is sent.

Servers answer one that does not with an error, or cut it silently; a route that asks first goes to a model
with a larger window at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.errors import ContextLengthError
from penstock.frozen import dataclass
from penstock.messages import ChatRequest

if TYPE_CHECKING:
    from penstock.messages import Request
    from penstock_cost.counting import TokenCount

CERTAIN = {"exact": 1.0, "tokenizer": 0.95, "heuristic": 0.75}
"""The share of a count that is surely there, by its method: only that much may refuse a request."""


@dataclass(frozen=True, slots=True)
class Fit:
    """
    How a request fits a window.

    Args:
        tokens: of the request, as counted.
        output: tokens its answer may have by `max_tokens`, 0 when it does not say.
        window: tokens of the model's context.
        certain: tokens that are surely there, for a count may be wrong.
    """

    tokens: int
    output: int
    window: int
    certain: int

    @property
    def fits(self) -> bool:
        """False when it surely does not."""
        return self.certain + self.output <= self.window

    @property
    def room(self) -> int:
        """Tokens left for the answer, by the count as it is; never negative."""
        return max(0, self.window - self.tokens)


def fit(request: Request, count: TokenCount, window: int) -> Fit:
    """How a request of so many tokens fits a window of so many."""
    output = request.max_tokens if isinstance(request, ChatRequest) else None
    return Fit(count.tokens, output or 0, window, int(count.tokens * CERTAIN[count.method]))


def require_fit(request: Request, count: TokenCount, window: int, model: str) -> Fit:
    """
    As `fit`.

    Raises:
        ContextLengthError: it surely does not fit; only a larger window can help.
    """
    found = fit(request, count, window)
    if not found.fits:
        answer = f" and {found.output:,} for the answer" if found.output else ""
        raise ContextLengthError(
            f"{model}: about {found.tokens:,} tokens{answer} do not fit its window of {window:,}; "
            "nothing was sent",
            param="messages",
        )
    return found
