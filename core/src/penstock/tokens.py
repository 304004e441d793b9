"""
How many tokens a request probably has, from its characters alone.

The heuristic: a quarter of a token for each ASCII character, 0.8 for each CJK one, a third for any other;
3 for each message, 3 to prime the answer, 1 for each name; a flat table for images; the JSON of tools
and schemas as text. No tokenizer, no I/O: short prompts take about a microsecond. An estimate is
for admission, never for a bill.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Any

from penstock.messages import ChatRequest, EmbedRequest, Image, RawPart, Text, ToolCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.messages import Message, Request, Tool
    from penstock.responses import Response

PER_ASCII = 0.25
PER_CJK = 0.8
PER_OTHER = 1 / 3
PER_MESSAGE = 3
PRIMING = 3
IMAGE_TOKENS = {"low": 85, "high": 765, "auto": 765}
"""OpenAI's price of an image: `low` is flat, `high` that of a 1024 x 1024 image."""

_ROUNDING = 1e-9
"""What float sums may be above the true one before it makes a whole token."""

_CJK = re.compile(
    "[\u1100-\u11ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef"
    "\U00020000-\U0003ffff]+"
)


def text_tokens(text: str) -> float:
    """Tokens in a text, as a fraction so that pieces can be added up."""
    if text.isascii():
        return len(text) * PER_ASCII
    length = len(text)
    ascii_length = len(text.encode("ascii", "ignore"))
    cjk = sum(map(len, _CJK.findall(text)))
    return ascii_length * PER_ASCII + cjk * PER_CJK + (length - ascii_length - cjk) * PER_OTHER


def estimate_input(request: Request, factor: float = 1.0) -> int:
    """
    Tokens the provider will probably count for what is sent.

    Args:
        request: a checked request.
        factor: of the provider's tokenizer, 1.0 for OpenAI's.
    """
    if isinstance(request, ChatRequest):
        text = 0.0
        flat = PRIMING
        for message in request.messages:
            flat += PER_MESSAGE
            content = message.content
            if content.__class__ is str:
                text += len(content) * PER_ASCII if content.isascii() else text_tokens(content)
                if message.name is None and not message.tool_calls:
                    continue
            more_text, more_flat = _parts(message)
            text += more_text
            flat += more_flat
        if request.tools:
            text += sum(map(_tool, request.tools))
        if request.schema is not None:
            text += _json(request.schema.json_schema)
        return ceil(text * factor - _ROUNDING) + flat
    if isinstance(request, EmbedRequest):
        return ceil(sum(map(text_tokens, request.inputs)) * factor - _ROUNDING)
    return 0


def estimate_output(response: Response | None, factor: float = 1.0) -> int:
    """Tokens in what has arrived of an answer: text, reasoning, refusals and tool calls."""
    text = 0.0
    for choice in getattr(response, "choices", ()):
        text += text_tokens(choice.text) + text_tokens(choice.reasoning) + text_tokens(choice.refusal)
        text += _tool_calls(choice.tool_calls)
    return ceil(text * factor - _ROUNDING)


def _parts(message: Message) -> tuple[float, int]:
    """Text and flat tokens of a message beyond plain text."""
    text, flat = 0.0, 0
    if message.name is not None:
        flat += 1
        text += text_tokens(message.name)
    if message.tool_calls:
        text += _tool_calls(message.tool_calls)
    if isinstance(message.content, tuple):
        for part in message.content:
            if isinstance(part, Text):
                text += text_tokens(part.text)
            elif isinstance(part, Image):
                flat += IMAGE_TOKENS.get(part.detail or "auto", IMAGE_TOKENS["auto"])
            else:
                text += _json(part.payload)
    return text, flat


def _tool_calls(calls: Sequence[ToolCall]) -> float:
    return sum(text_tokens(call.name) + text_tokens(call.arguments) + PER_MESSAGE for call in calls)


def _tool(tool: Tool | RawPart) -> float:
    if isinstance(tool, RawPart):
        return _json(tool.payload)
    return text_tokens(tool.name) + text_tokens(tool.description) + _json(tool.parameters) + PER_MESSAGE


def _json(value: Any) -> float:
    """Tokens of a value written as JSON, walked instead of written."""
    if isinstance(value, str):
        return text_tokens(value) + 2 * PER_ASCII
    if isinstance(value, Mapping):
        return sum((_json(key) + _json(item) + 2 * PER_ASCII for key, item in value.items()), 2 * PER_ASCII)
    if isinstance(value, list | tuple):
        return sum((_json(item) + PER_ASCII for item in value), 2 * PER_ASCII)
    return 4 * PER_ASCII
