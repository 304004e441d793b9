"""Opens the async transport's connections: resolution, every address, the proxy's tunnel and TLS."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aiohappyeyeballs import start_connection

from penstock_turbo.dialling import TUNNEL_BYTES
from penstock_turbo.tunnel import TunnelAnswer
from penstock_wire.sockets import keep_alive

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_turbo.names import Names
    from penstock_turbo.routes import Route
    from penstock_wire.public import PublicOnly
    from penstock_wire.tls import Trust

P = TypeVar("P", bound=asyncio.BaseProtocol)

_EYEBALLS = 0.25
"""Seconds before the next address is tried beside one that has not answered (RFC 8305)."""
_HANDSHAKE = 1e6
"""Seconds asyncio itself gives a TLS handshake: none of ours has as many."""


async def connect(
    route: Route,
    names: Names,
    trust: Trust,
    permit: PublicOnly | None,
    protocol: Callable[[], P],
) -> P:
    """
    Connect; the caller bounds how long it takes and may cancel it.

    Args:
        route: where to.
        names: resolves hosts.
        trust: for TLS with the server and with the proxy.
        permit: what every address must pass before the first one is tried, or None.
        protocol: makes the protocol of the connection.

    Raises:
        TunnelRefused: the proxy would not.
        ProtocolError: the proxy spoke no HTTP.
        OSError: not resolved, not accepted, or TLS failed.
    """
    loop = asyncio.get_running_loop()
    hop = route.hop
    addresses = await names.resolve(hop.host, hop.port)
    if permit is not None:
        permit.check(str(address[0]) for *_, address in addresses)
    tls = _tls(hop, trust)  # it may raise, and nobody would close the socket then
    first: Callable[[], Any] = _Tunnel if route.tunnelled else protocol
    sock = await start_connection(addresses, happy_eyeballs_delay=_EYEBALLS, interleave=1, loop=loop)
    keep_alive(sock)
    # From here on the socket is asyncio's, also when this fails.
    transport, made = await loop.create_connection(first, sock=sock, **tls)
    if not route.tunnelled:
        return cast("P", made)
    try:
        transport.write(route.tunnel_request())
        await made.opened
        inner = protocol()
        upgraded = await loop.start_tls(
            transport,
            inner,
            trust.context(),
            server_hostname=route.address.host,
            ssl_handshake_timeout=_HANDSHAKE,
        )
        if upgraded is None:  # the connection was lost meanwhile
            raise ConnectionResetError
        inner.connection_made(upgraded)
    except BaseException:
        transport.abort()
        raise
    return inner


def _tls(hop: Any, trust: Trust) -> dict[str, Any]:
    if hop.scheme != "https":
        return {}
    return {"ssl": trust.context(), "server_hostname": hop.host, "ssl_handshake_timeout": _HANDSHAKE}


class _Tunnel(asyncio.Protocol):
    """Waits for what the proxy says to CONNECT."""

    def __init__(self) -> None:
        self._answer = TunnelAnswer(TUNNEL_BYTES)
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if self.opened.done():
            return
        try:
            self._answer.feed(data)
        except Exception as error:
            self.opened.set_exception(error)
        else:
            if self._answer.complete:
                self.opened.set_result(None)

    def eof_received(self) -> None:
        self.data_received(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionResetError())
        if not self.opened.cancelled():
            self.opened.exception()  # who waited may be gone
