"""
From our messages to Ollama's: text and images apart, tool arguments as objects, tool results by name.

What the native API cannot express is refused with the place in the request; nothing is left out.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from penstock.errors import InvalidRequestError
from penstock.messages import Image, Message, RawPart, Text, Tool, ToolCall
from penstock_wire.jsonbytes import loads


def encode_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """
    The conversation; a tool's result gets the name of the tool from the call it answers.

    Raises:
        InvalidRequestError: an image by URL, a part of another kind, or arguments that are no object.
    """
    names: dict[str, str] = {}
    encoded = []
    for number, message in enumerate(messages):
        content = message.content
        plain: dict[str, Any] = {"role": message.role, "content": content}
        if content.__class__ is not str:
            plain["content"] = ""
            if content:
                _add_parts(plain, content, number)
        if message.role == "developer":
            plain["role"] = "system"
        if message.tool_calls:
            names.update((call.id, call.name) for call in message.tool_calls)
            plain["tool_calls"] = [
                _call(call, place, number) for place, call in enumerate(message.tool_calls)
            ]
        if message.role == "tool":
            name = message.name or names.get(message.tool_call_id or "")
            if name:
                plain["tool_name"] = name
        elif message.name is not None:
            plain["name"] = message.name
        if message.tool_call_id is not None:
            plain["tool_call_id"] = message.tool_call_id
        if message.extra:
            plain.update(message.extra)
        encoded.append(plain)
    return encoded


def encode_tool(tool: Tool | RawPart) -> Mapping[str, Any]:
    """A tool as Ollama takes it, which is OpenAI's form."""
    if isinstance(tool, RawPart):
        return tool.payload
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _add_parts(plain: dict[str, Any], parts: Sequence[Any], number: int) -> None:
    texts: list[str] = []
    images: list[str] = []
    for place, part in enumerate(parts):
        part = _known(part)
        if isinstance(part, Text):
            texts.append(part.text)
        elif isinstance(part, Image):
            images.append(_image(part, f"messages[{number}].content[{place}]"))
        else:
            kind = part.payload.get("type")
            raise InvalidRequestError(
                f"messages[{number}].content[{place}]: Ollama takes text and images, not {kind!r}",
                param="messages",
            )
    plain["content"] = "\n".join(texts)
    if images:
        plain["images"] = images


def _known(part: Any) -> Any:
    """A text or an image that came with fields Ollama has no place for, such as `cache_control`."""
    if not isinstance(part, RawPart):
        return part
    payload = part.payload
    text, image = payload.get("text"), payload.get("image_url")
    if payload.get("type") == "text" and isinstance(text, str):
        return Text(text)
    if payload.get("type") == "image_url":
        url = image.get("url") if isinstance(image, Mapping) else image
        if isinstance(url, str) and url:
            return Image(url=url)
    return part


def _image(image: Image, place: str) -> str:
    """Bare base64."""
    if image.data is not None:
        return image.to_base64()
    head, comma, data = (image.url or "").partition(",")
    if not comma or head[:5].lower() != "data:":
        raise InvalidRequestError(
            f"{place}: Ollama fetches no images; pass it with Image.from_path or Image.from_bytes",
            param="messages",
        )
    if not head.lower().endswith(";base64"):
        return base64.b64encode(unquote_to_bytes(data)).decode("ascii")
    try:
        return base64.b64encode(base64.b64decode(unquote_to_bytes(data), validate=True)).decode("ascii")
    except (binascii.Error, ValueError):
        raise InvalidRequestError(f"{place}: the data URL holds no base64", param="messages") from None


def _call(call: ToolCall, place: int, number: int) -> dict[str, Any]:
    try:
        arguments = loads(call.arguments) if call.arguments.strip() else {}
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise InvalidRequestError(
            f"messages[{number}].tool_calls[{place}]: Ollama takes arguments as a JSON object only",
            param="messages",
        )
    encoded: dict[str, Any] = {"function": {"index": place, "name": call.name, "arguments": arguments}}
    if call.id:
        encoded["id"] = call.id
    if call.extra:
        encoded.update(call.extra)
    return encoded
