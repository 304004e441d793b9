"""Addresses that a URL from outside may not lead to; the transports are tested by `PublicConformance`."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from penstock.errors import ConfigError
from penstock_wire.public import NotPublic, PublicOnly, is_public


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:2800:21f::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_public_addresses_pass(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_what_is_no_address_passes_nowhere() -> None:
    permit = PublicOnly()
    for addresses in ([], ["localhost"], ["8.8.8.8", "1.2.3"]):
        with pytest.raises(NotPublic):
            permit.check(addresses)
    with pytest.raises(NotPublic):
        permit.socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80)))


def test_a_network_that_is_none_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="allow_addresses"):
        PublicOnly(["10.0.0.1/8"])
