"""
Which targets can take a request, from what is known without asking anybody.

Rules
1. What is not known is allowed: an unnecessary attempt is cheaper than a target that is never used. Only
   `prefill` must be known, because a model that cannot continue a text begins it again.
2. What the route's own table says comes before what the provider says.
3. Most requests are modest (a short text chat); that is found out without counting tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from penstock.errors import CallError, ContextLengthError, InvalidRequestError
from penstock.frozen import dataclass
from penstock.messages import ChatRequest, EmbedRequest, Image
from penstock.tokens import PER_CJK, PER_MESSAGE, PRIMING, estimate_input

if TYPE_CHECKING:
    from penstock.call import Target
    from penstock.messages import Request
    from penstock.responses import Model

SMALLEST_WINDOW = 2048
"""Tokens that fit every model whose window is not known to be smaller."""
SLACK = 1.25
"""An estimate may be this much too high; the server itself refuses what is really too long."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """
    A target of a route, and what its table says of it.

    Args:
        target: who may be asked.
        weight: its share inside its group.
        context_length: tokens, None to believe the provider.
        capabilities: all it can do, None to believe the provider.
        prefill: it continues an assistant message.
    """

    target: Target
    weight: float = 1.0
    context_length: int | None = None
    capabilities: frozenset[str] | None = None
    prefill: bool = False

    def window(self, model: Model) -> int | None:
        """Its context length in tokens, None when nobody says."""
        return self.context_length if self.context_length is not None else model.context_length

    def able(self, model: Model) -> frozenset[str] | None:
        """What it can do, None when nobody says."""
        return self.capabilities if self.capabilities is not None else model.capabilities

    def prefills(self, model: Model) -> bool:
        """Whether it is known to continue an assistant message."""
        return self.prefill or "prefill" in (self.able(model) or ())


class Demand:
    """
    What a request needs of whoever answers it.

    Args:
        request: a checked request.
    """

    __slots__ = ("_tokens", "needs", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.needs = tuple(_needs(request))
        self._tokens: int | None = None

    @property
    def tokens(self) -> int:
        """The estimated prompt; 0 for what is no chat. Counted once, and only if somebody asks."""
        if self._tokens is None:
            self._tokens = estimate_input(self.request) if isinstance(self.request, ChatRequest) else 0
        return self._tokens

    def lacks(self, candidate: Candidate, model: Model) -> tuple[str, CallError] | None:
        """What keeps a candidate from answering, as a word and as an error; None when it may."""
        able = candidate.able(model)
        if able is not None:
            for need in self.needs:
                if need not in able:
                    return need, _refused(candidate, f"it does not offer {need!r}, which the request needs")
        window = candidate.window(model)
        if window is not None and self.tokens > window * SLACK:
            return "context_length", too_long(candidate, f"about {self.tokens} tokens", window)
        return None


def is_modest(request: Request, floor: float) -> bool:
    """
    Whether any target that can chat can take the request; cheap, and rather False than wrong.

    Args:
        request: a checked request.
        floor: tokens that fit all of them.
    """
    if not isinstance(request, ChatRequest) or request.tools or request.schema is not None:
        return False
    tokens: float = PRIMING
    for message in request.messages:
        content = message.content
        if type(content) is not str:
            return False
        # The dearest characters there are, so that nothing has to be looked at.
        tokens += PER_MESSAGE + 1 + PER_CJK * len(content)
    return tokens <= floor


def too_long(candidate: Candidate, what: str, window: int) -> ContextLengthError:
    """The error of a target whose window is too small, without asking it."""
    error = ContextLengthError(f"{candidate.target}: {what} do not fit its window of {window}")
    error.target = candidate.target
    return error


def no_prefill(candidate: Candidate) -> InvalidRequestError:
    """The error of a target that is not known to continue a text."""
    return _refused(candidate, "it is not known to continue an assistant message (prefill)")


def _refused(candidate: Candidate, reason: str) -> InvalidRequestError:
    error = InvalidRequestError(f"{candidate.target}: {reason}")
    error.target = candidate.target
    return error


def _needs(request: Request) -> Iterator[str]:
    if isinstance(request, EmbedRequest):
        yield "embed"
    if not isinstance(request, ChatRequest):
        return
    yield "chat"
    if request.stream:
        yield "stream"
    if request.tools:
        yield "tools"
    if request.schema is not None:
        yield "schema"
    if any(_shows(message.content) for message in request.messages):
        yield "vision"


def _shows(content: object) -> bool:
    return isinstance(content, tuple) and any(isinstance(part, Image) for part in content)
