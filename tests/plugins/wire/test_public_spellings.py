"""Addresses of this machine and its surroundings in spellings that parsers disagree about."""

# ruff: noqa: RUF001 - letters that look like others are what this is about

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any

import pytest

from penstock.errors import InvalidRequestError, PenstockError, TransportError
from penstock.runtime import drive
from penstock_testkit.raw_server import RawServer, serve
from penstock_testkit.transport_scenarios import echo, fetch
from penstock_turbo import asynchronous as turbo_async
from penstock_turbo import blocking as turbo_blocking
from penstock_turbo.config import TurboConfig
from penstock_wire.asynchronous import AsyncTransport
from penstock_wire.blocking import BlockingTransport
from penstock_wire.config import WireConfig
from penstock_wire.public import is_public

TRANSPORTS: dict[str, tuple[Any, Any]] = {
    "blocking wire": (BlockingTransport, WireConfig),
    "async wire": (AsyncTransport, WireConfig),
    "blocking turbo": (turbo_blocking.BlockingTransport, TurboConfig),
    "async turbo": (turbo_async.AsyncTransport, TurboConfig),
}
URLS = [
    "http://localhost.:{port}/",
    "http://LOCALHOST:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://0x7F.1:{port}/",
    "http://0x7f000001.:{port}/",
    "http://127.0.1:{port}/",
    "http://00000177.0.0.1:{port}/",
    "http://４２.localhost:{port}/",
    "http://１２７.0.0.1:{port}/",  # full-width digits
    "http://127。0。0。1:{port}/",  # ideographic full stops
    "http://ⓛocalhost:{port}/",
    "http://%31%32%37.0.0.1:{port}/",
    "http://public.test@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@public.test/",
    "http://127.0.0.1:{port}\\@public.test/",
    "http://public.test\\@127.0.0.1:{port}/",
    "http://[::ffff:0:7f00:1]:{port}/",  # translated (SIIT)
    "http://[0:0:0:0:0:ffff:127.0.0.1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[::1%25lo]:{port}/",
    "http://[::1%lo]:{port}/",
    "http://[64:ff9b:1:7f00:0:100::]:{port}/",
]


@pytest.mark.parametrize("name", TRANSPORTS)
@pytest.mark.parametrize("url", URLS)
def test_no_spelling_leads_to_this_machine(url: str, name: str) -> None:
    kind, config = TRANSPORTS[name]

    async def scenario(url: str) -> PenstockError:
        transport = kind(config(), environ={})
        try:
            with pytest.raises(PenstockError) as caught:
                await fetch(transport.public(), url)
            return caught.value
        finally:
            await transport.close()

    with RawServer(serve(echo)) as server:
        port = server.url.rpartition(":")[2]
        coroutine = scenario(url.format(port=port))
        error = drive(coroutine) if name.startswith("blocking") else asyncio.run(coroutine)
    assert server.accepted == 0
    # Refused, or a name that nobody has.
    assert isinstance(error, InvalidRequestError | TransportError)


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:0:7f00:1",
        "::ffff:0:a00:1",
        "2002:a9fe:a9fe::1",
        "2001:0:0:0:0:0:0:1",
        "64:ff9b::a00:1",
        "64:ff9b:1::808:808",
        "100::1",
        "2001:db8::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "ff0e::1",
        "192.88.99.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "192.0.2.1",
    ],
)
def test_what_is_not_of_the_open_internet_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
