"""
The blocking transport: requests' adapter and pools, used one connection at a time.

Its awaits never suspend, so the blocking client can drive it. What requests decides for every call
(URL, proxy, pool) is decided here once per URL; per call one head is built, one connection leased, one
buffer written. Environment, netrc, cookies, redirects and retries have no part in it.

Limits: `connect` covers TCP and TLS over all addresses and the proxy, `due` every read and write after it;
a dripping server outlasts neither (see sockets.py). Name resolution alone runs in the C library and cannot
be interrupted.

Threads share a transport freely. A forked child starts with fresh pools and leaves the parent's
connections alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from penstock.errors import UsageError
from penstock.frozen import dataclass
from penstock.http import HttpHead
from penstock_wire.failures import PoolClosed, broken, reason, timed_out, too_large
from penstock_wire.forks import ProcessLock
from penstock_wire.incoming import Incoming, ProtocolError
from penstock_wire.inflate import MalformedBody, inflater
from penstock_wire.outbound import Outbound
from penstock_wire.outgoing import Outgoing
from penstock_wire.tls import Trust
from penstock_wire.urls import Address, read_url

if TYPE_CHECKING:
    from penstock.errors import TransportError
    from penstock.http import HttpRequest, Limits
    from penstock_wire.config import WireConfig
    from penstock_wire.pools import GatedAdapter, LeasingPool

_URLS = 256
"""URLs remembered; a client uses a handful."""
_GRACE = 0.05
"""Seconds `close` waits for the framing's end of a response that is complete otherwise."""
_GRACE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, repr=False)
class _Route:
    """What never changes about the requests to one URL; no repr, it holds credentials."""

    address: Address
    pool: LeasingPool
    tunnel: bool
    proxied: bool
    outgoing: Outgoing


class _Pools:
    """The connections of one process."""

    __slots__ = ("adapter", "pid", "routes", "socket_of")

    def __init__(self, config: WireConfig, trust: Trust) -> None:
        # Not before the first request: requests takes 60 ms to import, the certificates 20 to read.
        from penstock_wire.pools import GatedAdapter, limited_socket

        self.pid = os.getpid()
        self.adapter: GatedAdapter = GatedAdapter(config, trust.context())
        self.routes: dict[str, _Route] = {}
        self.socket_of = limited_socket


class BlockingTransport(Outbound):
    """A transport for `Client`; see `Outbound` for what it is made with."""

    def _prepare(self) -> None:
        self._pools: _Pools | None = None
        self._inherited: list[_Pools] = []
        self._opening = ProcessLock()

    async def send(self, request: HttpRequest, limits: Limits) -> BlockingExchange:
        """Send the request and wait for the head of the response; see `penstock.http.Transport`."""
        if self._closed:
            raise UsageError("the transport is closed")
        pools = self._pools
        if pools is None or pools.pid != os.getpid():
            pools = self._open_pools()
        route = pools.routes.get(request.url) or self._route(pools, request.url)
        head, body = route.outgoing.message(request)
        try:
            connection = self._lease(route, limits)
        except PoolClosed:
            # The adapter keeps `pool_connections` origins; this one had made room for another.
            pools.routes.pop(request.url, None)
            route = self._route(pools, request.url)
            connection = self._lease(route, limits)
        try:
            if connection.sock is None:
                self._open(route, connection, limits)
            sock = pools.socket_of(connection)
            return self._exchange(route, connection, sock, head, body, limits)
        except BaseException:
            connection.close()
            route.pool.give_back(connection)
            raise

    async def close(self) -> None:
        """Close the idle connections now and those in use when they are given back."""
        await super().close()
        pools = self._pools
        if pools is not None and pools.pid == os.getpid():
            pools.adapter.close()

    def _route(self, pools: _Pools, url: str) -> _Route:
        address = read_url(url)
        proxy = self._proxies.choose(address)
        forwarded = proxy is not None and address.scheme == "http"
        extra = pools.adapter.proxy_headers(proxy) if proxy is not None and forwarded else None
        route = _Route(
            address=address,
            pool=pools.adapter.pool_for(address, proxy),
            tunnel=proxy is not None and not forwarded,
            proxied=proxy is not None,
            outgoing=Outgoing(address, extra),
        )
        if len(pools.routes) >= _URLS:
            pools.routes.clear()
        pools.routes[url] = route
        return route

    def _lease(self, route: _Route, limits: Limits) -> Any:
        now = self._clock()
        return route.pool.lease(min(limits.pool, limits.due - now), now, route.address.shown)

    def _open(self, route: _Route, connection: Any, limits: Limits) -> None:
        route.pool.open(
            connection,
            min(self._clock() + limits.connect, limits.due),
            self._clock,
            route.address.shown,
            tunnel=route.tunnel,
            proxied=route.proxied,
            permit=self._permit,
        )

    def _exchange(
        self, route: _Route, connection: Any, sock: Any, head: bytes, body: bytes, limits: Limits
    ) -> BlockingExchange:
        sock.due = limits.due
        written = True
        try:
            try:
                connection.sock.sendall(head)
                if body:
                    connection.sock.sendall(body)
            except (BrokenPipeError, ConnectionResetError):
                # The server stopped listening; it may have said why (413) before it closed.
                written = False
            incoming = Incoming(connection.sock, self._config.max_header_bytes)
        except (OSError, ProtocolError) as error:
            raise _failure(route.address.shown, error) from None
        incoming.persistent &= written
        return BlockingExchange(
            incoming, connection, sock, route, limits.max_bytes, self._clock, self._config.keepalive
        )

    def _open_pools(self) -> _Pools:
        """The pools of this process: before its first request, and again in a forked child."""
        with self._opening:
            pools = self._pools
            if pools is None or pools.pid != os.getpid():
                if pools is not None:
                    # The parent's are kept, not closed: another of its threads may have held their locks.
                    self._inherited.append(pools)
                pools = self._pools = _Pools(self._config, self._trust)
            return pools


def _failure(shown: str, error: BaseException) -> TransportError:
    """What went wrong after the connection was there."""
    if isinstance(error, (ProtocolError, MalformedBody)):
        return broken(shown, str(error))
    if isinstance(error, TimeoutError) and error.errno is None:
        return timed_out(shown, "read")
    return broken(shown, f"the connection broke: {reason(error)}")


class BlockingExchange:
    """A response being read; see `penstock.http.Exchange`."""

    __slots__ = (
        "_clock",
        "_connection",
        "_incoming",
        "_inflater",
        "_keepalive",
        "_left",
        "_max_bytes",
        "_route",
        "_sock",
        "_sound",
        "head",
    )

    def __init__(
        self,
        incoming: Incoming,
        connection: Any,
        sock: Any,
        route: _Route,
        max_bytes: int,
        clock: Callable[[], float],
        keepalive: float,
    ) -> None:
        headers = incoming.headers
        self.head = HttpHead(incoming.status, headers, time.time())
        self._incoming = incoming
        self._connection = connection
        self._sock = sock
        self._route = route
        self._left = self._max_bytes = max_bytes
        self._clock = clock
        self._keepalive = keepalive
        self._inflater = inflater(headers["content-encoding"]) if "content-encoding" in headers else None
        self._sound = True

    async def read(self, due: float) -> bytes:
        """The next decompressed bytes as soon as there are some, b"" at the end."""
        return self._next(due)

    async def read_all(self, due: float) -> bytes:
        """The rest of the body."""
        data = self._next(due)
        if not data or (self._incoming.complete and self._inflater is None):
            return data
        pieces = [data]
        while data := self._next(due):
            pieces.append(data)
        return b"".join(pieces)

    def _next(self, due: float) -> bytes:
        if self._connection is None:
            raise UsageError("the exchange is closed")
        self._sock.due = due
        incoming, inflater = self._incoming, self._inflater
        try:
            if inflater is None:
                data = incoming.read()
            else:
                while not (data := inflater.take()):
                    raw = incoming.read()
                    if raw:
                        inflater.feed(raw)
                    elif incoming.complete:
                        inflater.finish()
                        return b""
        except (OSError, ProtocolError, MalformedBody) as error:
            self._sound = False
            raise _failure(self._route.address.shown, error) from None
        self._left -= len(data)
        if self._left < 0:
            self._sound = False
            raise too_large(self._route.address.shown, self._max_bytes)
        return data

    async def close(self, *, reuse: bool = False) -> None:
        """Give the connection back, open when its response was read to the end."""
        connection = self._connection
        if connection is None:
            return
        self._connection = None
        pool = self._route.pool
        try:
            if reuse and self._sound and not self._incoming.complete:
                self._drain()
            if not (self._sound and self._incoming.reusable):
                connection.close()
            else:
                connection.stale_at = self._clock() + self._keepalive
        except BaseException:
            connection.close()
            raise
        finally:
            pool.give_back(connection)

    def _drain(self) -> None:
        self._sock.due = self._clock() + _GRACE
        left = _GRACE_BYTES
        try:
            while not self._incoming.complete and left > 0:
                left -= len(self._incoming.read())
        except (OSError, ProtocolError):
            self._sound = False

    def __repr__(self) -> str:
        return f"<BlockingExchange {self.head.status} of {self._route.address.shown}>"
