"""Which error of Penstock stands for what sockets, TLS and parsers raise, the same in both colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.errors import ConnectError
from penstock_turbo.tunnel import TunnelRefused
from penstock_wire.failures import broken, not_connected, reason, timed_out, tunnel_refused
from penstock_wire.incoming import ProtocolError
from penstock_wire.inflate import MalformedBody

if TYPE_CHECKING:
    from penstock.errors import PenstockError, TransportError
    from penstock_turbo.routes import Route


class LimitReached(Exception):
    """A time limit of ours was reached while an event loop waited."""


def on_the_way(route: Route, error: Exception) -> PenstockError:
    """What went wrong before there was a connection."""
    shown, proxied = route.shown, route.proxy is not None
    if isinstance(error, TimeoutError) and error.errno is None:
        return timed_out(shown, "connect")
    if isinstance(error, TunnelRefused):
        return tunnel_refused(shown, error.status)
    if isinstance(error, ProtocolError):
        return ConnectError(f"{shown}: not connected through the proxy: {error}")
    return not_connected(shown, error, proxied=proxied)


def in_exchange(shown: str, error: Exception) -> TransportError:
    """What went wrong after the connection was there."""
    if isinstance(error, (ProtocolError, MalformedBody)):
        return broken(shown, str(error))
    if isinstance(error, LimitReached) or (isinstance(error, TimeoutError) and error.errno is None):
        return timed_out(shown, "read")
    return broken(shown, f"the connection broke: {reason(error)}")
