"""
The seam between codecs and transports: requests and responses as plain data.

A codec builds an `HttpRequest` and reads an `HttpResponse`; it never opens a socket. A transport moves
them; it never looks inside. Times are absolute readings of the runtime's clock (`due`), so that no
sequence of small reads can outlast a limit.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Protocol

from penstock.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(slots=True)
class HttpRequest:
    """
    One HTTP request, ready to send.

    Args:
        method: `GET` or `POST`.
        url: absolute URL.
        headers: names in any case; values are checked by the transport before the HTTP library
            sees them, and are never part of an error message or a repr.
        body: the encoded body in bytes, or None.
        stream: whether the body of the answer is read piece by piece.
    """

    method: str
    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    stream: bool = False


@dataclass(slots=True)
class HttpHead:
    """
    The head of a response.

    It stays with its attempt, and so with errors and events; a server may set cookies in it, or quote what it
    was sent. So its repr, and its pickles and copies, leave the headers out.

    Args:
        status: HTTP status code.
        headers: names in lower case.
        received: seconds since the epoch when the head arrived; the base for HTTP dates.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    received: float = 0.0

    def __reduce__(self) -> tuple[type[HttpHead], tuple[int, Mapping[str, str], float]]:
        return HttpHead, (self.status, {}, self.received)


@dataclass(slots=True)
class HttpResponse(HttpHead):
    """
    A whole response.

    Args:
        body: the decompressed body in bytes.
    """

    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    How long one attempt may take, and how much it may bring.

    Args:
        connect: seconds for name resolution, TCP and TLS together.
        pool: seconds to wait for a free connection.
        due: the clock's reading at which waiting for the head, or for a plain body, ends.
        max_bytes: decompressed bytes a response may have in all.
    """

    connect: float
    pool: float
    due: float
    max_bytes: int


class Exchange(Protocol):
    """
    A response whose head has arrived and whose body is still to be read.

    `close` must be called exactly once on every path; it never raises and may be called again.
    """

    head: HttpHead

    async def read(self, due: float) -> bytes:
        """
        The next decompressed bytes of the body, b"" at its end.

        Raises:
            AttemptTimeout: nothing arrived before the clock read `due` (phase "read").
            TransferError: the connection broke.
            ResponseTooLarge: the body is longer than allowed.
        """

    async def read_all(self, due: float) -> bytes:
        """The rest of the body; raises as `read` does."""

    async def close(self, *, reuse: bool = False) -> None:
        """
        Give the connection back; without `reuse` it closes at once and does not wait.

        Args:
            reuse: the protocol's end was seen, so what is left is at most the framing's end; the
                transport may drain it to keep the connection.
        """


class Transport(Protocol):
    """
    Moves one HTTP request at a time; safe to share between calls, knows its own colour.

    Optional, found by name: `public() -> Transport`, the same for URLs that come from outside. It has
    connections of its own and no proxy, and connects only to public addresses: every address a host resolves
    to is checked, and the connection goes to one that was. It is closed with the transport.
    """

    async def send(self, request: HttpRequest, limits: Limits) -> Exchange:
        """
        Send the request and wait for the head of the response.

        Redirects are never followed, netrc is never consulted, the environment's proxies at most when the
        transport is made, and nothing is sent twice (a stale pooled connection may be replaced before any
        byte was written).

        Raises:
            ConnectError: not connected (CertificateError when the certificate was refused).
            AttemptTimeout: phase "connect", "pool" or "read".
            TransferError: the connection broke after the request was written.
            InvalidRequestError: a header or URL that cannot be sent.
            UsageError: the transport is closed, or belongs to another event loop.
        """

    async def close(self) -> None:
        """Close every connection; never raises, may be called twice."""
