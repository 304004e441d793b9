"""How requests reach their server: decided once for each URL and remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.frozen import dataclass
from penstock_wire.outgoing import Outgoing
from penstock_wire.urls import Address, read_url

if TYPE_CHECKING:
    from penstock_wire.proxies import Proxies

_URLS = 256
"""URLs remembered; a client uses a handful."""


@dataclass(frozen=True, slots=True, repr=False)
class Route:
    """
    What never changes about the requests to one URL; no repr, it holds credentials.

    Args:
        shown: scheme, host and path, fit for messages.
        origin: names what a connection leads to; requests with equal ones may share it.
        address: the server.
        proxy: the proxy on the way, or None.
        outgoing: makes the bytes of a request.
    """

    shown: str
    origin: str
    address: Address
    proxy: Address | None
    outgoing: Outgoing

    @property
    def hop(self) -> Address:
        """What a socket is connected to."""
        return self.proxy or self.address

    @property
    def tunnelled(self) -> bool:
        """Whether the proxy connects us through, instead of forwarding requests."""
        return self.proxy is not None and self.address.scheme == "https"

    def tunnel_request(self) -> bytes:
        """The bytes that ask the proxy for a connection to the server."""
        address, proxy = self.address, self.proxy
        host = f"[{address.host}]" if ":" in address.host else address.host
        target = f"{host}:{address.port}"
        credential = proxy and proxy.authorization
        field = f"proxy-authorization: {credential}\r\n" if credential else ""
        return f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n{field}\r\n".encode("latin-1")


class Routes:
    """
    The routes of one transport.

    Args:
        proxies: which proxy an address is reached by.
    """

    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies
        self._known: dict[str, Route] = {}

    def of(self, url: str) -> Route:
        """
        The route to a URL.

        Raises:
            InvalidRequestError: the URL cannot be sent to; it is not quoted.
        """
        return self._known.get(url) or self._find(url)

    def _find(self, url: str) -> Route:
        address = read_url(url)
        chosen = self._proxies.choose(address)
        proxy = None if chosen is None else read_url(chosen)
        origin = f"{address.scheme}://{address.host}:{address.port}"
        forwarded_with = None
        if proxy is not None:
            through = f"{proxy.scheme}://{proxy.host}:{proxy.port}"
            if address.scheme == "http":
                # A proxy takes requests to all servers on one connection.
                origin = through
                credential = proxy.authorization
                forwarded_with = {"proxy-authorization": credential} if credential else {}
            else:
                origin = f"{origin} through {through}"
        route = Route(address.shown, origin, address, proxy, Outgoing(address, forwarded_with))
        if len(self._known) >= _URLS:
            self._known.clear()
        self._known[url] = route
        return route
