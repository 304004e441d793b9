"""
Which addresses a request may go to when its URL comes from outside: public ones, and nothing that leads
elsewhere.

A URL someone else wrote may name this machine, the network around it or a cloud's metadata service. Looking
at the URL does not help: a name resolves to whatever its owner likes, another time to something else, and an
address can be written as `0x7f.1` or inside an IPv6 address. So the check is made on the addresses a
connection is about to go to, after the one resolution there is: every answer must be public, and the
connection goes to an address that was checked.

`ipaddress`' own `is_global` is not enough: it takes multicast and site-local addresses for global, and does
not look at the IPv4 address inside an IPv6 one.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from penstock.errors import ConfigError

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_TEREDO = ipaddress.IPv6Network("2001::/32")
_DENIED: tuple[Network, ...] = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # protocol assignments, a cloud's metadata among them
    ipaddress.IPv4Network("192.88.99.0/24"),  # relays of 6to4
    ipaddress.IPv4Network("168.63.129.16/32"),  # Azure's host: public in form, inside every machine there
    ipaddress.IPv6Network("3fff::/20"),  # documentation
)
_ISATAP = (0x00005EFE, 0x02005EFE)


class NotPublic(OSError):
    """A host has an address that no request from outside may reach; the message names neither."""

    def __init__(self) -> None:
        super().__init__("the host has an address that is not public")


def is_public(address: Address) -> bool:
    """Whether an address belongs to a host of the open internet, the one inside it included."""
    if any(address in network for network in _DENIED):
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast and not address.is_reserved
    number = int(address)
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and (address in _NAT64 or address in _COMPATIBLE):
        inner = ipaddress.IPv4Address(number & 0xFFFFFFFF)
    if inner is not None:
        return is_public(inner)
    if address not in _UNICAST or address in _TEREDO or not address.is_global:
        return False
    if (number >> 32) & 0xFFFFFFFF in _ISATAP:
        return is_public(ipaddress.IPv4Address(number & 0xFFFFFFFF))
    return True


class PublicOnly:
    """
    Lets connections go to public addresses alone.

    Args:
        allowed: networks that count as public, such as that of an image server of one's own.

    Raises:
        ConfigError: one of them is no network.
    """

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        try:
            self._allowed: list[Network] = [ipaddress.ip_network(network) for network in allowed]
        except ValueError:
            raise ConfigError(
                "allow_addresses: needs networks such as 10.1.0.0/16 or fd00::/8, host bits zero"
            ) from None

    def check(self, addresses: Iterable[str]) -> None:
        """
        Check every answer of a resolution.

        Raises:
            NotPublic: one of them is not public, or none is there.
        """
        found = False
        for text in addresses:
            found = True
            if not self._permits(text):
                raise NotPublic
        if not found:
            raise NotPublic

    def socket(self, info: Sequence[Any]) -> socket.socket:
        """A socket for one resolved address, checked once more: it is the last moment before connecting."""
        family, kind, protocol, _, where = info
        self.check([where[0]])
        return socket.socket(family, kind, protocol)

    def _permits(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        plain = getattr(address, "ipv4_mapped", None) or address
        return is_public(address) or any(plain in network for network in self._allowed)
