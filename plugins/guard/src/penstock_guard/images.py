"""
Fetch the images a request gives by URL, so that the provider gets bytes and nobody else gets a request.

The URL comes from outside, so it is fetched by the transport's public side (`Transport.public`): one
resolution, every answer checked, no proxy, no redirect, limits on time and size. What comes back is sent on
only if its bytes are those of an image.
"""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from penstock.errors import (
    AttemptTimeout,
    CallError,
    ConfigError,
    ConnectError,
    InvalidRequestError,
    ResponseTooLarge,
)
from penstock.events import GuardFetched
from penstock.exchange import deadline_exceeded
from penstock.frozen import dataclass
from penstock.http import HttpRequest, Limits
from penstock.messages import Image

if TYPE_CHECKING:
    from penstock.call import Call
    from penstock.http import Transport
    from penstock.messages import ChatRequest, Message
    from penstock_guard.config import ImagesConfig

_HEADERS = {"accept": "image/png, image/jpeg, image/gif, image/webp"}


@dataclass(frozen=True, slots=True)
class ImageRules:
    """Where images may come from and how large they may be; the fields are those of `ImagesConfig`."""

    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    max_bytes: int
    timeout: float

    @classmethod
    def of(cls, config: ImagesConfig) -> ImageRules:
        """The rules of a configuration."""
        return cls(config.hosts, config.ports, config.max_bytes, config.timeout)

    def check(self, url: str) -> str:
        """
        Check a URL as it is written; scheme, host and path, fit for messages.

        Raises:
            InvalidRequestError: it will not be fetched; neither query nor credentials are quoted.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or 443
        except ValueError:
            raise _refused("a URL that cannot be read") from None
        shown = f"{parts.scheme[:20]}://{host}{parts.path}"[:200]
        if parts.scheme != "https":
            raise _refused(f"{shown!r} is not fetched: the scheme must be https")
        if parts.username is not None or parts.password is not None:
            raise _refused(f"{shown!r} is not fetched: it carries credentials")
        if port not in self.ports:
            raise _refused(f"{shown!r} is not fetched: port {port} is not among those allowed")
        if self.hosts and not any(fnmatchcase(host, pattern.lower()) for pattern in self.hosts):
            raise _refused(f"{shown!r} is not fetched: its host is not among those allowed")
        return shown


def needs_fetching(request: Any) -> bool:
    """Whether a chat holds an image by a URL that leads anywhere."""
    return any(
        isinstance(part, Image) and part.url is not None and not part.url.startswith("data:")
        for message in request.messages
        if message.content is not None and not isinstance(message.content, str)
        for part in message.content
    )


async def with_images(call: Call, request: ChatRequest, rules: ImageRules) -> ChatRequest:
    """
    The request with the bytes of its images.

    Raises:
        InvalidRequestError: an image may not be or cannot be fetched.
        DeadlineExceeded: the call's time is spent.
    """
    transport = public_side(call.runtime.transport)
    fetched: dict[str, Image] = {}

    async def filled(message: Message) -> Message:
        if message.content is None or isinstance(message.content, str):
            return message
        parts = list(message.content)
        for position, part in enumerate(parts):
            if isinstance(part, Image) and part.url is not None and not part.url.startswith("data:"):
                image = fetched.get(part.url)
                if image is None:
                    image = fetched[part.url] = await fetch(call, transport, part.url, rules)
                parts[position] = replace(image, detail=part.detail)
        return replace(message, content=tuple(parts))

    return replace(request, messages=tuple([await filled(message) for message in request.messages]))


def public_side(transport: Any) -> Transport:
    """The side of a transport that reaches public addresses only; raises ConfigError without one."""
    public = getattr(transport, "public", None)
    if public is None:
        raise ConfigError(
            f"[guard.images] fetch: the transport {type(transport).__name__} cannot be kept to public "
            "addresses (it has no `public`); use the transport `wire`, or set fetch = false"
        )
    return cast("Transport", public())


async def fetch(call: Call, transport: Transport, url: str, rules: ImageRules) -> Image:
    """One image; raises as `with_images` does."""
    shown = rules.check(url)
    runtime = call.runtime
    now = runtime.now()
    due = min(now + rules.timeout, call.deadline)
    limits = Limits(
        connect=min(call.timeouts.connect, rules.timeout),
        pool=min(call.timeouts.pool, rules.timeout),
        due=due,
        max_bytes=rules.max_bytes,
    )
    try:
        data = await _read(transport, url, limits, shown)
    except CallError as error:
        if runtime.now() >= call.deadline:
            raise deadline_exceeded(call) from None
        if isinstance(error, InvalidRequestError) and error.param == "messages":
            raise
        # In words of ours: the transport's name the image's server like one of the operator's.
        raise _refused(f"{shown!r} could not be fetched: {_why(error)}") from None
    try:
        image = Image.from_bytes(data)
    except ValueError:
        raise _refused(f"{shown!r} is no PNG, JPEG, GIF or WebP image") from None
    if call.listeners:
        call.emit(GuardFetched(runtime.now(), call, shown, len(data), runtime.now() - now))
    return image


async def _read(transport: Transport, url: str, limits: Limits, shown: str) -> bytes:
    exchange = await transport.send(HttpRequest("GET", url, _HEADERS), limits)
    try:
        head = exchange.head
        if head.status != 200:
            moved = ", and redirects are not followed" if 300 <= head.status < 400 else ""
            raise _refused(f"{shown!r} could not be fetched: its server answered {head.status}{moved}")
        data = await exchange.read_all(limits.due)
        await exchange.close(reuse=True)
        return data
    finally:
        await exchange.close()


def _why(error: CallError) -> str:
    if isinstance(error, AttemptTimeout):
        return "its server took too long"
    if isinstance(error, ResponseTooLarge):
        return "it is larger than allowed"
    if isinstance(error, InvalidRequestError):
        return "its host may not be asked"
    if isinstance(error, ConnectError):
        return "its server was not reached"
    return "its server broke off"


def _refused(reason: str) -> InvalidRequestError:
    return InvalidRequestError(f"messages: the image {reason}", param="messages")
