"""
The async transport: one aiohttp session, made in the loop it is first used in.

What aiohttp would do by itself is off: redirects, cookies, netrc and environment, its own decompression
(unbounded in one step), its own timeouts, and the second try it gives a GET whose pooled connection had
died: nothing is sent twice. A pooled connection that the server has closed is noticed by the loop before
it is handed out.

Limits: what waits, for a head or for the next bytes, is watched by one shared timer (see deadlines.py). An
overdue head cancels its task, told apart from a caller's cancellation; an overdue read fails through the
stream's own exception. Whatever ends an exchange early aborts its connection (see connector.py). A name
lookup that was given up ends in its worker thread when the C library lets go.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.payload import BytesIOPayload
from multidict import CIMultiDict
from yarl import URL

from penstock.errors import InvalidRequestError, UsageError
from penstock.frozen import dataclass
from penstock.http import HttpHead
from penstock.redaction import raise_alone
from penstock_wire.connector import Connector, LimitReached, Progress, progress
from penstock_wire.deadlines import Deadlines
from penstock_wire.failures import (
    HEAD_TOO_LARGE,
    broken,
    not_connected,
    reason,
    timed_out,
    too_large,
    tunnel_refused,
)
from penstock_wire.fields import HeaderMemory
from penstock_wire.inflate import MalformedBody, inflater
from penstock_wire.outbound import Outbound
from penstock_wire.urls import read_url

if TYPE_CHECKING:
    from penstock.errors import PenstockError, TransportError
    from penstock.http import HttpRequest, Limits

_URLS = 256
"""URLs remembered; a client uses a handful."""
_GRACE = 0.05
"""Seconds `close` waits for the framing's end of a response that is complete otherwise."""
_LARGE = 1 << 20
"""Bytes from which aiohttp wants a body to be written piece by piece."""


@dataclass(frozen=True, slots=True, repr=False)
class _Route:
    """What never changes about the requests to one URL; no repr, it holds credentials."""

    shown: str
    url: URL
    proxy: URL | None
    headers: HeaderMemory[CIMultiDict[str]]


class AsyncTransport(Outbound):
    """A transport for `AsyncClient`; belongs to the event loop it is first used in; see `Outbound`."""

    def _prepare(self) -> None:
        self._routes: dict[str, _Route] = {}
        self._session: aiohttp.ClientSession | None = None
        self._deadlines: Deadlines | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def send(self, request: HttpRequest, limits: Limits) -> AsyncExchange:
        """Send the request and wait for the head of the response; see `penstock.http.Transport`."""
        loop = asyncio.get_running_loop()
        session = self._session
        if session is None or loop is not self._loop:
            session = self._open(loop)
        route = self._routes.get(request.url) or self._route(request.url)
        headers = route.headers.of(request)
        data: Any = request.body
        if data is not None and len(data) >= _LARGE:
            data = BytesIOPayload(io.BytesIO(data))
        task: Any = asyncio.current_task()
        current = Progress(limits, loop.time() + (limits.due - self._clock()), task)
        token = progress.set(current)
        deadlines: Any = self._deadlines
        deadlines.add(current)
        try:
            response = await session.request(
                request.method,
                route.url,
                data=data,
                headers=headers,
                allow_redirects=False,
                proxy=route.proxy,
            )
        except BaseException as error:
            if current.was_ours(error):
                raise timed_out(route.shown, current.phase) from None
            if isinstance(error, Exception):
                proxied = route.proxy is not None
                raise_alone(self._failure(route.shown, error, current, proxied=proxied))
            raise
        finally:
            deadlines.remove(current)
            progress.reset(token)
        exchange = AsyncExchange(response, route.shown, limits.max_bytes, self._clock, loop, deadlines)
        if response.status == 101:
            await exchange.close()
            raise broken(route.shown, "the server switched protocols unasked")
        if sum(map(len, exchange.head.headers.values())) > self._config.max_header_bytes:
            await exchange.close()
            raise broken(route.shown, HEAD_TOO_LARGE)
        return exchange

    async def close(self) -> None:
        """Close every connection."""
        await super().close()
        session, self._session = self._session, None
        if self._deadlines is not None:
            self._deadlines.close()
        if session is not None and not session.closed:
            await session.close()

    def _open(self, loop: asyncio.AbstractEventLoop) -> aiohttp.ClientSession:
        if self._closed:
            raise UsageError("the transport is closed")
        if self._session is not None:
            raise UsageError("the transport belongs to another event loop; make a client for each loop")
        config = self._config
        connector = Connector(
            limit=config.limit,
            limit_per_host=config.limit_per_host,
            keepalive_timeout=config.keepalive,
            use_dns_cache=config.dns_ttl > 0,
            ttl_dns_cache=config.dns_ttl,
            ssl=self._trust.context(),
            permit=self._permit,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
            auto_decompress=False,
            max_line_size=config.max_header_bytes,
            max_field_size=config.max_header_bytes,
        )
        self._session._retry_connection = False
        self._loop = loop
        self._deadlines = Deadlines(loop)
        return self._session

    def _route(self, url: str) -> _Route:
        address = read_url(url)
        proxy = self._proxies.choose(address)
        route = _Route(
            shown=address.shown,
            url=URL(address.url, encoded=True),
            proxy=None if proxy is None else URL(proxy),
            headers=HeaderMemory(address, CIMultiDict),
        )
        if len(self._routes) >= _URLS:
            self._routes.clear()
        self._routes[url] = route
        return route

    def _failure(
        self, shown: str, error: Exception, current: Progress, *, proxied: bool
    ) -> PenstockError | Exception:
        """What went wrong on the way to the head."""
        if self._closed:
            return UsageError("the transport was closed during the request")
        if isinstance(error, LimitReached):
            return timed_out(shown, current.phase)
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return not_connected(shown, error.certificate_error, proxied=proxied)
        if isinstance(error, aiohttp.ClientConnectorError):
            return not_connected(shown, error.os_error, proxied=proxied)
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return tunnel_refused(shown, error.status)
        if isinstance(error, aiohttp.InvalidURL):
            return InvalidRequestError("the URL cannot be sent to", param="url")
        if not isinstance(error, (aiohttp.ClientError, OSError)):
            return error
        if current.phase == "connect":
            return not_connected(shown, error, proxied=proxied)
        return _broken(shown, error)


def _broken(shown: str, error: Exception) -> TransportError:
    """What went wrong after the connection was there, in words of ours."""
    if isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError)):
        return broken(shown, "the server closed the connection too early")
    if isinstance(error, aiohttp.ClientResponseError):
        return broken(shown, "the response is no valid HTTP")
    return broken(shown, f"the connection broke: {reason(error)}")


class AsyncExchange:
    """A response being read; see `penstock.http.Exchange`."""

    __slots__ = (
        "_clock",
        "_content",
        "_deadlines",
        "_inflater",
        "_left",
        "_loop",
        "_max_bytes",
        "_overdue",
        "_response",
        "_seen",
        "_shown",
        "_sound",
        "due",
        "head",
    )

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        shown: str,
        max_bytes: int,
        clock: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines,
    ) -> None:
        received = response.headers
        headers = {name.lower(): value.strip() for name, value in received.items()}
        if len(headers) != len(received):
            headers = {name: ", ".join(map(str.strip, received.getall(name))) for name in headers}
        self.head = HttpHead(response.status, headers, time.time())
        self._response: aiohttp.ClientResponse | None = response
        self._content = response.content
        self._shown = shown
        self._left = self._max_bytes = max_bytes
        self._clock = clock
        self._loop = loop
        self._inflater = inflater(headers["content-encoding"]) if "content-encoding" in headers else None
        self._sound = True
        self._deadlines = deadlines
        self._overdue = False
        self._seen = 0
        self.due = 0.0

    async def read(self, due: float) -> bytes:
        """The next decompressed bytes as soon as there are some, b"" at the end."""
        if self._inflater is None:
            data = await self._raw(due)
        else:
            data = await self._inflated(due)
        self._left -= len(data)
        if self._left < 0:
            self._sound = False
            raise too_large(self._shown, self._max_bytes)
        return data

    async def read_all(self, due: float) -> bytes:
        """The rest of the body."""
        data = await self.read(due)
        if not data or (self._inflater is None and self._content.at_eof()):
            return data
        pieces = [data]
        while data := await self.read(due):
            pieces.append(data)
        return b"".join(pieces)

    async def _inflated(self, due: float) -> bytes:
        unpack: Any = self._inflater
        try:
            while not (data := unpack.take()):
                raw = await self._raw(due)
                if not raw:
                    unpack.finish()
                    return b""
                unpack.feed(raw)
        except MalformedBody as error:
            self._sound = False
            raise broken(self._shown, str(error)) from None
        return bytes(data)

    async def _raw(self, due: float) -> bytes:
        if self._response is None:
            raise UsageError("the exchange is closed")
        content = self._content
        if content.exception() is not None:
            # What arrived before the connection broke is delivered first.
            data = b"" if self._overdue else content._read_nowait(-1)
            if data:
                return data
            raise self._failure(content.exception())
        data = content.read_nowait()
        if data or content.at_eof():
            return data
        self.due = self._loop.time() + (due - self._clock())
        self._seen = content.total_bytes
        self._deadlines.add(self)
        try:
            return await content.readany()
        except (aiohttp.ClientError, OSError, RuntimeError, LimitReached) as error:
            raise self._failure(error) from None
        finally:
            self._deadlines.remove(self)

    def expire(self) -> None:
        """A read is overdue: fail it, unless bytes came and it only has not run yet."""
        if self._content.total_bytes == self._seen:
            self._overdue = True
            self._content.set_exception(LimitReached())

    def _failure(self, error: BaseException | None) -> TransportError:
        self._sound = False
        if isinstance(error, LimitReached):
            return timed_out(self._shown, "read")
        return _broken(self._shown, error if isinstance(error, Exception) else ConnectionError())

    async def close(self, *, reuse: bool = False) -> None:
        """Give the connection back, open when its response was read to the end."""
        response = self._response
        if response is None:
            return
        self._response = None
        content = self._content
        try:
            if reuse and self._sound and not content.is_eof():
                await self._drain()
        finally:
            if self._sound and content.is_eof():
                response.release()
            else:
                response.close()

    async def _drain(self) -> None:
        content = self._content
        left = 1 << 16
        try:
            async with asyncio.timeout(_GRACE):
                while not content.is_eof() and left > 0:
                    left -= len(await content.readany())
        except (aiohttp.ClientError, OSError, RuntimeError):
            self._sound = False

    def __repr__(self) -> str:
        return f"<AsyncExchange {self.head.status} of {self._shown}>"
