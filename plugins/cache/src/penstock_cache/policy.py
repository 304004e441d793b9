"""
What may be looked up and what may be kept, as functions of values; each answers with the reason why not.

Rules
1. `conservative` takes what should not differ from call to call: embeddings, and chat with an explicit
   temperature of 0, one choice and no tools. What `extra` could override counts as not known.
2. `selective` takes what a rule or the caller names; `aggressive` takes everything. A caller's own word
   (`cache=True`) counts in every mode.
3. Only complete answers are kept: every choice ended with `stop` (in `aggressive` also `tool_calls`), there
   is something in it and no error in it. Never `length`, never a stream that broke or was left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from penstock.errors import AllTargetsFailed, AuthenticationError, CallError, DeadlineExceeded
from penstock.messages import ChatRequest, EmbedRequest
from penstock.responses import ChatResponse, EmbedResponse

if TYPE_CHECKING:
    from penstock.messages import Request
    from penstock.responses import Response

Mode: TypeAlias = Literal["disabled", "conservative", "selective", "aggressive"]
NotAsked: TypeAlias = Literal["kind", "sampled", "not_selected"]
NotKept: TypeAlias = Literal["incomplete", "empty", "error"]

_OVERRIDES = frozenset({"temperature", "n", "tools", "functions", "top_p", "best_of"})
_WHOLE = frozenset({"stop"})
_WHOLE_OR_TOOLS = frozenset({"stop", "tool_calls"})


def why_not_asked(request: Request, mode: Mode, selected: bool) -> NotAsked | None:
    """
    Why the cache has nothing to do with a request, None when it has.

    Args:
        request: what is asked.
        mode: the mode of the place.
        selected: a rule or the caller chose this call.
    """
    if isinstance(request, ChatRequest):
        if selected or mode == "aggressive":
            return None
        if mode == "selective":
            return "not_selected"
        if (
            request.temperature == 0
            and not request.tools
            and (request.n is None or request.n == 1)
            and (not request.extra or _OVERRIDES.isdisjoint(request.extra))
        ):
            return None
        return "sampled"
    if not isinstance(request, EmbedRequest):
        return "kind"
    return "not_selected" if mode == "selective" and not selected else None


def why_not_kept(request: Request, response: Response | None, mode: Mode) -> NotKept | None:
    """Why an answer is not kept, None when it may be."""
    if isinstance(response, EmbedResponse):
        inputs = request.inputs if isinstance(request, EmbedRequest) else ()
        return None if len(response.vectors) == len(inputs) and all(response.vectors) else "incomplete"
    if not isinstance(response, ChatResponse):
        return "incomplete"
    if response.extra and "error" in response.extra:
        return "error"
    whole = _WHOLE_OR_TOOLS if mode == "aggressive" else _WHOLE
    for choice in response.choices:
        if choice.finish_reason not in whole:
            return "incomplete"
        if not (choice.text or choice.tool_calls or choice.refusal):
            return "empty"
    return None if response.choices else "empty"


def may_serve_stale(error: BaseException) -> bool:
    """
    Whether an old answer is better than this error.

    It is when nobody could answer in time; not when the request or the credential was refused. Of a
    route's targets one that might have answered is enough.
    """
    if isinstance(error, AllTargetsFailed):
        return any(map(may_serve_stale, error.errors))
    if isinstance(error, DeadlineExceeded):
        return True
    return (
        isinstance(error, CallError)
        and error.failover == "yes"
        and not isinstance(error, AuthenticationError)
    )
