"""
The key of a request: a hash over the canonical JSON of all of it.

Rules
1. Everything goes in but what a deny-list names: `stream`, and in `extra` also `stream_options`. Timeout,
   headers and request id are settings of a call, no fields of its request. The fields come from the
   dataclasses themselves, so one that is added later goes in too. (Lists of the fields that count caused
   wrong hits in every library that kept one.)
2. Absent, null and default differ inside mappings; the order of keys does not count; 1, 1.0, True and "1"
   differ.
3. In front stands who is asked, and as whom: see `identity`.
4. What JSON cannot hold has no key: such a request is not cached.
5. A plain request, text and scalars alone, is written by `marshal` instead, which takes a sixth of the time.
   Its format of version 2 has neither references nor flags, so equal values give equal bytes; nothing
   is ever read back.

Canonical JSON means the C encoder of `json`, whose text determines the value. (orjson would be faster, but
writes NaN as null.)
"""

from __future__ import annotations

import json
import marshal
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from hashlib import blake2b
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from penstock.errors import InvalidRequestError
from penstock.messages import ChatRequest, EmbedRequest, Image, Message, Schema, Text, Tool, ToolCall
from penstock.responses import ChatResponse, Choice, Chunk, EmbedResponse, ToolCallDelta, Usage

if TYPE_CHECKING:
    from penstock.messages import Request
    from penstock.provider import Codec, Provider

SCHEMA = 2
"""The version of keys and entries; raised when either changes its meaning."""

DENIED = frozenset({"stream"})
DENIED_EXTRA = frozenset({"stream", "stream_options"})
_BYTES = 16
_PROBE = "penstock"


class Unhashable(ValueError):
    """The request holds what JSON cannot, so it has no key."""


class Keyer:
    """
    Makes the keys of one place of the pipeline.

    Args:
        namespace: who is asked and as whom; requests of different namespaces never share a key.
    """

    __slots__ = ("_base",)

    def __init__(self, *namespace: str) -> None:
        self._base = blake2b(_encode([*layout(), *namespace]).encode(), digest_size=_BYTES)

    def key(self, request: Request, namespace: str = "") -> str:
        """
        The key of a request in 32 hex digits.

        Args:
            request: any request.
            namespace: of this very call, such as a tenant.

        Raises:
            Unhashable: it holds what JSON cannot.
        """
        digest = self._base.copy()
        try:
            digest.update(_plain_bytes(namespace, request) or _encode((namespace, request)).encode())
        except (TypeError, ValueError, RecursionError):
            raise Unhashable("the request holds what JSON cannot") from None
        return digest.hexdigest()


@cache
def layout() -> tuple[str, ...]:
    """
    The version, and the fields of all that is hashed or stored.

    Values are written without their names, so another set of fields must give other keys.
    """
    kinds = (
        *(ChatRequest, EmbedRequest, Message, Text, Image, Tool, ToolCall, Schema),
        *(ChatResponse, Choice, Usage, EmbedResponse, Chunk, ToolCallDelta),
    )
    return (str(SCHEMA), *(f"{kind.__name__}:{','.join(f.name for f in fields(kind))}" for kind in kinds))


def identity(provider: Provider) -> str:
    """
    Whom a provider asks, and as whom: a hash of its address and of the credential it sends.

    A codec is a pure function, so one request that is encoded and never sent shows both: its URL and
    headers. A provider that sends by itself is told apart by `base_url` only.
    """
    parts: list[Any] = [provider.base_url]
    codec: Codec | None = getattr(provider, "codec", None)
    probes: tuple[Request, ...] = (
        ChatRequest(model=_PROBE, messages=(Message("user", _PROBE),)),
        EmbedRequest(model=_PROBE, inputs=(_PROBE,)),
    )
    for probe in probes:
        if codec is None:
            break
        try:
            request = codec.encode(probe, _PROBE)
        except InvalidRequestError:  # it knows no such requests
            continue
        headers = {name.lower(): value for name, value in request.headers.items()}
        headers.pop("user-agent", None)  # says which version we are, not who
        parts += [request.url, headers]
    return blake2b(_encode(parts).encode(), digest_size=_BYTES).hexdigest()


_SETTINGS = attrgetter(
    *(f.name for f in fields(ChatRequest) if f.name not in DENIED | {"messages", "tools", "extra"})
)
_MESSAGE = attrgetter(*(f.name for f in fields(Message) if f.name != "extra"))
_SCALARS = frozenset((str, int, float, bool, type(None)))


def _plain_bytes(namespace: str, request: Request) -> bytes | None:
    """A chat request of text and scalars alone, as bytes that no JSON is equal to; None for all others."""
    if type(request) is not ChatRequest or request.tools:
        return None
    if request.extra and not DENIED_EXTRA.issuperset(request.extra):
        return None
    settings = _SETTINGS(request)
    if not _SCALARS.issuperset(map(type, settings)):  # mappings have an order, sequences two kinds
        return None
    messages = [_MESSAGE(message) for message in request.messages if not message.extra]
    if len(messages) != len(request.messages):
        return None
    try:
        return marshal.dumps((namespace, settings, messages), 2)
    except ValueError:  # parts or tool calls
        return None


def _plain(value: Any) -> Any:
    """What `json` does not know: our dataclasses, read-only mappings, bytes."""
    kind = type(value)
    handle = _HANDLERS.get(kind)
    if handle is None:
        handle = _HANDLERS[kind] = _handler(kind)
    return handle(value)


def _handler(kind: type) -> Callable[[Any], Any]:
    if is_dataclass(kind):
        return _dataclass_handler(kind)
    if issubclass(kind, Mapping):
        return dict
    raise TypeError(f"{kind.__name__} is not JSON")


def _dataclass_handler(kind: type) -> Callable[[Any], Any]:
    denied = DENIED if kind in (ChatRequest, EmbedRequest) else frozenset()
    denied_extra = DENIED_EXTRA if denied else frozenset()
    name = kind.__name__
    names = [field.name for field in fields(kind) if field.name not in denied]
    if "extra" not in names:
        values = attrgetter(*names)
        return lambda value: (name, values(value))
    # An empty `extra` is left out: one mapping less to encode in every message.
    values = attrgetter(*(each for each in names if each != "extra"))

    def with_extra(value: Any) -> Any:
        extra = value.extra
        if extra and not denied_extra.isdisjoint(extra):
            extra = {key: extra[key] for key in extra if key not in denied_extra}
        return (name, values(value), dict(extra)) if extra else (name, values(value))

    return with_extra


def _bytes(value: bytes) -> Any:
    return ("bytes", blake2b(value, digest_size=_BYTES).hexdigest())


_HANDLERS: dict[type, Callable[[Any], Any]] = {bytes: _bytes, MappingProxyType: dict}
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_plain, check_circular=False).encode
