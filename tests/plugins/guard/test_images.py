"""Images by URL: fetched over real sockets by both transports, or refused with nothing sent."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock import AsyncClient, Client, Image
from penstock.errors import ConfigError, DeadlineExceeded, InvalidRequestError
from penstock.events import GuardFetched
from penstock_testkit import Simulator
from penstock_testkit.raw_server import Connection, RawServer, Received, serve
from penstock_testkit.transport_scenarios import self_signed

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
PAGES: dict[str, Callable[[Connection], None]] = {
    "/cat.png": lambda connection: connection.answer(PNG),
    "/page": lambda connection: connection.answer(b"<html>", headers="content-type: image/png\r\n"),
    "/gone": lambda connection: connection.answer(b"", status="404 Not Found"),
    "/moved": lambda connection: connection.answer(
        b"", status="302 Found", headers="location: https://127.0.0.1/cat.png\r\n"
    ),
    "/huge": lambda connection: connection.answer(PNG + bytes(5000)),
    "/slow": lambda connection: connection.hang(),
}


class Host:
    """A server of images with a certificate, and a provider that the client may always reach."""

    def __init__(self, folder: Path) -> None:
        self.certificate, context = self_signed(folder)
        self._context: ssl.SSLContext = context
        self.images = RawServer(serve(self.answer), tls=context)
        self.simulator = Simulator()

    @staticmethod
    def answer(connection: Connection, received: Received) -> None:
        PAGES[received.line.split(" ")[1].partition("?")[0]](connection)

    @property
    def port(self) -> int:
        return int(self.images.url.rpartition(":")[2])

    def url(self, path: str = "/cat.png", host: str = "127.0.0.1") -> str:
        return f"https://{host}:{self.port}{path}"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    there = Host(tmp_path)
    with there.images:
        yield there


class Asking:
    """Calls of one colour and transport with an image in them."""

    def __init__(self, colour: str, transport: str, host: Host) -> None:
        self._colour = colour
        self._transport = transport
        self._host = host
        self.events: list[Any] = []

    def __call__(self, *urls: str, reach: bool = True, images: Any = None, **parameters: Any) -> None:
        with self._host.simulator.serve() as server:
            options: dict[str, Any] = {
                "config": False,
                "environ": {},
                "pipeline": ["guard"],
                "providers": {"openai": {"api_key": "sk-test-0123456789", "base_url": server.url}},
                "transport": self._transport,
                self._transport: {
                    "ca_bundle": str(self._host.certificate),
                    "allow_addresses": ["127.0.0.1/32"] if reach else [],
                },
                "guard": {"images": {"fetch": True, "ports": [self._host.port], **(images or {})}},
                "listeners": [self.events.append],
            }
            parts = ["What is this?", *(Image.from_url(url, detail="low") for url in urls)]
            messages = [{"role": "user", "content": parts}]
            if self._colour == "blocking":
                with Client(**options) as client:
                    client.chat("openai/gpt-4o", messages, **parameters)
                return

            async def ask() -> None:
                async with AsyncClient(**options) as client:
                    await client.chat("openai/gpt-4o", messages, **parameters)

            asyncio.run(ask())

    def refused(self, *urls: str, **options: Any) -> str:
        with pytest.raises(InvalidRequestError) as caught:
            self(*urls, **options)
        assert caught.value.param == "messages"
        assert self._host.simulator.count() == 0
        return str(caught.value)


@pytest.fixture(params=["blocking wire", "async wire", "blocking turbo", "async turbo"])
def ask(request: pytest.FixtureRequest, host: Host) -> Asking:
    return Asking(*request.param.split(), host)


def test_the_bytes_are_sent_instead_of_the_url(ask: Asking, host: Host) -> None:
    ask(host.url("/cat.png?token=secret"))
    body = json.loads(host.simulator.requests[0].body)
    part = body["messages"][0]["content"][1]
    assert part["image_url"]["url"].startswith("data:image/png;base64,iVBORw0KGgo")
    assert part["image_url"]["detail"] == "low"
    (fetched,) = [event for event in ask.events if isinstance(event, GuardFetched)]
    assert (fetched.url, fetched.size) == ("https://127.0.0.1/cat.png", len(PNG))


def test_an_image_that_is_used_twice_is_fetched_once(ask: Asking, host: Host) -> None:
    ask(host.url(), host.url())
    assert len(host.images.requests) == 1


def test_this_machine_is_not_asked_though_the_provider_is_on_it(ask: Asking, host: Host) -> None:
    assert "may not be asked" in ask.refused(host.url(), reach=False)
    assert host.images.accepted == 0


@pytest.mark.parametrize(
    "name", ["localhost", "2130706433", "0x7f000001", "0177.0.0.1", "[::ffff:7f00:1]", "169.254.169.254"]
)
def test_other_ways_to_write_an_inner_address_are_refused(ask: Asking, host: Host, name: str) -> None:
    ask.refused(host.url(host=name), reach=False)
    assert host.images.accepted == 0


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/page", "no PNG"),
        ("/gone", "answered 404"),
        ("/moved", "redirects are not followed"),
        ("/huge", "larger than allowed"),
        ("/slow", "took too long"),
    ],
)
def test_what_is_no_image_in_time_and_size_is_refused(ask: Asking, host: Host, path: str, said: str) -> None:
    assert said in ask.refused(host.url(path), images={"max_bytes": 2000, "timeout": 0.3})


def test_neither_query_nor_credentials_are_quoted(ask: Asking, host: Host) -> None:
    assert "secret" not in ask.refused(host.url("/gone?token=secret"))
    assert "hunter2" not in ask.refused(f"https://user:hunter2@127.0.0.1:{host.port}/cat.png")
    assert host.images.accepted == 1


@pytest.mark.parametrize(
    "url", ["http://example.com/a.png", "file:///etc/passwd", "ftp://example.com/a.png", "https://[::1/a.png"]
)
def test_other_schemes_are_refused(ask: Asking, url: str) -> None:
    ask.refused(url)


def test_hosts_and_ports_that_are_not_listed_are_refused(ask: Asking, host: Host) -> None:
    assert "port" in ask.refused(host.url(), images={"ports": [443]})
    assert "host" in ask.refused(host.url(), images={"hosts": ["*.example.com"]})
    assert host.images.accepted == 0


def test_the_call_s_own_time_ends_a_fetch(ask: Asking, host: Host) -> None:
    with pytest.raises(DeadlineExceeded):
        ask(host.url("/slow"), timeout=0.3)


def test_a_transport_that_cannot_be_kept_to_public_addresses_is_refused(
    make_world: Callable[..., Any],
) -> None:
    with pytest.raises(ConfigError, match="public"):
        make_world(pipeline=["guard"], guard={"images": {"fetch": True}})


def test_urls_pass_when_nobody_asked_for_fetching(world: Callable[..., Any]) -> None:
    there = world(pipeline=["guard"])
    there.chat([{"role": "user", "content": [Image.from_url("http://127.0.0.1/x.png")]}])
    assert "http://127.0.0.1/x.png" in repr(there.simulator.requests[0].body)
