"""
What a caller sends: messages, their parts, tools, and the three kinds of request.

These are plain frozen data. `penstock.requests` checks what users pass in and builds them; codecs read
them and must send everything they hold, `extra` included.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from penstock.frozen import Shared, dataclass

if TYPE_CHECKING:
    from pathlib import Path

PYDANTIC = {"hide_input_in_errors": True, "allow_inf_nan": False}
"""How `penstock.requests` lets pydantic check these; a plain dict, so that pydantic is not imported here."""
Role = Literal["system", "developer", "user", "assistant", "tool"]
EMPTY: Mapping[str, Any] = MappingProxyType({})

_MEDIA_TYPES = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp",
}


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text inside a message of several parts."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """
    An image inside a message, by URL or by its bytes; use the constructors below.

    Args:
        url: an http(s) or data URL, when the image is not given as bytes.
        data: the encoded image in bytes.
        media_type: such as `image/png`; goes with `data`.
        detail: `low`, `high` or `auto`, for providers that know it.
    """

    url: str | None = None
    data: bytes | None = field(default=None, repr=False)
    media_type: str | None = None
    detail: str | None = None

    def __post_init__(self) -> None:
        if (self.url is None) == (self.data is None):
            raise ValueError("an Image needs either url or data, not both")

    @classmethod
    def from_url(cls, url: str, *, detail: str | None = None) -> Image:
        """An image the provider fetches itself."""
        return cls(url=url, detail=detail)

    @classmethod
    def from_bytes(cls, data: bytes, *, media_type: str | None = None, detail: str | None = None) -> Image:
        """
        An image sent with the request.

        Raises:
            ValueError: the media type is not given and the bytes are no PNG, JPEG, GIF or WebP.
        """
        if media_type is None:
            media_type = next((m for head, m in _MEDIA_TYPES.items() if data.startswith(head)), None)
        if media_type is None:
            raise ValueError("unknown image format; pass media_type='image/...'")
        return cls(data=data, media_type=media_type, detail=detail)

    @classmethod
    def from_path(cls, path: str | Path, *, detail: str | None = None) -> Image:
        """An image file, read now; raises OSError when it cannot be read."""
        with open(path, "rb") as file:  # noqa: PTH123  # pathlib costs 3 ms of import time
            return cls.from_bytes(file.read(), detail=detail)

    def to_base64(self) -> str:
        """The bytes as standard base64; raises ValueError for an image given by URL."""
        if self.data is None:
            raise ValueError("an image given by URL has no bytes here")
        return base64.b64encode(self.data).decode("ascii")

    def to_url(self) -> str:
        """The URL, or a data URL made of the bytes."""
        return self.url if self.url is not None else f"data:{self.media_type};base64,{self.to_base64()}"


@dataclass(frozen=True, slots=True)
class RawPart:
    """A content part or a tool of a kind Penstock does not know, passed through as it is."""

    payload: Mapping[str, Any]


Part: TypeAlias = Text | Image | RawPart


@dataclass(frozen=True, slots=True)
class ToolCall:
    """
    A call of a tool by the model.

    Args:
        id: the provider's id, echoed in the tool's result.
        name: the tool's name.
        arguments: JSON text, exactly as the model wrote it.
        extra: what else the provider wants back with the call, such as a thought signature.
    """

    id: str
    name: str
    arguments: str
    extra: Mapping[str, Any] = field(default_factory=Shared(EMPTY))

    def parsed(self) -> Any:
        """The arguments as Python data; raises json.JSONDecodeError when the model wrote no JSON."""
        import json

        return json.loads(self.arguments) if self.arguments.strip() else {}


@dataclass(frozen=True, slots=True)
class Tool:
    """
    A function the model may call.

    Args:
        name: letters, digits, `_` and `-`.
        description: what it does, for the model.
        parameters: JSON Schema of its arguments.
        strict: ask for arguments that match the schema exactly, where the provider can.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=Shared(EMPTY))
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """
    One message of a conversation.

    Args:
        role: who speaks.
        content: text, or parts, or None for an assistant message that only calls tools.
        name: the speaker's or the tool's name.
        tool_calls: the calls an assistant message makes.
        tool_call_id: which call a tool message answers.
        extra: further fields, passed through as they are.
    """

    role: Role
    content: str | tuple[Part, ...] | None
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=Shared(EMPTY))


@dataclass(frozen=True, slots=True)
class Schema:
    """
    The shape an answer must have.

    Args:
        name: a short name the provider may require.
        json_schema: JSON Schema.
        strict: ask the provider to guarantee it.
    """

    name: str
    json_schema: Mapping[str, Any]
    strict: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """
    A chat completion, independent of any provider. None means: not sent.

    `model` is what the caller wrote; a codec gets the provider's own name beside it.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = PYDANTIC

    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | Sequence[str] | None = None
    seed: int | None = None
    n: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Mapping[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: tuple[Tool | RawPart, ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: Mapping[str, Any] | None = None
    schema: Schema | None = None
    reasoning_effort: str | None = None
    user: str | None = None
    metadata: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=Shared(EMPTY))


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """Vectors for one or more texts; `stream` is there so that every request has it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = PYDANTIC

    model: str
    inputs: tuple[str, ...]
    dimensions: int | None = None
    user: str | None = None
    extra: Mapping[str, Any] = field(default_factory=Shared(EMPTY))
    stream: Literal[False] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsRequest:
    """The models a provider offers."""

    model: str = ""
    extra: Mapping[str, Any] = field(default_factory=Shared(EMPTY))
    stream: Literal[False] = False


Request: TypeAlias = ChatRequest | EmbedRequest | ModelsRequest
