"""
Where a request goes, read from its URL once and remembered.

Both transports use the same reading, so that an odd URL behaves alike in both colours: no control
characters, `http` or `https` only, an ASCII host, a quoted path. `shown` is the only form of a URL that
may enter a message: scheme, host and path, never the query and never the user information.
"""

from __future__ import annotations

import base64
import re
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from penstock.errors import InvalidRequestError
from penstock.frozen import dataclass

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f]")
_HOST = re.compile(r"[a-z0-9._~-]+")
_SIX = re.compile(r"[0-9a-f:.]+(?:%25[0-9a-z._~-]+)?")
"""An IPv6 address, with a zone as URLs write it."""
_SAFE = "/%:=&?~+!$,;'@()*[]|"
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """
    One URL, ready to be sent to.

    Args:
        scheme: `http` or `https`.
        host: lower case, ASCII, without the brackets of an IPv6 literal.
        port: TCP port.
        authority: host and, where it is not the scheme's own, port: the Host header.
        target: path and query as they are sent.
        shown: scheme, host and path, fit for messages.
        authorization: the user information as a Basic credential, or None.
    """

    scheme: str
    host: str
    port: int
    authority: str
    target: str
    shown: str
    authorization: str | None

    @property
    def url(self) -> str:
        """The whole URL without user information and fragment."""
        return f"{self.scheme}://{self.authority}{self.target}"

    def __repr__(self) -> str:
        return f"<Address {self.shown}>"


def read_url(url: str) -> Address:
    """
    The address a URL stands for.

    Raises:
        InvalidRequestError: it cannot be sent to; the URL itself is not quoted, it may carry a key.
    """
    if _FORBIDDEN.search(url):
        raise _refused("contains a space or a control character")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused("cannot be read: check its host and port") from None
    default = _DEFAULT_PORTS.get(parts.scheme)
    if default is None:
        raise _refused(f"needs the scheme http or https, not {parts.scheme[:20]!r}")
    host = _ascii_host(parts.hostname or "")
    authority = f"[{host}]" if ":" in host else host
    if port is not None and port != default:
        authority = f"{authority}:{port}"
    path = quote(parts.path or "/", safe=_SAFE)
    target = f"{path}?{quote(parts.query, safe=_SAFE)}" if parts.query else path
    return Address(
        scheme=parts.scheme,
        host=host,
        port=default if port is None else port,
        authority=authority,
        target=target,
        shown=f"{parts.scheme}://{authority}{path}",
        authorization=basic_credential(parts),
    )


def basic_credential(parts: Any) -> str | None:
    """The Basic credential in the user information of a split URL, or None."""
    if not parts.username and not parts.password:
        return None
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode("ascii")


def _ascii_host(host: str) -> str:
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise _refused("has a host name that no domain can have") from None
    if not (_SIX if ":" in host else _HOST).fullmatch(host):
        raise _refused("names no host" if not host else "has a host name with characters none may have")
    return host


def _refused(reason: str) -> InvalidRequestError:
    return InvalidRequestError(f"the URL {reason}", param="url")
