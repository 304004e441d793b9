"""
How many tokens a request has: by a tokenizer where one can be used, else by its characters.

A tokenizer knows texts; what a server puts around them (tokens for each message, to prime the answer, for a
name, for images and tools) is the same in both, and differs from family to family. Every count says how it
was made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

from penstock.call import Target
from penstock.frozen import dataclass
from penstock.messages import ChatRequest, EmbedRequest, Image, RawPart, Text
from penstock.tokens import PER_MESSAGE, text_tokens
from penstock_cost.families import FACTORS, Family, family_of
from penstock_cost.media import image_tokens, part_tokens
from penstock_cost.tokenizers import Tokenizers

if TYPE_CHECKING:
    from penstock.messages import Message, Request, Tool

_ROUNDING = 1e-9
"""What float sums may be above the true one before it makes a whole token."""
Method = Literal["exact", "tokenizer", "heuristic"]


@dataclass(frozen=True, slots=True)
class TokenCount:
    """
    Tokens of a request.

    Args:
        tokens: what the provider will probably count.
        method: `exact` (asked of the server), `tokenizer` or `heuristic`.
        detail: which tokenizer or endpoint, or why none was used.
    """

    tokens: int
    method: Method
    detail: str = ""


@cache
def _no_files() -> Tokenizers:
    return Tokenizers()


def count_tokens(
    request: Request,
    model: str,
    provider: str = "openai",
    *,
    tokenizers: Tokenizers | None = None,
    ratio: float = 1.0,
) -> TokenCount:
    """
    Tokens of a request, without asking anybody.

    Args:
        request: a checked request.
        model: the provider's own name of the model.
        provider: the provider's instance name.
        tokenizers: files to count with; tiktoken's ranks and a model hub's cache are looked at anyway.
        ratio: what experience says of the heuristic for this model (see `learned.py`).

    Raises:
        ConfigError: a tokenizer's file that is configured cannot be read.
    """
    found = (tokenizers or _no_files()).find(Target(provider, model))
    if found is None:
        tokens = ceil(heuristic(request, model, provider) * ratio)
        return TokenCount(tokens, "heuristic", "no tokenizer for this model is usable offline")
    name, count = found
    return TokenCount(_counted(request, family_of(model), count), "tokenizer", name)


def heuristic(request: Request, model: str, provider: str) -> int:
    """Tokens by characters, with what is known of the model's family."""
    family = family_of(model)
    factor = FACTORS.get(provider, family.factor) if family.factor == 1.0 else family.factor
    if factor == 1.0:
        return _counted(request, family, text_tokens)
    return _counted(request, family, lambda text: text_tokens(text) * factor)


def _counted(request: Request, family: Family, count: Callable[[str], float]) -> int:
    if isinstance(request, EmbedRequest):
        return ceil(sum(map(count, request.inputs)))
    if not isinstance(request, ChatRequest):
        return 0
    flat = family.start + family.message * len(request.messages)
    text = 0.0
    for message in request.messages:
        content = message.content
        if isinstance(content, str):
            text += count(content)
        else:
            for part in content or ():
                if isinstance(part, Text):
                    text += count(part.text)
                elif isinstance(part, Image):
                    flat += image_tokens(part, family)
                else:
                    media, texts = part_tokens(part.payload, family)
                    flat += media
                    text += sum(map(count, texts))
        if message.name is not None:
            flat += 1
            text += count(message.name)
        for call in message.tool_calls:
            text += count(call.name) + count(call.arguments)
        flat += family.call * len(message.tool_calls)
    text += sum(map(count, _kept_reasoning(request.messages)))
    if request.tools:
        flat += family.tools
        text += family.tool * sum(_tool(tool, count) for tool in request.tools)
    if request.schema is not None:
        text += count(_json(request.schema.json_schema))
    return ceil(text - _ROUNDING) + flat


def _kept_reasoning(messages: Sequence[Message]) -> Iterator[str]:
    """
    Reasoning that goes back with the calls of tools it led to.

    Templates (gpt-oss, Qwen, DeepSeek) keep it while those calls are being answered, and drop that of turns
    before the user's last word. Servers that know both names get it under both, and read one.
    """
    for message in reversed(messages):
        if message.role == "user":
            return
        if message.tool_calls and message.extra:
            said = message.extra.get("reasoning_content") or message.extra.get("reasoning")
            if isinstance(said, str):
                yield said
                continue
            details = message.extra.get("reasoning_details")
            for each in details if isinstance(details, list) else ():
                text = each.get("text") if isinstance(each, Mapping) else None
                if isinstance(text, str):
                    yield text


def _tool(tool: Tool | RawPart, count: Callable[[str], float]) -> float:
    if isinstance(tool, RawPart):
        return count(_json(tool.payload))
    return PER_MESSAGE + count(tool.name) + count(tool.description) + count(_json(tool.parameters))


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), separators=(",", ":"), default=dict)
