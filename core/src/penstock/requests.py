"""
From what users pass in to a request: everything is checked here, before anything is sent.

Messages may be a string, `Message` objects or dicts in OpenAI's form; parameters are checked against
`ChatRequest` by pydantic. Every error is an `InvalidRequestError` that names the parameter.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError

from penstock.errors import InvalidRequestError
from penstock.messages import (
    EMPTY,
    ChatRequest,
    EmbedRequest,
    Image,
    Message,
    Part,
    RawPart,
    Role,
    Schema,
    Text,
    Tool,
    ToolCall,
)
from penstock.redaction import raise_alone

ROLES: frozenset[Role] = frozenset(get_args(Role))
_MESSAGE_KEYS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id"})
_CHAT_PARAMETERS = dict.fromkeys(
    field.name for field in fields(ChatRequest) if field.name not in ("model", "messages", "stream")
)
_EMBED_PARAMETERS = dict.fromkeys(("dimensions", "user", "extra"))

R = TypeVar("R", ChatRequest, EmbedRequest)

_adapter: Callable[[Any], TypeAdapter[Any]] = functools.lru_cache(maxsize=256)(TypeAdapter)


def _quick_validator(kind: Any) -> Callable[[dict[str, Any]], Any]:
    """What checks a request; the adapter's own method would cost a quarter more."""
    return _adapter(kind).validator.validate_python


_validator: Callable[[Any], Callable[[dict[str, Any]], Any]] = functools.cache(_quick_validator)


def chat_request(model: str, messages: Any, parameters: Mapping[str, Any], *, stream: bool) -> ChatRequest:
    """
    A checked chat request.

    Args:
        model: `provider/model`, a route, or a bare model name.
        messages: a string, or a sequence of `Message` or dicts.
        parameters: the other fields of `ChatRequest`; None counts as not given.
        stream: whether the answer is streamed.

    Raises:
        InvalidRequestError: names the parameter at fault.
    """
    given = _given(parameters, _CHAT_PARAMETERS)
    if "tools" in given:
        given["tools"] = tuple(
            _tool(tool, f"tools[{i}]") for i, tool in enumerate(_items(given["tools"], "tools"))
        )
    if "schema" in given:
        given["schema"] = schema_of(given["schema"])
    given["model"] = _name(model)
    given["messages"] = _messages(messages)
    given["stream"] = stream
    return _validated(ChatRequest, given)


def embed_request(model: str, inputs: Any, parameters: Mapping[str, Any]) -> EmbedRequest:
    """
    A checked embedding request; `inputs` is a string or a sequence of strings.

    Raises:
        InvalidRequestError: names the parameter at fault.
    """
    texts = (inputs,) if isinstance(inputs, str) else tuple(_items(inputs, "inputs"))
    if not texts:
        raise InvalidRequestError("inputs is empty; pass at least one text", param="inputs")
    for number, text in enumerate(texts):
        if not isinstance(text, str) or not text:
            raise InvalidRequestError(f"inputs[{number}] must be a text that is not empty", param="inputs")
    given = _given(parameters, _EMBED_PARAMETERS)
    return _validated(EmbedRequest, {**given, "model": _name(model), "inputs": texts})


def _given(parameters: Mapping[str, Any], known: Mapping[str, None]) -> dict[str, Any]:
    """The parameters that have a value, all of them known."""
    given = {}
    for name, value in parameters.items():
        if value is not None:
            if name not in known:
                raise _unknown(name, known)
            given[name] = value
    return given


def _validated(kind: type[R], given: dict[str, Any]) -> R:
    try:
        valid: R = _validator(kind)(given)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
        param = str(problem["loc"][0]) if problem["loc"] else "request"
        raise_alone(InvalidRequestError(f"{param}: {problem['msg']}", param=param))
    return valid


def _unknown(name: str, known: Iterable[str]) -> InvalidRequestError:
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f"did you mean {near[0]!r}? " if near else "this client has no stage of that name. "
    if name == "stream":
        return InvalidRequestError("unknown parameter 'stream'; use client.stream(...)", param=name)
    return InvalidRequestError(
        f"unknown parameter {name!r}; {hint}What only the provider knows goes into extra={{{name!r}: ...}}",
        param=name,
    )


def _name(model: Any) -> str:
    if not isinstance(model, str) or not model.strip():
        raise InvalidRequestError("model must be a name, such as 'openai/gpt-4o-mini'", param="model")
    return model


def _items(value: Any, param: str) -> Iterable[Any]:
    # The usual kind first: asking an abstract class costs more than all else here.
    if type(value) is list or type(value) is tuple:
        return value
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise InvalidRequestError(f"{param} must be a list, not {type(value).__name__}", param=param)
    return value


def _messages(messages: Any) -> tuple[Message, ...]:
    if isinstance(messages, str):
        checked: tuple[Message, ...] = (Message("user", messages),)
    elif isinstance(messages, Message):
        checked = (_message(messages, "messages[0]"),)
    else:
        found: list[Message] = []
        for each in _items(messages, "messages"):
            found.append(_plain_message(each) or _message(each, f"messages[{len(found)}]"))
        checked = tuple(found)
    if not checked:
        raise InvalidRequestError("messages is empty; pass at least one message", param="messages")
    if len(checked) == 1 and checked[0].content == "":
        raise InvalidRequestError("messages holds no text", param="messages")
    return checked


def _plain_message(value: Any) -> Message | None:
    """The usual kind, a dict of role and text, without the cost of naming places."""
    if type(value) is dict and len(value) == 2:
        role, content = value.get("role"), value.get("content")
        if role.__class__ is str and role in ROLES and content.__class__ is str:
            return Message(role, content)
    return None


def _message(value: Any, place: str) -> Message:
    if isinstance(value, Message):
        _role(value.role, place)
        if value.content is None or isinstance(value.content, str):
            return value
        return replace(value, content=_content(value.content, f"{place}.content"))
    if not isinstance(value, Mapping):
        raise _wrong(place, "a Message or a dict with 'role' and 'content'", value)
    role = _role(value.get("role"), place)
    calls = value.get("tool_calls") or ()
    if isinstance(calls, Mapping) or not isinstance(calls, Iterable):
        raise _wrong(f"{place}.tool_calls", "a list", calls)
    if "content" not in value and not calls:
        raise InvalidRequestError(f"{place} has no content", param="messages")
    return Message(
        role=role,
        content=_content(value.get("content"), f"{place}.content"),
        name=_optional_text(value.get("name"), f"{place}.name"),
        tool_calls=tuple(_tool_call(call, f"{place}.tool_calls[{i}]") for i, call in enumerate(calls)),
        tool_call_id=_optional_text(value.get("tool_call_id"), f"{place}.tool_call_id"),
        extra={key: item for key, item in value.items() if key not in _MESSAGE_KEYS} or EMPTY,
    )


def _role(role: Any, place: str) -> Role:
    if not isinstance(role, str) or role not in ROLES:
        known = ", ".join(sorted(ROLES))
        # Quoted as far as it can be a word: it may be anything, a text or a key in the wrong place too.
        given = repr(role) if isinstance(role, str) and len(role) <= 16 else f"a {type(role).__name__}"
        raise InvalidRequestError(f"{place}.role must be one of {known}, not {given}", param="messages")
    return role


def _content(value: Any, place: str) -> str | tuple[Part, ...] | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, Iterable):
        raise _wrong(place, "a text or a list of parts", value)
    return tuple(_part(part, f"{place}[{i}]") for i, part in enumerate(value))


def _part(value: Any, place: str) -> Part:
    if isinstance(value, str):
        return Text(value)
    if isinstance(value, (Text, Image, RawPart)):
        return value
    if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
        raise _wrong(place, "a text, Text, Image or a dict with 'type'", value)
    if value["type"] == "text" and set(value) == {"type", "text"} and isinstance(value["text"], str):
        return Text(value["text"])
    image = value.get("image_url")
    if value["type"] == "image_url" and isinstance(image, Mapping) and set(image) <= {"url", "detail"}:
        url = image.get("url")
        if not isinstance(url, str):
            raise _wrong(f"{place}.image_url.url", "a URL", url)
        return Image(url=url, detail=_optional_text(image.get("detail"), f"{place}.image_url.detail"))
    return RawPart(value)


def _tool_call(value: Any, place: str) -> ToolCall:
    if isinstance(value, ToolCall):
        return value
    function = value.get("function") if isinstance(value, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise _wrong(place, "a ToolCall or a dict with 'id' and 'function'", value)
    arguments = function.get("arguments", "")
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments)
    extra = {key: item for key, item in value.items() if key not in ("id", "type", "function", "index")}
    return ToolCall(str(value.get("id", "")), function["name"], arguments, extra or EMPTY)


def _tool(value: Any, place: str) -> Tool | RawPart:
    if isinstance(value, RawPart):
        return value
    if isinstance(value, Tool):
        return _checked_tool(value, place)
    if not isinstance(value, Mapping):
        raise _wrong(place, "a Tool or a dict in OpenAI's form", value)
    function = value.get("function") if value.get("type", "function") == "function" else None
    if function is None:
        return RawPart(value)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise _wrong(f"{place}.function", "a dict with 'name' and 'parameters'", function)
    tool = Tool(
        name=function["name"],
        description=function.get("description") or "",
        parameters=function.get("parameters") or EMPTY,
        strict=function.get("strict"),
    )
    return _checked_tool(tool, f"{place}.function")


def _checked_tool(tool: Tool, place: str) -> Tool:
    name: Any = tool.name
    if not isinstance(name, str) or not name:
        raise _wrong(f"{place}.name", "a text that is not empty", name)
    if not isinstance(tool.description, str):
        raise _wrong(f"{place}.description", "a text", tool.description)
    if not isinstance(tool.parameters, Mapping):
        raise _wrong(f"{place}.parameters", "a JSON Schema", tool.parameters)
    return tool


def _optional_text(value: Any, place: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _wrong(place, "a text", value)
    return value


def _wrong(place: str, expected: str, value: Any) -> InvalidRequestError:
    param = place.partition("[")[0]
    return InvalidRequestError(f"{place} must be {expected}, not {type(value).__name__}", param=param)


def schema_of(shape: Any) -> Schema:
    """The schema to send for a pydantic model, a dataclass, a JSON Schema dict or a `Schema`."""
    if isinstance(shape, Schema):
        return shape
    if isinstance(shape, Mapping):
        return Schema(str(shape.get("title") or "answer"), shape)
    if isinstance(shape, type) and (issubclass(shape, BaseModel) or is_dataclass(shape)):
        return _cached_schema(shape)
    raise _wrong("schema", "a pydantic model, a dataclass or a JSON Schema", shape)


def _schema_of_type(shape: type[Any]) -> Schema:
    try:
        return Schema(shape.__name__, _adapter(shape).json_schema())
    except PydanticUserError as error:
        problem = error.message
    raise InvalidRequestError(f"schema: {shape.__name__} has no JSON Schema: {problem}", param="schema")


_cached_schema: Callable[[Any], Schema] = functools.lru_cache(maxsize=256)(_schema_of_type)


def parse_output(shape: Any, text: str) -> Any:
    """
    The answer's text as the shape that was asked for; for a JSON Schema dict, as plain data.

    Raises:
        ValueError: the text is no JSON or does not fit; the message does not quote the text.
    """
    if isinstance(shape, type):
        try:
            return _adapter(shape).validate_json(text)
        except ValidationError as error:
            problems = error.errors(include_input=False, include_url=False, include_context=False)
            lines = [f"{'.'.join(map(str, each['loc'])) or 'answer'}: {each['msg']}" for each in problems]
            raise ValueError("; ".join(lines)) from None
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
