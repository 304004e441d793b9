"""
Which proxy a request takes: decided from the configuration or the environment, read once.

Order: the configured proxy, else HTTPS_PROXY / HTTP_PROXY by the scheme of the URL, else ALL_PROXY. An
empty configured proxy means none at all. NO_PROXY (or the configuration's own list) excepts host names
with their subdomains, addresses and networks, each optionally with a port; `*` excepts everything.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from penstock.errors import ConfigError

if TYPE_CHECKING:
    from penstock_wire.config import WireConfig
    from penstock_wire.urls import Address


class Proxies:
    """
    The proxies of one client.

    Args:
        proxy: URL of the proxy for everything, "" for none, None to ask the environment.
        no_proxy: comma-separated exceptions, None to ask the environment.
        environ: the environment.

    Raises:
        ConfigError: a proxy that cannot be used; the message names where it came from, not its URL.
    """

    def __init__(self, proxy: str | None, no_proxy: str | None, environ: Mapping[str, str]) -> None:
        if proxy is not None:
            chosen = _checked(proxy, "proxy") if proxy else None
            self._by_scheme = {"http": chosen, "https": chosen}
        else:
            self._by_scheme = {scheme: _from_environment(scheme, environ) for scheme in ("http", "https")}
        if no_proxy is None:
            no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
        self._exceptions = [entry.strip().lower() for entry in no_proxy.split(",") if entry.strip()]

    @classmethod
    def of(cls, config: WireConfig, environ: Mapping[str, str]) -> Self:
        """Those of a configuration; none where addresses are checked, which a proxy would reach for us."""
        if config.block_private:
            return cls("", "", {})
        proxy = None if config.proxy is None else config.proxy.get_secret_value()
        return cls(proxy, config.no_proxy, environ)

    def choose(self, address: Address) -> str | None:
        """The URL of the proxy for an address, user information included, or None."""
        proxy = self._by_scheme[address.scheme]
        if proxy is None or any(_excepts(entry, address) for entry in self._exceptions):
            return None
        return proxy


def _from_environment(scheme: str, environ: Mapping[str, str]) -> str | None:
    names = [f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"]
    if "REQUEST_METHOD" in environ:
        # In a CGI process HTTP_PROXY is the client's `Proxy:` header (CVE-2016-5385).
        names.remove("HTTP_PROXY") if scheme == "http" else None
    for name in names:
        if environ.get(name):
            return _checked(environ[name], name)
    return None


def _checked(proxy: str, source: str) -> str:
    url = proxy.strip()
    if "://" not in url:
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"{source}: needs the URL of an HTTP proxy, such as http://host:3128")
    return url


def _excepts(entry: str, address: Address) -> bool:
    if entry == "*":
        return True
    host, port = entry, ""
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        port = rest.lstrip(":")
    elif entry.count(":") == 1:
        host, _, port = entry.partition(":")
    if port and port != str(address.port):
        return False
    host = host.removeprefix("*").lstrip(".")
    if address.host == host or address.host.endswith(f".{host}"):
        return True
    try:
        return ipaddress.ip_address(address.host) in ipaddress.ip_network(host, strict=False)
    except ValueError:
        return False
