"""
The bytes of a request, for transports that write them themselves.

What never changes about the requests to one URL is rendered once: the rest of the request line, and the
header fields while they stay the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from penstock_wire.fields import HeaderMemory

if TYPE_CHECKING:
    from penstock.http import HttpRequest
    from penstock_wire.urls import Address

_JOIN = 1 << 16
"""Bytes up to which a body is copied behind its head, so that both leave in one packet."""


class Outgoing:
    """
    Makes the requests to one URL; it holds credentials.

    Args:
        address: where they go.
        forwarded_with: the fields for a proxy that forwards them (its credential), which is asked for the
            whole URL; None where none does.
    """

    __slots__ = ("_fields", "_line")

    def __init__(self, address: Address, forwarded_with: Mapping[str, str] | None = None) -> None:
        target = address.target if forwarded_with is None else address.url
        extra = dict(forwarded_with or {})

        def render(headers: dict[str, str]) -> bytes:
            fields = {"host": address.authority} | headers | extra
            return "".join([f"{name}: {value}\r\n" for name, value in fields.items()]).encode("latin-1")

        self._line = f" {target} HTTP/1.1\r\n".encode("latin-1")
        self._fields = HeaderMemory(address, render)

    def message(self, request: HttpRequest) -> tuple[bytes, bytes]:
        """
        The head with a small body behind it, and a large body by itself.

        Raises:
            InvalidRequestError: a header or method that must not be sent; its value is not quoted.
        """
        fields = self._fields.of(request)
        head = b"%b%b%b" % (request.method.encode("ascii"), self._line, fields)
        body = request.body
        if body is None:
            return head + (b"\r\n" if request.method == "GET" else b"content-length: 0\r\n\r\n"), b""
        if len(body) <= _JOIN:
            return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body), b""
        return b"%bcontent-length: %d\r\n\r\n" % (head, len(body)), body
