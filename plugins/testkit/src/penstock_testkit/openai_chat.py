"""
What a simulated chat model says, and how OpenAI writes it: one JSON object, or events of a stream.

The rules of the model: with a schema it gives an instance of it; with tools it calls those the caller
requires, or those the last user message names; after a tool's result, and in every other case, it gives
the text of the settings or one derived from the prompt. `max_tokens` counts words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from penstock_testkit.plan import Data
from penstock_testkit.schema import instance

if TYPE_CHECKING:
    from penstock_testkit.dialect import Settings
    from penstock_testkit.received import ReceivedRequest

CREATED = 1_767_225_600
"""The epoch of simulated timestamps (2026-01-01); each request adds one second."""

_WORDS = re.compile(r"\s*\S+\s*$|\s*\S+|\s+$")
_FINGERPRINT = "fp_simulated"


@dataclass(slots=True)
class _Choice:
    """One of the `n` answers before it is written down."""

    words: list[str] = field(default_factory=list)
    tools: list[tuple[str, str, str]] = field(default_factory=list)  # id, name, arguments
    finish_reason: str = "stop"


def chat_completion(
    request: ReceivedRequest, settings: Settings, text: str | None = None
) -> Iterator[Data] | tuple[Data]:
    """
    The body of the answer in pieces: one for a plain call, one for each event of a stream.

    Args:
        request: a checked request.
        settings: what the upstream says.
        text: said instead of what the settings say.

    Raises:
        ValueError: a schema of the request cannot be satisfied.
    """
    fields = request.json
    choices = _choices(request, settings, text)
    usage = _usage(fields, choices)
    if request.stream:
        return _events(request, choices, usage)
    body = {
        "id": f"chatcmpl-{request.number:024x}",
        "object": "chat.completion",
        "created": CREATED + request.number,
        "model": request.model,
        "choices": [
            {
                "index": index,
                "message": _message(choice),
                "logprobs": None,
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(choices)
        ],
        "usage": usage,
        "service_tier": "default",
        "system_fingerprint": _FINGERPRINT,
    }
    return (Data(json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"), "content"),)


def word_count(text: str) -> int:
    """The simulator's tokens: words."""
    return len(text.split())


def prompt_of(fields: dict[str, Any]) -> str:
    """The text of the last user message."""
    for message in reversed(fields["messages"]):
        if message.get("role") == "user":
            return _text_of(message.get("content"))
    return ""


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text", "") for part in content if isinstance(part, dict)]
        return " ".join(part for part in parts if isinstance(part, str) and part)
    return ""


def _choices(request: ReceivedRequest, settings: Settings, text: str | None) -> list[_Choice]:
    fields = request.json
    count = fields.get("n") or 1
    prompt = prompt_of(fields)
    if text is None:
        tools = _tool_calls(request, prompt)
        if tools:
            return [_Choice(tools=tools, finish_reason="tool_calls") for _ in range(count)]
        text = _structured(fields) or _say(settings, request, prompt)
    limit = fields.get("max_completion_tokens") or fields.get("max_tokens")
    stops = fields.get("stop")
    return [_spoken(text if index == 0 else f"{text} ({index + 1})", limit, stops) for index in range(count)]


def _say(settings: Settings, request: ReceivedRequest, prompt: str) -> str:
    if isinstance(settings.text, str):
        return settings.text
    if settings.text is not None:
        return settings.text(request, prompt)
    shown = prompt if len(prompt) <= 200 else prompt[:200] + "..."
    return f"This is the simulated answer to: {shown}"


def _structured(fields: dict[str, Any]) -> str | None:
    wanted = fields.get("response_format")
    if not isinstance(wanted, dict):
        return None
    if wanted.get("type") == "json_object":
        return '{"answer": "simulated"}'
    if wanted.get("type") == "json_schema":
        described = wanted.get("json_schema") or {}
        return json.dumps(instance(described.get("schema", {}), described.get("name", "value")))
    return None


def _tool_calls(request: ReceivedRequest, prompt: str) -> list[tuple[str, str, str]]:
    fields = request.json
    offered = [
        tool["function"] for tool in fields.get("tools") or () if isinstance(tool.get("function"), dict)
    ]
    choice = fields.get("tool_choice", "auto")
    if not offered or choice == "none" or fields["messages"][-1].get("role") == "tool":
        return []
    if isinstance(choice, dict):
        name = (choice.get("function") or {}).get("name")
        wanted = [tool for tool in offered if tool.get("name") == name]
    else:
        asked = prompt.lower().replace("_", " ")
        wanted = [tool for tool in offered if str(tool.get("name", "")).lower().replace("_", " ") in asked]
        if choice == "required" and not wanted:
            wanted = offered[:1]
    if fields.get("parallel_tool_calls") is False:
        wanted = wanted[:1]
    return [
        (
            f"call_{request.number:016x}{index:08x}",
            tool["name"],
            json.dumps(instance(tool.get("parameters") or {"type": "object"}, tool["name"])),
        )
        for index, tool in enumerate(wanted)
    ]


def _spoken(text: str, limit: int | None, stops: Any) -> _Choice:
    for stop in [stops] if isinstance(stops, str) else stops or ():
        text = text.split(stop, 1)[0] if stop else text
    words = _WORDS.findall(text)
    if limit is not None and len(words) > limit:
        return _Choice(words[:limit], finish_reason="length")
    return _Choice(words)


def _message(choice: _Choice) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if choice.tools else "".join(choice.words),
        "refusal": None,
        "annotations": [],
    }
    if choice.tools:
        message["tool_calls"] = [
            {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for call_id, name, arguments in choice.tools
        ]
    return message


def _usage(fields: dict[str, Any], choices: Sequence[_Choice]) -> dict[str, Any]:
    messages = fields["messages"]
    prompt = 3 + sum(3 + word_count(_text_of(message.get("content"))) for message in messages)
    completion = sum(
        len(choice.words) + sum(word_count(arguments) + 1 for _, _, arguments in choice.tools)
        for choice in choices
    )
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _events(request: ReceivedRequest, choices: Sequence[_Choice], usage: dict[str, Any]) -> Iterator[Data]:
    model = json.dumps(request.model)
    before = (
        f'data: {{"id":"chatcmpl-{request.number:024x}","object":"chat.completion.chunk",'
        f'"created":{CREATED + request.number},"model":{model},"service_tier":"default",'
        f'"system_fingerprint":"{_FINGERPRINT}","choices":['
    )
    options = request.json.get("stream_options")
    with_usage = isinstance(options, dict) and options.get("include_usage") is True
    after = '],"usage":null}\n\n' if with_usage else "]}\n\n"

    def event(index: int, delta: Any, finish_reason: str | None = None) -> bytes:
        body = json.dumps(delta, ensure_ascii=False)
        reason = "null" if finish_reason is None else f'"{finish_reason}"'
        choice = f'{{"index":{index},"delta":{body},"logprobs":null,"finish_reason":{reason}}}'
        return f"{before}{choice}{after}".encode("utf-8", "surrogatepass")

    for index, choice in enumerate(choices):
        first = {"role": "assistant", "content": None if choice.tools else "", "refusal": None}
        yield Data(event(index, first))
    longest = max(len(choice.words) for choice in choices)
    for turn in range(longest):
        for index, choice in enumerate(choices):
            if turn < len(choice.words):
                yield Data(event(index, {"content": choice.words[turn]}), "content")
    for index, choice in enumerate(choices):
        for position, tool in enumerate(choice.tools):
            for delta in _tool_deltas(position, *tool):
                yield Data(event(index, {"tool_calls": [delta]}), "content")
    for index, choice in enumerate(choices):
        yield Data(event(index, {}, choice.finish_reason), "finish")
    if with_usage:
        yield Data(f'{before}],"usage":{json.dumps(usage)}}}\n\n'.encode(), "usage")
    yield Data(b"data: [DONE]\n\n", "done")


def _tool_deltas(position: int, id: str, name: str, arguments: str) -> Iterator[dict[str, Any]]:
    yield {"index": position, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}
    for start in range(0, len(arguments), 8):
        yield {"index": position, "function": {"arguments": arguments[start : start + 8]}}
