"""
From a request to the JSON of the Responses API: messages become input items.

Rules
1. Everything a request holds is sent; what the API has no place for is refused by name. `extra` comes last
   and overrides; inside `reasoning`, `text` and `include` it adds.
2. Nothing is stored at the server unless `extra` says `store`. So that a reasoning model can go on thinking,
   its reasoning is asked for in sealed form and sent back with the answer.
3. An answer of this API goes back as the items it consisted of (`extras.OUTPUT`), in their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.errors import InvalidRequestError
from penstock.messages import ChatRequest, Image, Message, Part, RawPart, Text, Tool
from penstock_wire.openai.extras import OUTPUT, sent_back
from penstock_wire.openai.quirks import Quirks, reasons
from penstock_wire.openai.request import check_sampling, schema_in_words
from penstock_wire.openai.schema import strict_schema

_PLAIN_FIELDS = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "parallel_tool_calls",
    "user",
    "metadata",
)
_NO_PLACE = ("stop", "seed", "logit_bias")
_CHAT_EXTRAS = frozenset({"annotations", "audio", "function_call"})
"""What a message of a chat completion holds beside its fields and no input item does."""
_SEALED = "reasoning.encrypted_content"
_LOGPROBS = "message.output_text.logprobs"


def responses_payload(request: ChatRequest, model: str, quirks: Quirks) -> dict[str, Any]:
    """
    The body of a response.

    Raises:
        InvalidRequestError: the API has no place for something; names the parameter.
    """
    if quirks.reasoning_rules:
        check_sampling(request, model)
    for name in _NO_PLACE:
        if getattr(request, name) is not None:
            raise _no_place(name)
    if request.n is not None and request.n != 1:
        raise _no_place("n")
    payload: dict[str, Any] = {"model": model, "input": input_items(request.messages, quirks)}
    for name in _PLAIN_FIELDS:
        value = getattr(request, name)
        if value is not None:
            payload[name] = value
    if request.max_tokens is not None:
        payload["max_output_tokens"] = request.max_tokens
    if request.tools:
        payload["tools"] = [_tool(tool) for tool in request.tools]
    if request.tool_choice is not None:
        payload["tool_choice"] = _tool_choice(request)
    if request.schema is not None or request.response_format is not None:
        payload["text"] = {"format": _format(request, payload["input"], quirks)}
    if request.reasoning_effort is not None:
        payload["reasoning"] = {"effort": request.reasoning_effort}
    payload["store"] = False
    include = [_LOGPROBS] if request.logprobs or request.top_logprobs is not None else []
    if reasons(model) and not request.extra.get("store"):
        include.append(_SEALED)
    if include:
        payload["include"] = include
    for name, value in request.extra.items():
        payload[name] = (
            _merged(payload.get(name), value) if name in ("reasoning", "text", "include") else value
        )
    if request.stream:
        payload["stream"] = True
    return payload


def _no_place(name: str) -> InvalidRequestError:
    return InvalidRequestError(
        f'the Responses API has no {name!r}; leave it out, use api = "chat", '
        f"or pass extra={{{name!r}: ...}} to send it anyway",
        param=name,
    )


def _merged(ours: Any, theirs: Any) -> Any:
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return {**ours, **theirs}
    if isinstance(ours, list) and isinstance(theirs, list | tuple):
        return [*ours, *(item for item in theirs if item not in ours)]
    return theirs


def input_items(messages: tuple[Message, ...], quirks: Quirks) -> list[Any]:
    """The conversation as items."""
    items: list[Any] = []
    custom: set[str] = set()  # calls of custom tools, whose results are items of their own kind
    foreign = quirks.foreign_extras | _CHAT_EXTRAS
    for number, message in enumerate(messages):
        if message.role == "tool":
            items.append(_result(message, custom, f"messages[{number}]"))
            continue
        custom.update(call.id for call in message.tool_calls if call.extra.get("type") == "custom")
        kept = message.extra.get(OUTPUT)
        if isinstance(kept, list | tuple) and kept:
            items.extend(kept)
            continue
        if message.name is not None:
            raise InvalidRequestError(
                f"messages[{number}]: the Responses API has no place for the name of a speaker",
                param="messages",
            )
        item = _message(message, quirks, f"messages[{number}]")
        if message.extra:
            extra = sent_back(message.extra, foreign)
            if not extra.get("refusal"):
                extra.pop("refusal", None)
            elif item is None or isinstance(item["content"], str):
                text = [{"type": "output_text", "text": item["content"]}] if item is not None else []
                item = {"role": "assistant", "content": text}
                item["content"].append({"type": "refusal", "refusal": extra.pop("refusal")})
            if item is not None:
                item.update(extra)
        if item is not None:
            items.append(item)
        for call in message.tool_calls:
            if call.extra.get("type") == "custom":
                kind, written = "custom_tool_call", {"input": call.arguments}
            else:
                kind, written = "function_call", {"arguments": call.arguments or "{}"}
            items.append({"type": kind, "call_id": call.id, "name": call.name, **written})
    return items


def _message(message: Message, quirks: Quirks, place: str) -> dict[str, Any] | None:
    """The text of a message; None for an assistant's that only calls tools."""
    content: Any = message.content
    if message.role == "assistant":
        if not content:
            return None
        if not isinstance(content, str):
            content = [_said(part, place) for part in content]
        return {"role": "assistant", "content": content}
    role: str = quirks.developer_role if message.role == "developer" else message.role
    if content is None:
        content = ""
    elif not isinstance(content, str):
        content = [_part(part) for part in content]
    return {"role": role, "content": content}


def _result(message: Message, custom: set[str], place: str) -> dict[str, Any]:
    """What a tool gave; its name is not sent, the call's id says which tool it was."""
    if not message.tool_call_id:
        raise InvalidRequestError(f"{place} answers no call: its tool_call_id is missing", param="messages")
    content = message.content or ""
    return {
        "type": "custom_tool_call_output" if message.tool_call_id in custom else "function_call_output",
        "call_id": message.tool_call_id,
        "output": content if isinstance(content, str) else [_part(part) for part in content],
        **message.extra,
    }


def _part(part: Part) -> Mapping[str, Any]:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    if isinstance(part, Image):
        image: dict[str, Any] = {"type": "input_image", "image_url": part.to_url()}
        if part.detail is not None:
            image["detail"] = part.detail
        return image
    payload = part.payload
    inner = payload.get(str(payload.get("type")))
    if payload.get("type") == "text":
        return {**payload, "type": "input_text"}
    if payload.get("type") == "image_url" and isinstance(inner, Mapping):
        rest = {name: value for name, value in inner.items() if name != "url"}
        return {"type": "input_image", "image_url": inner.get("url"), **rest}
    if payload.get("type") == "file" and isinstance(inner, Mapping):
        return {"type": "input_file", **inner}
    return payload


def _said(part: Part, place: str) -> Mapping[str, Any]:
    if isinstance(part, Text):
        return {"type": "output_text", "text": part.text}
    if isinstance(part, Image):
        raise InvalidRequestError(
            f"{place}: the Responses API takes no image from an assistant", param="messages"
        )
    return part.payload


def _flat(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """A tool, or the choice of one, in the form of chat completions: its description stands inside."""
    kind = payload.get("type")
    inner = payload.get(kind) if isinstance(kind, str) else None
    if not isinstance(inner, Mapping):
        return payload
    flat = {"type": kind, **inner}
    if isinstance(flat.get("tools"), list | tuple):
        flat["tools"] = [_flat(tool) if isinstance(tool, Mapping) else tool for tool in flat["tools"]]
    return flat


def _tool(tool: Tool | RawPart) -> Mapping[str, Any]:
    if isinstance(tool, RawPart):
        return _flat(tool.payload)
    encoded: dict[str, Any] = {"type": "function", "name": tool.name}
    if tool.description:
        encoded["description"] = tool.description
    encoded["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    # Left out, this API makes a schema strict by itself; chat completions do not.
    encoded["strict"] = bool(tool.strict)
    return encoded


def _tool_choice(request: ChatRequest) -> Any:
    """The name of a tool stands for the choice of that tool."""
    choice = request.tool_choice
    if isinstance(choice, Mapping):
        return _flat(choice)
    if any(isinstance(tool, Tool) and tool.name == choice for tool in request.tools):
        return {"type": "function", "name": choice}
    return choice


def _format(request: ChatRequest, items: list[Any], quirks: Quirks) -> Mapping[str, Any]:
    schema = request.schema
    if schema is None:
        return _flat(request.response_format or {})
    if quirks.schema_as == "json_object":
        items.insert(0, {"role": "system", "content": schema_in_words(schema)})
        return {"type": "json_object"}
    strict = strict_schema(schema.json_schema) if schema.strict else None
    return {
        "type": "json_schema",
        "name": schema.name,
        "schema": schema.json_schema if strict is None else strict,
        "strict": strict is not None,
    }
