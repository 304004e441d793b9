"""
The async transport: asyncio connections, read through llhttp, made in the loop it is first used in.

URL, proxy and header bytes are prepared once; a call takes a place, writes one buffer and waits until the
head is there. The loop notices when the server closes an idle connection, before it is used again.

Limits: what waits, for a place, for a head or for the next bytes, is watched by one shared timer (see
`penstock_wire.deadlines`); connecting has a timer of its own. Whatever ends an exchange early aborts its
connection. A name lookup that was given up ends in its worker thread when the C library lets go.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from penstock.errors import UsageError
from penstock_turbo.body import Body
from penstock_turbo.connecting import connect
from penstock_turbo.connection import Connection
from penstock_turbo.failing import LimitReached, in_exchange, on_the_way
from penstock_turbo.names import Names
from penstock_turbo.places import Places
from penstock_turbo.routes import Routes
from penstock_turbo.tunnel import TunnelRefused
from penstock_wire.deadlines import Deadlines
from penstock_wire.failures import timed_out
from penstock_wire.incoming import ProtocolError
from penstock_wire.inflate import MalformedBody
from penstock_wire.outbound import Outbound

if TYPE_CHECKING:
    from penstock.http import HttpRequest, Limits
    from penstock_turbo.places import Origin
    from penstock_turbo.routes import Route
    from penstock_wire.config import WireConfig

_BUFFER = 1 << 18
"""Bytes received at once; the size asyncio itself reads."""
_GRACE = 0.05
"""Seconds `close` waits for the framing's end of a response that is complete otherwise."""
_GRACE_BYTES = 1 << 16


class _Open:
    """What belongs to the event loop a transport is used in."""

    __slots__ = ("buffer", "connections", "deadlines", "loop", "names", "places")

    def __init__(self, loop: asyncio.AbstractEventLoop, config: WireConfig) -> None:
        self.loop = loop
        self.deadlines = Deadlines(loop)
        self.places = Places(loop, self.deadlines, config.limit, config.limit_per_host, config.keepalive)
        self.names = Names(loop, config.dns_ttl)
        self.buffer = memoryview(bytearray(_BUFFER))
        self.connections: set[Connection] = set()


class AsyncTransport(Outbound):
    """A transport for `AsyncClient`; belongs to the event loop it is first used in; see `Outbound`."""

    def _prepare(self) -> None:
        self._routes = Routes(self._proxies)
        self._opened: _Open | None = None

    async def send(self, request: HttpRequest, limits: Limits) -> AsyncExchange:
        """Send the request and wait for the head of the response; see `penstock.http.Transport`."""
        loop = asyncio.get_running_loop()
        opened = self._opened
        if opened is None or opened.loop is not loop or self._closed:
            opened = self._open(loop)
        route = self._routes.of(request.url)
        head, body = route.outgoing.message(request)
        due = loop.time() + (limits.due - self._clock())
        places = opened.places
        origin = places.take(route.origin)
        if origin is None:
            origin = await self._wait(opened, route, min(loop.time() + limits.pool, due))
        connection = places.idle(origin)
        try:
            if connection is None:
                connection = await self._connect(
                    opened, route, origin, min(loop.time() + limits.connect, due)
                )
            responses = connection.responses
            try:
                connection.write(head, body)
                while not responses.begun:
                    if responses.failure is not None:
                        raise responses.failure
                    await connection.wait(due)
            except (LimitReached, OSError, ProtocolError) as error:
                raise self._failure(route.shown, error) from None
            return AsyncExchange(self, opened, origin, connection, route.shown, limits.max_bytes)
        except BaseException:
            if connection is not None:
                connection.abort()
            places.give_back(origin, None)
            raise

    async def close(self) -> None:
        """Close every connection."""
        await super().close()
        opened, self._opened = self._opened, None
        if opened is not None and not opened.loop.is_closed():
            opened.places.close()
            opened.deadlines.close()
            for connection in list(opened.connections):
                connection.abort()
            # The loop closes the sockets in its next round.
            await asyncio.sleep(0)

    def _open(self, loop: asyncio.AbstractEventLoop) -> _Open:
        if self._closed:
            raise UsageError("the transport is closed")
        if self._opened is not None:
            raise UsageError("the transport belongs to another event loop; make a client for each loop")
        self._opened = _Open(loop, self._config)
        return self._opened

    async def _wait(self, opened: _Open, route: Route, due: float) -> Origin:
        try:
            return await opened.places.wait(route.origin, due)
        except LimitReached:
            if self._closed:
                raise UsageError("the transport was closed during the request") from None
            raise timed_out(route.shown, "pool") from None

    async def _connect(self, opened: _Open, route: Route, origin: Origin, due: float) -> Connection:
        def lost(connection: Connection) -> None:
            opened.connections.discard(connection)
            opened.places.lost(origin, connection)

        def protocol() -> Connection:
            size = self._config.max_header_bytes
            return Connection(opened.loop, opened.deadlines, opened.buffer, size, lost)

        try:
            async with asyncio.timeout_at(due if due != float("inf") else None):
                connection = await connect(route, opened.names, self._trust, self._permit, protocol)
        except (OSError, ValueError, RuntimeError, ProtocolError, TunnelRefused) as error:
            # uvloop says some failures to connect with RuntimeError.
            raise on_the_way(route, error) from None
        if self._closed:
            connection.abort()
            raise UsageError("the transport was closed during the request")
        opened.connections.add(connection)
        return connection

    def _failure(self, shown: str, error: Exception) -> Exception:
        if self._closed:
            return UsageError("the transport was closed during the request")
        return in_exchange(shown, error)


class AsyncExchange(Body):
    """A response being read; see `penstock.http.Exchange`."""

    __slots__ = ("_connection", "_opened", "_origin", "_transport")

    def __init__(
        self,
        transport: AsyncTransport,
        opened: _Open,
        origin: Origin,
        connection: Connection,
        shown: str,
        max_bytes: int,
    ) -> None:
        super().__init__(connection.responses, shown, max_bytes)
        self._transport = transport
        self._opened = opened
        self._origin = origin
        self._connection: Connection | None = connection

    async def read(self, due: float) -> bytes:
        """The next decompressed bytes as soon as there are some, b"" at the end."""
        connection, unpack = self._connection, self._inflater
        if connection is None:
            raise UsageError("the exchange is closed")
        try:
            if unpack is None:
                return self._counted(await self._raw(connection, due))
            while not (data := unpack.take()):
                raw = await self._raw(connection, due)
                if not raw:
                    unpack.finish()
                    return b""
                unpack.feed(raw)
        except (LimitReached, OSError, ProtocolError, MalformedBody) as error:
            self._sound = False
            raise self._transport._failure(self._shown, error) from None
        return self._counted(data)

    async def read_all(self, due: float) -> bytes:
        """The rest of the body."""
        data = await self.read(due)
        if not data or (self._inflater is None and self._responses.complete and not self._responses.size):
            return data
        pieces = [data]
        while data := await self.read(due):
            pieces.append(data)
        return b"".join(pieces)

    async def _raw(self, connection: Connection, due: float) -> bytes:
        responses = self._responses
        while not (data := responses.take()) and not responses.complete:
            await connection.wait(self._opened.loop.time() + (due - self._transport._clock()))
        return data

    async def close(self, *, reuse: bool = False) -> None:
        """Give the connection back, open when its response was read to the end."""
        connection = self._connection
        if connection is None:
            return
        self._connection = None
        if self._opened.loop.is_closed():
            return
        try:
            if reuse and self._sound and not self._responses.complete:
                await self._drain(connection)
        finally:
            kept = self._sound and connection.usable and not self._transport._closed
            if kept:
                connection.resume()
            else:
                connection.abort()
            self._opened.places.give_back(self._origin, connection if kept else None)

    async def _drain(self, connection: Connection) -> None:
        due = self._opened.loop.time() + _GRACE
        left = _GRACE_BYTES
        try:
            while left > 0:
                left -= len(self._responses.take())
                if self._responses.complete:
                    return
                await connection.wait(due)
        except (LimitReached, OSError, ProtocolError):
            self._sound = False
