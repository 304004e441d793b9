"""
requests' connection pools, with limits that hold.

`GatedAdapter` is requests' own HTTPAdapter: it keeps a urllib3 pool per origin and speaks to proxies. Its
pools lease single connections instead of running whole requests, so a call pays for neither cookies nor
redirects nor urllib3's timeouts, and urllib3's DEBUG log, which carries path and query of every request,
has nothing to say: it is written by `urlopen`, which is never called. (What remains is host and port of new
connections.)
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ClosedPoolError, EmptyPoolError, HTTPError

from penstock_wire.failures import PoolClosed, not_connected, timed_out
from penstock_wire.sockets import TimedSocket, open_socket

if TYPE_CHECKING:
    from penstock_wire.config import WireConfig
    from penstock_wire.public import PublicOnly
    from penstock_wire.urls import Address

    _Pool = HTTPConnectionPool
    _Connection = HTTPConnection
else:
    _Pool = _Connection = object


class _Limited(_Connection):
    """
    A connection whose opening keeps a limit: every address, the proxy's tunnel and TLS together.

    Attributes:
        due: the clock's reading at which opening fails with TimeoutError.
        clock: the clock, in seconds.
        stale_at: when, being idle, it is too old to be used again.
        permit: what the addresses it goes to must pass, or None.
    """

    due = float("inf")
    clock: Callable[[], float] = staticmethod(time.monotonic)
    stale_at = float("inf")
    permit: PublicOnly | None = None

    def _new_conn(self) -> TimedSocket:
        port = self.port or self.default_port
        return open_socket(self._dns_host, port, self.due, self.clock, self.permit)


class PlainConnection(_Limited, HTTPConnection):
    """A connection without TLS."""


class SecureConnection(_Limited, HTTPSConnection):
    """A connection with TLS, directly or through a tunnel."""

    def _connect_tls_proxy(self, hostname: str, sock: Any) -> ssl.SSLSocket:
        wrapped: Any = super()._connect_tls_proxy(hostname, sock)
        wrapped.clock, wrapped.due = self.clock, self.due
        return cast("ssl.SSLSocket", wrapped)


class LeasingPool(_Pool):
    """A pool of one origin; a connection is leased, used, and given back once, open or closed."""

    def lease(self, seconds: float, now: float, shown: str) -> Any:
        """
        A connection, open and fresh or closed.

        Args:
            seconds: to wait for one that is free.
            now: the clock's reading.
            shown: where it leads, for messages.

        Raises:
            AttemptTimeout: none became free in time (phase "pool").
            PoolClosed: the pool was closed meanwhile.
        """
        try:
            connection: Any = self._get_conn(timeout=max(0.0, seconds))
        except EmptyPoolError:
            raise timed_out(shown, "pool") from None
        except ClosedPoolError:
            raise PoolClosed from None
        if connection.sock is not None and now >= connection.stale_at:
            connection.close()
        return connection

    def open(
        self,
        connection: Any,
        due: float,
        clock: Callable[[], float],
        shown: str,
        *,
        tunnel: bool,
        proxied: bool,
        permit: PublicOnly | None = None,
    ) -> None:
        """
        Connect it.

        Args:
            connection: leased.
            due: the clock's reading at which it must be open.
            clock: the clock, in seconds.
            shown: where it leads, for messages.
            tunnel: through a CONNECT tunnel of the proxy.
            proxied: through a proxy, by a tunnel or not.
            permit: what the addresses must pass, or None.

        Raises:
            AttemptTimeout: not in time (phase "connect").
            ConnectError, InvalidRequestError: not connected.
        """
        connection.due, connection.clock, connection.permit = due, clock, permit
        try:
            if tunnel:
                self._prepare_proxy(connection)
            else:
                connection.connect()
        except TimeoutError as error:
            if error.errno is None:
                raise timed_out(shown, "connect") from None
            raise not_connected(shown, error, proxied=proxied) from None
        except (OSError, ValueError, HTTPError) as error:
            raise not_connected(shown, error, proxied=proxied) from None

    def give_back(self, connection: Any) -> None:
        """Return what `lease` gave; a closed connection returns its place."""
        self._put_conn(connection)


class PlainPool(LeasingPool, HTTPConnectionPool):
    """Connections to an `http` origin, or to a proxy that forwards to several."""

    ConnectionCls = PlainConnection


class SecurePool(LeasingPool, HTTPSConnectionPool):
    """Connections to an `https` origin."""

    ConnectionCls = SecureConnection


def limited_socket(connection: Any) -> Any:
    """The socket whose `due` bounds the reads of a connection; below TLS inside TLS, the inner one."""
    sock = connection.sock
    return sock if hasattr(sock, "due") else sock.socket


class GatedAdapter(HTTPAdapter):
    """requests' adapter with our pools and one shared TLS context."""

    def __init__(self, config: WireConfig, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(
            pool_connections=config.pool_connections,
            pool_maxsize=config.pool_maxsize,
            max_retries=0,
            pool_block=True,
        )

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        super().init_poolmanager(connections, maxsize, block=block, ssl_context=self._context, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(
            proxy, ssl_context=self._context, proxy_ssl_context=self._context, **kwargs
        )
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def pool_for(self, address: Address, proxy: str | None) -> LeasingPool:
        """The pool of an origin, or of the proxy on the way to it."""
        manager = self.poolmanager if proxy is None else self.proxy_manager_for(proxy)
        return cast(
            "LeasingPool", manager.connection_from_host(address.host, address.port, scheme=address.scheme)
        )


_POOLS: dict[str, type[HTTPConnectionPool]] = {"http": PlainPool, "https": SecurePool}
