"""
From the JSON of a chat completion to a response: the parts that plain and streamed answers share.

Nothing here trusts a type: a field of the wrong one counts as missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.messages import EMPTY
from penstock.responses import ChatResponse, Choice, FinishReason, Usage
from penstock_wire.openai.billing import COST, cost_of
from penstock_wire.openai.extras import message_extras
from penstock_wire.openai.quirks import Quirks
from penstock_wire.openai.think import ThinkSplitter
from penstock_wire.openai.tool_calls import whole_calls

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_OWN_FIELDS = frozenset({"id", "object", "created", "model", "choices", "usage", "obfuscation", "error"})


def finish_reason(raw: Any) -> tuple[FinishReason | None, str | None]:
    """The normal and the raw word; words we do not know are `other`."""
    if not isinstance(raw, str):
        return None, None
    return _FINISH.get(raw, "other"), raw


def usage_of(raw: Any) -> Usage | None:
    """
    Tokens as the server counted them, None when it did not.

    Servers that count reasoning beside the output (xAI) show it in their total; it is added, so that
    `output_tokens` always includes `reasoning_tokens`.
    """
    if not isinstance(raw, dict) or not raw:
        return None
    given = _count(raw.get("prompt_tokens", raw.get("input_tokens")))
    made = _count(raw.get("completion_tokens", raw.get("output_tokens")))
    details = raw.get("prompt_tokens_details") or raw.get("input_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
    if cached is None:
        cached = _count(raw.get("cached_tokens", raw.get("prompt_cache_hit_tokens")))
    details = raw.get("completion_tokens_details") or raw.get("output_tokens_details")
    reasoning = _count(details.get("reasoning_tokens")) if isinstance(details, dict) else None
    if reasoning is None:
        reasoning = _count(raw.get("reasoning_tokens"))
    if given is None and made is None:
        return None
    if (
        reasoning
        and given is not None
        and made is not None
        and _count(raw.get("total_tokens")) == given + made + reasoning
    ):
        made += reasoning
    return Usage(given, made, cached, reasoning)


def _count(value: Any) -> int | None:
    if type(value) is int:
        return value if value >= 0 else None
    if type(value) is float and value.is_integer() and value >= 0:
        return int(value)
    return None


def content_of(content: Any) -> tuple[str, str]:
    """The text and the reasoning of a message's content: a string, or a list of parts."""
    if isinstance(content, str):
        return content, ""
    if not isinstance(content, list):
        return "", ""
    text: list[str] = []
    reasoning: list[str] = []
    for part in content:
        if isinstance(part, str):
            text.append(part)
        elif isinstance(part, dict):
            piece = part.get("text")
            if isinstance(piece, str):
                text.append(piece)
            elif part.get("type") == "thinking":
                reasoning.append(_thinking(part.get("thinking")))
    return "".join(text), "".join(reasoning)


def _thinking(thinking: Any) -> str:
    if isinstance(thinking, str):
        return thinking
    if not isinstance(thinking, list):
        return ""
    return "".join(
        part["text"] for part in thinking if isinstance(part, dict) and isinstance(part.get("text"), str)
    )


def reasoning_of(message: dict[str, Any], fields: tuple[str, ...]) -> str:
    """The reasoning beside the content; servers that fill several fields repeat it, so the first counts."""
    for name in fields:
        value = message.get(name)
        if value and isinstance(value, str):
            return value
    details = message.get("reasoning_details")
    if not isinstance(details, list):
        return ""
    pieces = []
    for detail in details:
        if isinstance(detail, dict):
            piece = detail.get("text") or detail.get("summary")
            if isinstance(piece, str):
                pieces.append(piece)
    return "".join(pieces)


def extra_of(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Top-level fields worth keeping: system_fingerprint, citations, ...; and what the answer costs."""
    extra = {name: value for name, value in payload.items() if value is not None and name not in _OWN_FIELDS}
    cost = cost_of(payload.get("usage"))
    if cost is not None:
        extra[COST] = cost
    return extra


def chat_response(payload: dict[str, Any], quirks: Quirks, upstream_id: str | None) -> ChatResponse | None:
    """The response in a whole document, None when it has no choices."""
    choices = payload.get("choices")
    if not isinstance(choices, list):
        return None
    found = [choice for choice in choices if isinstance(choice, dict)]
    if not found:
        return None
    if len(found) > 1 and all(type(choice.get("index")) is int for choice in found):
        found.sort(key=lambda choice: choice["index"])
    model, answer_id = payload.get("model"), payload.get("id")
    return ChatResponse(
        choices=tuple([_choice(choice, quirks) for choice in found]),
        model=model if isinstance(model, str) else "",
        id=answer_id if isinstance(answer_id, str) else "",
        usage=usage_of(payload.get("usage")),
        extra=extra_of(payload),
        upstream_id=upstream_id,
    )


def _choice(choice: dict[str, Any], quirks: Quirks) -> Choice:
    message = choice.get("message")
    if not isinstance(message, dict):
        message = {}  # Azure: a filtered choice has none
    text, thought = content_of(message.get("content"))
    reasoning = reasoning_of(message, quirks.reasoning_fields) or thought
    if quirks.think_tags and text and not reasoning:
        splitter = ThinkSplitter()
        (text, reasoning), (more_text, more_reasoning) = splitter.feed(text), splitter.flush()
        text, reasoning = text + more_text, reasoning + more_reasoning
    refusal = message.get("refusal")
    normal, raw = finish_reason(choice.get("finish_reason"))
    calls = whole_calls(message)
    return Choice(
        text=text,
        reasoning=reasoning,
        refusal=refusal if isinstance(refusal, str) else "",
        tool_calls=calls,
        finish_reason=normal,
        raw_finish_reason=raw,
        logprobs=choice.get("logprobs"),
        extra=message_extras(message, quirks.reasoning_fields, called=bool(calls)) or EMPTY,
    )
