"""
The header fields of a request, checked before any HTTP library sees them.

HTTP libraries quote a bad value in their own exception: an API key read from a file with its newline
would end up in a log. So names and values are checked here, the error names the field and never its
value, and nothing reaches the wire that could split a request in two.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from penstock.errors import InvalidRequestError

if TYPE_CHECKING:
    from penstock.http import HttpRequest
    from penstock_wire.urls import Address

T = TypeVar("T")

_legal_name = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
# Visible Latin-1, spaces only inside. Tabs are legal in HTTP, but a value with one is always a mistake.
_legal_value = re.compile(r"(?:[!-~\xa1-\xff](?:[ -~\xa0-\xff]*[!-~\xa1-\xff])?)?").fullmatch
_legal_method = re.compile(r"[A-Z]+").fullmatch

FRAMING = frozenset(
    {"connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Fields the transport alone may decide: a wrong one would break the framing of the connection."""


def prepared_headers(request: HttpRequest, address: Address) -> dict[str, str]:
    """
    The fields to send, names in lower case, without `host` and the framing fields.

    A streamed request asks for no compression: a server that compresses holds events back to fill its
    blocks.

    Raises:
        InvalidRequestError: a name or value that must not be sent; names the field, never its value.
    """
    headers = {
        "accept": "*/*",
        "accept-encoding": "identity" if request.stream else "gzip, deflate",
        "user-agent": "penstock",
    }
    try:
        for name, value in request.headers.items():
            if _legal_name(name) is None or _legal_value(value) is None:
                raise _refused(name, value)
            headers[name.lower()] = value
    except TypeError:
        raise InvalidRequestError("header names and values must be text", param="headers") from None
    if not FRAMING.isdisjoint(headers):
        name = min(FRAMING.intersection(headers))
        raise InvalidRequestError(f"header {name!r} is set by the transport; leave it out", param=name)
    if address.authorization is not None and "authorization" not in headers:
        headers["authorization"] = address.authorization
    if _legal_method(request.method) is None:
        raise InvalidRequestError("the method must be a word in upper case", param="method")
    return headers


def _refused(name: str, value: str) -> InvalidRequestError:
    if _legal_name(name) is None:
        return InvalidRequestError(f"header name {name[:40]!r} has characters no name may have")
    if value != value.strip():
        reason = "starts or ends with white space (a newline read with the key?)"
    elif any(ord(letter) > 0xFF for letter in value):
        reason = "has characters outside Latin-1"
    else:
        reason = "has control characters"
    return InvalidRequestError(f"the value of header {name!r} {reason}; it was not sent", param=name)


class HeaderMemory(Generic[T]):
    """
    The prepared headers of one URL in a transport's own form, remembered while they stay the same.

    Args:
        address: where they go.
        render: makes the transport's form; the result is shared and must not be changed.
    """

    __slots__ = ("_address", "_last", "_render")

    def __init__(self, address: Address, render: Callable[[dict[str, str]], T]) -> None:
        self._address = address
        self._render = render
        self._last: dict[tuple[str, bool], tuple[dict[str, str], T]] = {}

    def of(self, request: HttpRequest) -> T:
        """The form for a request; raises as `prepared_headers` does."""
        last = self._last.get((request.method, request.stream))
        if last is not None and last[0] == request.headers:
            return last[1]
        rendered = self._render(prepared_headers(request, self._address))
        self._last[request.method, request.stream] = (dict(request.headers), rendered)
        return rendered
