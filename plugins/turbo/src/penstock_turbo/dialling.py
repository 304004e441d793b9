"""Opens the blocking transport's connections: every address, the proxy's tunnel and TLS within one limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock_turbo.tunnel import TunnelAnswer
from penstock_wire.sockets import TimedSocket, open_socket

if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext

    from penstock_turbo.routes import Route
    from penstock_wire.public import PublicOnly
    from penstock_wire.tls import Trust

_READ = 4096
TUNNEL_BYTES = 1 << 16
"""Bytes the answer of a proxy to CONNECT may have."""


def dial(
    route: Route,
    trust: Trust,
    due: float,
    clock: Callable[[], float],
    permit: PublicOnly | None,
) -> tuple[Any, Any]:
    """
    Connect.

    Args:
        route: where to.
        trust: for TLS with the server and with the proxy.
        due: the clock's reading at which it fails.
        clock: the clock, in seconds.
        permit: what the addresses must pass, or None.

    Returns:
        The socket to speak through, and the one whose `due` bounds its reads and writes: the same but for
        TLS inside TLS.

    Raises:
        TimeoutError: the clock read `due`.
        TunnelRefused: the proxy would not.
        ProtocolError: the proxy spoke no HTTP.
        OSError: not resolved, not accepted, or TLS failed.
    """
    hop = route.hop
    sock: Any = open_socket(hop.host, hop.port, due, clock, permit)
    try:
        if hop.scheme == "https":
            sock = _secured(sock, trust.context(), hop.host, due, clock)
        if not route.tunnelled:
            return sock, sock
        sock.sendall(route.tunnel_request())
        answer = TunnelAnswer(TUNNEL_BYTES)
        while not answer.complete:
            answer.feed(sock.recv(_READ))
        if isinstance(sock, TimedSocket):
            sock = _secured(sock, trust.context(), route.address.host, due, clock)
            return sock, sock
        from urllib3.util.ssltransport import SSLTransport

        return SSLTransport(sock, trust.context(), server_hostname=route.address.host), sock
    except BaseException:
        sock.close()
        raise


def _secured(
    sock: TimedSocket, context: SSLContext, host: str, due: float, clock: Callable[[], float]
) -> Any:
    # The handshake is bounded as a whole by what remains of the plain socket's limit.
    secured: Any = context.wrap_socket(sock, server_hostname=host)
    secured.clock, secured.due = clock, due
    return secured
