"""
What a request may be, checked in its own terms: a function of a request, without I/O.

The usual request, texts and a few numbers, is walked once. Sizes in bytes are only counted where the
characters alone could be too many, or where there is more than text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from penstock.errors import InvalidRequestError
from penstock.messages import ChatRequest, EmbedRequest, Image, Text

if TYPE_CHECKING:
    from penstock.messages import Message, Request
    from penstock_guard.config import GuardConfig

_UTF8 = 4
"""Bytes a character may have at most."""
_FIELD = 32
"""Bytes the JSON around a text, or a number, roughly has."""
_TOKEN_NAMES = ("max_tokens", "max_completion_tokens", "max_output_tokens")


class RequestLimits:
    """
    The limits of one place.

    Args:
        config: the values in force.
    """

    __slots__ = (
        "_bytes",
        "_chars",
        "_choices",
        "_coldest",
        "_hottest",
        "_images",
        "_messages",
        "_small",
        "_tokens",
        "_tools",
    )

    def __init__(self, config: GuardConfig) -> None:
        self._messages = config.max_messages
        self._chars = config.max_chars
        self._images = config.max_images
        self._tools = config.max_tools
        self._bytes = config.max_request_bytes
        self._coldest, self._hottest = config.min_temperature, config.max_temperature
        self._tokens = config.max_tokens
        self._choices = config.max_choices
        self._small = self._bytes // _UTF8 - _FIELD

    def check(self, request: Request) -> None:
        """
        Check a request.

        Raises:
            InvalidRequestError: names the parameter and the limit; no value is quoted but numbers.
        """
        if isinstance(request, ChatRequest):
            self._check_chat(request)
        elif isinstance(request, EmbedRequest):
            self._check_embed(request)

    def _check_chat(self, request: ChatRequest) -> None:
        messages = request.messages
        chars = len(messages) * _FIELD
        plain = True
        text = 0
        for message in messages:
            content = message.content
            if content.__class__ is str:
                text += len(content)
                if not message.tool_calls:
                    continue
            plain = False
        if len(messages) > self._messages:
            raise _too_many("messages", "messages", len(messages), self._messages)
        if not plain:
            text = sum(map(_characters, messages))
            images = sum(map(_images, messages))
            if images > self._images:
                raise _too_many("messages", "images", images, self._images)
        if text > self._chars:
            raise _too_many("messages", "characters", text, self._chars)
        temperature = request.temperature
        if temperature is not None and not self._coldest <= temperature <= self._hottest:
            _check_range("temperature", temperature, self._coldest, self._hottest)
        if request.max_tokens is not None:
            _check_range("max_tokens", request.max_tokens, 1, self._tokens)
        if request.n is not None:
            _check_range("n", request.n, 1, self._choices)
        if request.extra:
            self._check_extra(request.extra)
        if len(request.tools) > self._tools:
            raise _too_many("tools", "tools", len(request.tools), self._tools)
        if (
            plain
            and chars + text <= self._small
            and not request.tools
            and request.schema is None
            and not request.extra
            and request.response_format is None
        ):
            return
        size = weight(request)
        if size > self._bytes:
            raise _too_many("request", "bytes", size, self._bytes)

    def _check_embed(self, request: EmbedRequest) -> None:
        text = 0
        for number, each in enumerate(request.inputs):
            if len(each) > self._chars:
                raise _too_many(f"inputs[{number}]", "characters", len(each), self._chars, param="inputs")
            text += len(each)
        if text + len(request.inputs) * _FIELD > self._small:
            size = weight(request)
            if size > self._bytes:
                raise _too_many("request", "bytes", size, self._bytes)

    def _check_extra(self, extra: Mapping[str, Any]) -> None:
        """The same numbers under the names that only some providers know."""
        for name in _TOKEN_NAMES:
            _check_range(name, extra.get(name), 1, self._tokens)
        _check_range("temperature", extra.get("temperature"), self._coldest, self._hottest)
        _check_range("n", extra.get("n"), 1, self._choices)


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, int | float) and not isinstance(value, bool) and not low <= value <= high:
        raise InvalidRequestError(f"{name} must be from {low:g} to {high:g}, not {value:g}", param=name)


def _too_many(
    name: str, what: str, count: int, limit: int, *, param: str | None = None
) -> InvalidRequestError:
    where = f"{name}: " if name != what else ""
    return InvalidRequestError(
        f"{where}{count:,} {what} are more than the {limit:,} allowed", param=param or name
    )


def _characters(message: Message) -> int:
    content = message.content
    count = sum(len(call.arguments) for call in message.tool_calls)
    if isinstance(content, str):
        return count + len(content)
    for part in content or ():
        if isinstance(part, Text):
            count += len(part.text)
        elif not isinstance(part, Image):
            count += _texts(part.payload)
    return count


def _images(message: Message) -> int:
    if isinstance(message.content, str) or message.content is None:
        return 0
    return sum(isinstance(part, Image) for part in message.content)


def _texts(value: Any) -> int:
    """Characters of the texts inside plain data, but for data URLs, which are bytes."""
    if isinstance(value, str):
        return 0 if value.startswith("data:") else len(value)
    if isinstance(value, Mapping):
        return sum(map(_texts, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(_texts, value))
    return 0


def weight(value: Any) -> int:
    """Bytes a value has as JSON, roughly: texts in UTF-8, images in base64, a little for everything else."""
    if isinstance(value, str):
        return len(value) + _FIELD if value.isascii() else len(value.encode("utf-8", "replace")) + _FIELD
    if isinstance(value, Image):
        return len(value.data) * 4 // 3 + _FIELD if value.data is not None else len(value.url or "") + _FIELD
    if isinstance(value, Mapping):
        return sum(weight(key) + weight(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return sum(map(weight, value))
    names = getattr(type(value), "__dataclass_fields__", None)
    if names is not None:
        return sum(weight(getattr(value, name)) for name in names)
    return 0 if value is None else _FIELD
