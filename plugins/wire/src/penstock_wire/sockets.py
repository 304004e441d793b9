"""
Sockets for which no sequence of small reads outlasts a limit.

A socket's own timeout starts anew with every read, so a server that drips one byte a second holds a
blocking caller for ever. These sockets carry `due`, a reading of the clock: before every read and write
the remaining time becomes the timeout. OpenSSL's handshake and each of its reads then end by themselves,
because CPython bounds one such call as a whole.

What cannot be bounded is `getaddrinfo`: it blocks in the C library, in the calling thread. Its own limits
apply (`options timeout:` in resolv.conf).
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock_wire.public import PublicOnly

_LONGEST = 1e6
"""Seconds. Timeouts above are none: `settimeout` refuses huge ones."""

if TYPE_CHECKING:
    _Socket = socket.socket
else:
    _Socket = object


class _Timed(_Socket):
    """
    The reads and writes that keep a limit.

    Attributes:
        due: the clock's reading at which they fail with TimeoutError; None leaves the timeout alone.
        clock: the clock, in seconds.
    """

    due: float | None = None
    clock: Callable[[], float] = staticmethod(time.monotonic)

    def gettimeout(self) -> float | None:
        """What remains: `ssl` copies it to the socket that does the handshake."""
        return super().gettimeout() if self.due is None else _remaining(self.due - self.clock())

    def _arm(self) -> None:
        if self.due is not None:
            self.settimeout(_remaining(self.due - self.clock()))

    def recv(self, *args: Any) -> bytes:
        self._arm()
        return super().recv(*args)

    def recv_into(self, *args: Any) -> int:
        self._arm()
        return super().recv_into(*args)

    def send(self, *args: Any) -> int:
        self._arm()
        return super().send(*args)

    def sendall(self, *args: Any) -> None:
        self._arm()
        super().sendall(*args)


class TimedSocket(_Timed, socket.socket):
    """A plain socket that keeps a limit."""


class TimedTLSSocket(_Timed, ssl.SSLSocket):
    """A TLS socket that keeps a limit."""


def _remaining(seconds: float) -> float | None:
    if seconds <= 0:
        raise TimeoutError("the limit is reached")
    return seconds if seconds < _LONGEST else None


def open_socket(
    host: str, port: int, due: float, clock: Callable[[], float], permit: PublicOnly | None = None
) -> TimedSocket:
    """
    Connect to the first address of a host that answers.

    Every address gets an equal share of the time that is left, so one that swallows packets does not
    use up the time of the next.

    Args:
        host: a name or an address.
        port: TCP port.
        due: the clock's reading at which connecting fails.
        clock: the clock, in seconds.
        permit: what every address must pass before the first one is tried.

    Raises:
        TimeoutError: the clock read `due`.
        NotPublic: an address did not pass.
        OSError: not resolved, or no address accepted; the last address's error.
    """
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if permit is not None:
        permit.check(str(address[0]) for *_, address in addresses)
    failure: OSError | None = None
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        remaining = _remaining(due - clock())
        sock = TimedSocket(family, kind, protocol)
        try:
            sock.settimeout(None if remaining is None else remaining / (len(addresses) - index))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keep_alive(sock)
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            sock.clock = clock
            sock.due = due
            return sock
    raise failure or OSError("the host has no address")


def keep_alive(sock: socket.socket) -> None:
    """Probe an idle connection each minute: routers forget one while a model thinks for long."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 60)
