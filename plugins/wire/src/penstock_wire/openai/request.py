"""
From a request to the JSON of chat completions and embeddings.

Everything a request holds is sent, `extra` included; `extra` comes last and so may override. What is
None is not sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from penstock.errors import InvalidRequestError
from penstock.messages import ChatRequest, EmbedRequest, Image, Message, RawPart, Schema, Text, Tool, ToolCall
from penstock_wire.jsonbytes import dumps
from penstock_wire.openai.extras import sent_back
from penstock_wire.openai.quirks import Quirks, reasons, samples
from penstock_wire.openai.schema import strict_schema

_PLAIN_FIELDS = (
    "temperature",
    "top_p",
    "stop",
    "seed",
    "n",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "user",
    "metadata",
)


_plain_values = attrgetter(*_PLAIN_FIELDS)
_LOOKED_AT = (*_PLAIN_FIELDS, "max_tokens", "tool_choice", "schema")
_looked_at = attrgetter(*_LOOKED_AT)
_SCALARS = frozenset((str, int, float, bool, type(None)))

_NEUTRAL = {
    "temperature": 1,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logprobs": False,
    "top_logprobs": None,
    "logit_bias": None,
}
"""Sampling parameters, and the value that changes nothing, which reasoning models take."""


def check_sampling(request: ChatRequest, model: str) -> None:
    """
    Refuse what a reasoning model of OpenAI would refuse, before it is sent; `extra` is not looked at.

    Raises:
        InvalidRequestError: names the parameter, and how to have one's way.
    """
    if not reasons(model):
        return
    named = next(
        (name for name, neutral in _NEUTRAL.items() if getattr(request, name) not in (None, neutral)), None
    )
    if named is None:
        return
    effort: Any = request.extra.get("reasoning_effort", request.reasoning_effort)
    inner = request.extra.get("reasoning")
    if isinstance(inner, Mapping):
        effort = inner.get("effort", effort)
    if samples(model, effort):
        return
    why = f"with reasoning_effort={effort!r}" if samples(model, None) else "because it reasons"
    value = getattr(request, named)
    raise InvalidRequestError(
        f"{model!r} takes no {named}={value!r} {why}; leave it out, "
        f"or pass extra={{{named!r}: ...}} to send it anyway",
        param=named,
    )


def is_plain(request: ChatRequest) -> bool:
    """Whether a request holds texts and numbers alone; a reader of its body need not look for more."""
    if request.tools or request.extra or not _SCALARS.issuperset(map(type, _looked_at(request))):
        return False
    for message in request.messages:
        if message.content.__class__ is not str or message.tool_calls or message.extra:
            return False
        if message.name is not None or message.tool_call_id is not None:
            return False
    return True


def chat_payload(request: ChatRequest, model: str, quirks: Quirks) -> dict[str, Any]:
    """The body of a chat completion; raises InvalidRequestError as `check_sampling` does."""
    if quirks.reasoning_rules:
        check_sampling(request, model)
    payload: dict[str, Any] = {
        "model": model,
        "messages": [_message(message, quirks) for message in request.messages],
    }
    values = zip(_PLAIN_FIELDS, _plain_values(request), strict=True)
    payload.update([pair for pair in values if pair[1] is not None])
    if request.max_tokens is not None:
        field = quirks.max_tokens
        if field == "by_model":
            field = "max_completion_tokens" if reasons(model) else "max_tokens"
        payload[field] = request.max_tokens
    if request.tools:
        payload["tools"] = [_tool(tool) for tool in request.tools]
    if request.tool_choice is not None:
        payload["tool_choice"] = _tool_choice(request)
    if request.schema is not None:
        _add_schema(payload, request.schema, quirks)
    for usual, own in quirks.renamed:
        if usual in payload:
            payload[own] = payload.pop(usual)
    if request.extra:
        payload.update(request.extra)
    if request.stream:
        payload["stream"] = True
        if quirks.stream_usage:
            asked = payload.get("stream_options", {})
            if isinstance(asked, Mapping):
                payload["stream_options"] = {"include_usage": True, **asked}
    return payload


def embed_payload(request: EmbedRequest, model: str, quirks: Quirks) -> dict[str, Any]:
    """The body of an embedding request."""
    payload: dict[str, Any] = {"model": model, "input": request.inputs}
    if quirks.embedding_format is not None:
        payload["encoding_format"] = quirks.embedding_format
    if request.dimensions is not None:
        payload["dimensions"] = request.dimensions
    if request.user is not None:
        payload["user"] = request.user
    if request.extra:
        payload.update(request.extra)
    return payload


def _message(message: Message, quirks: Quirks) -> dict[str, Any]:
    content: Any = message.content
    role: str = message.role
    if role == "developer":
        role = quirks.developer_role
    if content is not None and not isinstance(content, str):
        content = [_part(part) for part in content]
    encoded: dict[str, Any] = {"role": role, "content": content}
    if message.name is not None:
        encoded["name"] = message.name
    if message.tool_calls:
        encoded["tool_calls"] = [_call(call, quirks) for call in message.tool_calls]
    if message.tool_call_id is not None:
        encoded["tool_call_id"] = message.tool_call_id
    if message.extra:
        encoded.update(sent_back(message.extra, quirks.foreign_extras))
    return encoded


def _call(call: ToolCall, quirks: Quirks) -> dict[str, Any]:
    if call.extra.get("type") == "custom":
        encoded: dict[str, Any] = {"id": call.id, "custom": {"name": call.name, "input": call.arguments}}
    else:
        # Several servers parse the arguments, and "" is no JSON.
        function = {"name": call.name, "arguments": call.arguments or "{}"}
        encoded = {"id": call.id, "type": "function", "function": function}
    if call.extra:
        encoded.update(sent_back(call.extra, quirks.foreign_extras))
    return encoded


def _part(part: Any) -> Any:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        image = {"url": part.to_url()}
        if part.detail is not None:
            image["detail"] = part.detail
        return {"type": "image_url", "image_url": image}
    return part.payload


def _tool(tool: Tool | RawPart) -> Mapping[str, Any]:
    if isinstance(tool, RawPart):
        return tool.payload
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _tool_choice(request: ChatRequest) -> Any:
    """The name of a tool stands for the choice of that tool."""
    choice = request.tool_choice
    if isinstance(choice, str) and any(
        isinstance(tool, Tool) and tool.name == choice for tool in request.tools
    ):
        return {"type": "function", "function": {"name": choice}}
    return choice


def _add_schema(payload: dict[str, Any], schema: Schema, quirks: Quirks) -> None:
    if quirks.schema_as == "json_object":
        payload["response_format"] = {"type": "json_object"}
        payload["messages"].insert(0, {"role": "system", "content": schema_in_words(schema)})
        return
    strict = strict_schema(schema.json_schema) if schema.strict else None
    payload["response_format"] = {
        "type": "json_schema",
        "json_schema": {
            "name": schema.name,
            "schema": schema.json_schema if strict is None else strict,
            "strict": strict is not None,
        },
    }


def schema_in_words(schema: Schema) -> str:
    """What a server that guarantees only JSON is told instead."""
    text = dumps(schema.json_schema).decode()
    return f"Answer with one JSON object that fits this JSON Schema: {text}"
