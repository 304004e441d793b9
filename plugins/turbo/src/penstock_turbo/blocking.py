"""
The blocking transport: one pooled socket for each call, read through llhttp.

Its awaits never suspend, so the blocking client can drive it. URL, proxy and header bytes are prepared once;
a call leases a connection, writes one buffer and reads until the head is there.

Limits: `connect` covers TCP and TLS over all addresses and the proxy, `due` every read and write after it; a
dripping server outlasts neither (see `penstock_wire.sockets`). Name resolution alone runs in the C library
and cannot be interrupted.

Threads share a transport freely. A forked child starts with fresh pools and leaves the parent's
connections alone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from penstock.errors import UsageError
from penstock_turbo.body import Body
from penstock_turbo.dialling import dial
from penstock_turbo.failing import in_exchange, on_the_way
from penstock_turbo.pools import Connection, PoolLimit, Pools
from penstock_turbo.routes import Routes
from penstock_turbo.tunnel import TunnelRefused
from penstock_wire.failures import timed_out
from penstock_wire.forks import ProcessLock
from penstock_wire.incoming import ProtocolError
from penstock_wire.inflate import MalformedBody
from penstock_wire.outbound import Outbound

if TYPE_CHECKING:
    from penstock.http import HttpRequest, Limits
    from penstock_turbo.pools import Origin
    from penstock_turbo.routes import Route

_READ = 1 << 16
_GRACE = 0.05
"""Seconds `close` waits for the framing's end of a response that is complete otherwise."""
_GRACE_BYTES = 1 << 16


class BlockingTransport(Outbound):
    """A transport for `Client`; see `Outbound` for what it is made with."""

    def _prepare(self) -> None:
        config = self._config
        self._routes = Routes(self._proxies)
        self._pools = Pools(config.pool_connections, config.pool_maxsize)
        self._process = os.getpid()
        self._forked = ProcessLock()
        self._inherited: list[Pools] = []

    async def send(self, request: HttpRequest, limits: Limits) -> BlockingExchange:
        """Send the request and wait for the head of the response; see `penstock.http.Transport`."""
        if self._closed:
            raise UsageError("the transport is closed")
        if self._process != os.getpid():
            self._after_fork()
        route = self._routes.of(request.url)
        head, body = route.outgoing.message(request)
        clock = self._clock
        origin = self._pools.origin(route.origin)
        try:
            connection = origin.lease(min(limits.pool, limits.due - clock()), clock)
        except PoolLimit:
            raise timed_out(route.shown, "pool") from None
        try:
            if connection is None:
                connection = self._open(route, limits)
            connection.limited.due = limits.due
            try:
                self._exchange(connection, head, body)
            except (OSError, ProtocolError) as error:
                raise in_exchange(route.shown, error) from None
            return BlockingExchange(self, route.shown, origin, connection, limits.max_bytes)
        except BaseException:
            if connection is not None:
                connection.close()
            origin.give_back(None, clock())
            raise

    async def close(self) -> None:
        """Close the idle connections now and those in use when they are given back."""
        await super().close()
        if self._process == os.getpid():
            self._pools.close()

    def _open(self, route: Route, limits: Limits) -> Connection:
        due = min(self._clock() + limits.connect, limits.due)
        try:
            sock, limited = dial(route, self._trust, due, self._clock, self._permit)
        except (OSError, ValueError, ProtocolError, TunnelRefused) as error:
            raise on_the_way(route, error) from None
        return Connection(sock, limited, self._config.max_header_bytes)

    @staticmethod
    def _exchange(connection: Connection, head: bytes, body: bytes) -> None:
        """Write the request and read until the head of the response is there."""
        sock, responses = connection.sock, connection.responses
        responses.expect()
        written = True
        try:
            sock.sendall(head)
            if body:
                sock.sendall(body)
        except (BrokenPipeError, ConnectionResetError):
            # The server stopped listening; it may have said why (413) before it closed.
            written = False
        while not responses.begun:
            if responses.failure is not None:
                raise responses.failure
            _receive(connection)
        if not written:
            responses.spoil()

    def _after_fork(self) -> None:
        with self._forked:
            if self._process != os.getpid():  # no other thread was first
                # The parent's pools are kept, not closed: another of its threads may have held their locks.
                self._inherited.append(self._pools)
                self._pools = Pools(self._config.pool_connections, self._config.pool_maxsize)
                self._process = os.getpid()


def _receive(connection: Connection) -> None:
    data = connection.sock.recv(_READ)
    if data:
        connection.responses.feed(data)
    else:
        connection.responses.end()


class BlockingExchange(Body):
    """A response being read; see `penstock.http.Exchange`."""

    __slots__ = ("_connection", "_origin", "_transport")

    def __init__(
        self, transport: BlockingTransport, shown: str, origin: Origin, connection: Connection, max_bytes: int
    ) -> None:
        super().__init__(connection.responses, shown, max_bytes)
        self._transport = transport
        self._origin = origin
        self._connection: Connection | None = connection

    async def read(self, due: float) -> bytes:
        """The next decompressed bytes as soon as there are some, b"" at the end."""
        return self._next(due)

    async def read_all(self, due: float) -> bytes:
        """The rest of the body."""
        data = self._next(due)
        if not data or (self._inflater is None and self._responses.complete and not self._responses.size):
            return data
        pieces = [data]
        while data := self._next(due):
            pieces.append(data)
        return b"".join(pieces)

    def _next(self, due: float) -> bytes:
        connection, unpack = self._connection, self._inflater
        if connection is None:
            raise UsageError("the exchange is closed")
        connection.limited.due = due
        try:
            if unpack is None:
                return self._counted(self._raw(connection))
            while not (data := unpack.take()):
                raw = self._raw(connection)
                if not raw:
                    unpack.finish()
                    return b""
                unpack.feed(raw)
        except (OSError, ProtocolError, MalformedBody) as error:
            self._sound = False
            raise in_exchange(self._shown, error) from None
        return self._counted(data)

    def _raw(self, connection: Connection) -> bytes:
        responses = self._responses
        while not (data := responses.take()) and not responses.complete:
            _receive(connection)
        return data

    async def close(self, *, reuse: bool = False) -> None:
        """Give the connection back, open when its response was read to the end."""
        connection = self._connection
        if connection is None:
            return
        self._connection = None
        responses, transport = self._responses, self._transport
        kept = None
        try:
            if reuse and self._sound and not responses.complete:
                self._drain(connection)
            if self._sound and responses.reusable:
                kept = connection
        finally:
            now = transport._clock()
            if kept is None:
                connection.close()
            else:
                connection.stale_at = now + transport._config.keepalive
            self._origin.give_back(kept, now)

    def _drain(self, connection: Connection) -> None:
        connection.limited.due = self._transport._clock() + _GRACE
        left = _GRACE_BYTES
        try:
            while not self._responses.complete and left > 0:
                left -= len(self._responses.take())
                _receive(connection)
        except (OSError, ProtocolError):
            self._sound = False
