"""
What was said, as span attributes, for those who ask for it: prompts and answers in OpenTelemetry's form.

Off by default, because it is the most private thing Penstock handles. Bytes of images are left out, they
would fill any backend; what can hold a secret goes through the redactor like every text that is shown.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from penstock.messages import EmbedRequest, Image, Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.messages import ChatRequest, Message, ToolCall
    from penstock.responses import ChatResponse, Choice

FINISH = {"tool_calls": "tool_call"}
"""Where the conventions have another word for a finish reason."""


def input_messages(request: ChatRequest | EmbedRequest) -> str:
    """`gen_ai.input.messages` of a request, as JSON."""
    if isinstance(request, EmbedRequest):
        said = [{"role": "user", "parts": [_text(text)]} for text in request.inputs]
    else:
        said = [_message(message) for message in request.messages]
    return _json(said)


def output_messages(response: ChatResponse) -> str:
    """`gen_ai.output.messages` of an answer, as JSON; of a broken stream what had arrived."""
    return _json([_choice(choice) for choice in response.choices])


def _message(message: Message) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    if message.role == "tool":
        answer = message.content
        if not isinstance(answer, str):
            answer = "".join(part.text for part in answer or () if isinstance(part, Text))
        parts.append({"type": "tool_call_response", "id": message.tool_call_id, "response": answer})
    elif isinstance(message.content, str):
        parts.append(_text(message.content))
    else:
        parts += [_part(part) for part in message.content or ()]
    parts += _calls(message.tool_calls)
    named = {"name": message.name} if message.name is not None else {}
    return {"role": message.role, "parts": parts, **named}


def _part(part: Any) -> dict[str, Any]:
    if isinstance(part, Text):
        return _text(part.text)
    if isinstance(part, Image):
        if part.url is not None and not part.url.startswith("data:"):
            return {"type": "uri", "modality": "image", "uri": part.url}
        return {"type": "blob", "modality": "image", "mime_type": part.media_type}
    # Of a kind nobody here knows: it may hold a whole recording.
    return {"type": str(part.payload.get("type", "unknown"))}


def _choice(choice: Choice) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    if choice.reasoning:
        parts.append({"type": "reasoning", "content": choice.reasoning})
    if choice.text or choice.refusal:
        parts.append(_text(choice.text or choice.refusal))
    parts += _calls(choice.tool_calls)
    reason = choice.finish_reason or ""
    return {"role": "assistant", "parts": parts, "finish_reason": FINISH.get(reason, reason)}


def _calls(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    return [
        {"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments} for call in calls
    ]


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "content": text}


def _json(said: list[dict[str, Any]]) -> str:
    return json.dumps(said, ensure_ascii=False)
