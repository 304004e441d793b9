"""
From the JSON of the Responses API to a response: the parts that plain and streamed answers share.

An answer is a list of items: messages, reasoning, calls of tools. What only the items can say (sealed
reasoning, phases, citations, the calls of the server's own tools) is kept in their own form under
`extras.OUTPUT`, to be sent back in the next turn. Nothing here trusts a type.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from penstock.messages import EMPTY, ToolCall
from penstock.responses import ChatResponse, Choice, FinishReason
from penstock_wire.openai.billing import COST, cost_of
from penstock_wire.openai.extras import OUTPUT
from penstock_wire.openai.response import usage_of

_INCOMPLETE: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}
CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
"""The items that call a tool of the caller, and where its arguments stand."""
_PLAIN_CALL = frozenset({"arguments", "call_id", "id", "input", "name", "status", "type"})
_CUSTOM: dict[str, Any] = {"type": "custom"}
_ECHOED = frozenset(
    {
        *("background", "completed_at", "created_at", "error", "frequency_penalty", "id", "input"),
        *("instructions", "max_output_tokens", "max_tool_calls", "metadata", "model", "object", "output"),
        *("output_text", "parallel_tool_calls", "presence_penalty", "prompt", "prompt_cache_key"),
        *("prompt_cache_retention", "reasoning", "safety_identifier", "status", "store", "temperature"),
        *("text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "usage", "user"),
    }
)
"""Top-level fields that have a place of their own, or only repeat the request."""


class Piece(NamedTuple):
    """
    A text inside an item.

    Args:
        kind: `text`, `refusal`, `reasoning` or `summary`.
        part: its place among the item's parts of that list.
        text: all of it.
        logprobs: as the server sent them.
    """

    kind: str
    part: int
    text: str
    logprobs: Any = None


def pieces_of(item: dict[str, Any]) -> Iterator[Piece]:
    """The texts of a message or of reasoning, in order."""
    kind = item.get("type")
    content = item.get("content")
    if kind == "message":
        if isinstance(content, str):
            content = [{"type": "output_text", "text": content}]
        for index, part in enumerate(content if isinstance(content, list) else ()):
            if not isinstance(part, dict):
                continue
            name = "refusal" if part.get("type") == "refusal" else "text"
            text = part.get(name)
            if isinstance(text, str):
                yield Piece(name, index, text, part.get("logprobs") or None)
    elif kind == "reasoning":
        for name, parts in (("reasoning", content), ("summary", item.get("summary"))):
            for index, part in enumerate(parts if isinstance(parts, list) else ()):
                if isinstance(part, dict) and isinstance(part.get("text"), str):
                    yield Piece(name, index, part["text"])


def call_of(item: dict[str, Any]) -> ToolCall | None:
    """The call an item is, or None."""
    kind = item.get("type")
    where = CALLS.get(kind) if isinstance(kind, str) else None
    if where is None:
        return None
    call_id, name, arguments = item.get("call_id", item.get("id")), item.get("name"), item.get(where)
    return ToolCall(
        call_id if isinstance(call_id, str) else "",
        name if isinstance(name, str) else "",
        arguments if isinstance(arguments, str) else "",
        _CUSTOM if kind == "custom_tool_call" else EMPTY,
    )


def finish_of(payload: dict[str, Any], *, called: bool) -> tuple[FinishReason, str | None]:
    """
    Why an answer ended, and the server's word for it.

    Args:
        payload: the response object.
        called: whether it calls tools.
    """
    status = payload.get("status")
    if status in (None, "completed"):
        return "tool_calls" if called else "stop", status
    if status == "incomplete":
        details = payload.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        if isinstance(reason, str):
            return _INCOMPLETE.get(reason, "other"), reason
    return "other", status if isinstance(status, str) else None


def kept_items(items: Sequence[Any], payload: dict[str, Any]) -> dict[str, Any] | None:
    """
    The items to send back, as further fields of the message; None when text and calls say it all.

    Args:
        items: the output of the response.
        payload: the response object.
    """
    stored = payload.get("store") is True
    kept = [item for item in items if isinstance(item, dict) and (stored or not _is_husk(item))]
    if not any(_says_more(item) for item in kept):
        return None
    return {OUTPUT: [{key: value for key, value in item.items() if value is not None} for item in kept]}


def _is_husk(item: dict[str, Any]) -> bool:
    """Reasoning of which only the id is left; a server that stored nothing refuses it."""
    return item.get("type") == "reasoning" and not item.get("encrypted_content") and not item.get("content")


def _says_more(item: dict[str, Any]) -> bool:
    kind = item.get("type")
    if call_of(item) is not None:
        return any(value is not None for name, value in item.items() if name not in _PLAIN_CALL)
    if kind != "message" or item.get("phase") is not None:
        return True
    content = item.get("content")
    return isinstance(content, list) and any(
        isinstance(part, dict) and bool(part.get("annotations")) for part in content
    )


def further_fields(payload: dict[str, Any]) -> dict[str, Any]:
    """Top-level fields worth keeping: service_tier, billing, ...; and what the answer costs."""
    extra = {name: value for name, value in payload.items() if value is not None and name not in _ECHOED}
    cost = cost_of(payload.get("usage"))
    if cost is not None:
        extra[COST] = cost
    return extra


def responses_answer(payload: dict[str, Any], upstream_id: str | None) -> ChatResponse | None:
    """The response in a whole document, None when it has no output."""
    output = payload.get("output")
    if not isinstance(output, list):
        return None
    said: dict[str, list[str]] = {"text": [], "refusal": [], "reasoning": []}
    calls: list[ToolCall] = []
    logprobs: list[Any] = []
    for item in output:
        if not isinstance(item, dict):
            continue
        call = call_of(item)
        if call is not None:
            calls.append(call)
        for piece in pieces_of(item):
            said["reasoning" if piece.kind == "summary" else piece.kind].append(piece.text)
            if piece.logprobs:
                logprobs.append(piece.logprobs)
    finish, raw = finish_of(payload, called=bool(calls))
    model, answer_id = payload.get("model"), payload.get("id")
    choice = Choice(
        text="".join(said["text"]),
        reasoning="".join(said["reasoning"]),
        refusal="".join(said["refusal"]),
        tool_calls=tuple(calls),
        finish_reason=finish,
        raw_finish_reason=raw,
        logprobs=logprobs or None,
        extra=kept_items(output, payload) or EMPTY,
    )
    return ChatResponse(
        choices=(choice,),
        model=model if isinstance(model, str) else "",
        id=answer_id if isinstance(answer_id, str) else "",
        usage=usage_of(payload.get("usage")),
        extra=further_fields(payload),
        upstream_id=upstream_id,
    )
