"""What a transport's `public()` must refuse: every address that a URL from outside may not lead to."""

# ruff: noqa: S101 - these are tests, shipped in a package

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import InvalidRequestError, PenstockError
from penstock_testkit.raw_server import Connection, RawServer, Received, serve
from penstock_testkit.transport_scenarios import Conformance, echo, fetch, limits, request, self_signed

LOOPBACK = [
    "127.0.0.1",
    "127.1",
    "2130706433",  # decimal
    "0x7f000001",  # hex
    "0x7f.0.0.1",
    "017700000001",  # octal
    "0177.0.0.1",
    "0",
    "0.0.0.0",  # noqa: S104 - nothing binds to it
    "localhost",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",  # mapped
    "[::ffff:7f00:1]",
    "[::7f00:1]",  # compatible
    "[2002:7f00:1::]",  # 6to4
    "[64:ff9b::7f00:1]",  # NAT64
    "[64:ff9b:1::7f00:1]",
]
INSIDE = [
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",  # metadata
    "169.254.170.2",
    "168.63.129.16",
    "192.0.0.192",
    "0xa9fea9fe",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fe80::5efe:808:808]",
    "[fec0::1]",
    "[2001:0:808:808::1]",
    "[2a00:1450::5efe:a00:1]",
    "224.0.0.1",
    "[ff02::1]",
    "240.0.0.1",
    "255.255.255.255",
]


def resolving(monkeypatch: pytest.MonkeyPatch, *rounds: list[str]) -> list[str]:
    """Make each resolution of `images.test` give the next list of addresses; what was asked for."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "images.test":
            return real(host, port, *args, **kwargs)
        addresses = rounds[min(len(asked), len(rounds) - 1)]
        asked.append(host)
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (address, int(port), 0, 0) if ":" in address else (address, int(port)),
            )
            for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


class PublicConformance(Conformance, standard=True):
    """
    What a transport with `public()` must do.

    `make` understands three more options: `allow_addresses` (networks that count as public), `block_private`
    (the whole transport is public), and `dns_ttl` (seconds a name is remembered, where one is).
    """

    def refused(self, url: str, **options: Any) -> PenstockError:
        """The error of a request through the transport's public side."""

        async def scenario(transport: Any) -> PenstockError:
            with pytest.raises(PenstockError) as caught:
                await transport.public().send(request(url), limits())
            return caught.value

        error: PenstockError = self.run(scenario, **options)
        return error

    @pytest.mark.parametrize("host", LOOPBACK)
    def test_no_way_to_write_this_machine_is_connected_to(self, host: str) -> None:
        with RawServer(serve(echo)) as server:
            port = server.url.rpartition(":")[2]
            error = self.refused(f"http://{host}:{port}/")
        assert type(error) is InvalidRequestError
        assert server.accepted == 0

    @pytest.mark.parametrize("host", INSIDE)
    def test_no_address_of_the_network_around_is_connected_to(self, host: str) -> None:
        assert type(self.refused(f"https://{host}/latest/meta-data")) is InvalidRequestError

    def test_one_bad_answer_among_good_ones_refuses_the_host(self, monkeypatch: pytest.MonkeyPatch) -> None:
        resolving(monkeypatch, ["93.184.215.14", "127.0.0.1"])
        error = self.refused("http://images.test/cat.png")
        assert "not public" in str(error)
        assert "127.0.0.1" not in str(error)

    def test_a_name_that_resolves_differently_the_second_time_is_resolved_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rebinding between check and connect: the connection goes to what was checked."""
        with RawServer(serve(echo)) as good, RawServer(serve(echo)) as bad:
            port = good.url.rpartition(":")[2]
            asked = resolving(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])

            async def scenario(transport: Any) -> Any:
                return await fetch(transport.public(), f"http://images.test:{port}/", body=b"x")

            assert self.run(scenario, allow_addresses=("127.0.0.0/8",))[1] == b"x"
        assert len(asked) == 1
        assert (good.accepted, bad.accepted) == (1, 0)

    def test_a_name_that_moved_inside_is_refused_when_a_new_connection_is_made(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with RawServer(serve(echo)) as server:
            port = server.url.rpartition(":")[2]
            resolving(monkeypatch, ["127.0.0.1"], ["10.0.0.1"])

            async def scenario(transport: Any) -> Any:
                public = transport.public()
                await fetch(public, f"http://images.test:{port}/")
                with pytest.raises(InvalidRequestError):
                    await fetch(public, f"http://images.test:{port}/", headers={"x": "y"})

            self.run(scenario, allow_addresses=("127.0.0.0/8",), keepalive=0, dns_ttl=0)
        assert server.accepted == 1

    def test_redirects_are_answers_not_orders(self) -> None:
        def move(connection: Connection, received: Received) -> None:
            connection.answer(status="302 Found", headers=f"location: {inside.url}/\r\n")

        with RawServer(serve(move)) as server, RawServer(serve(echo)) as inside:

            async def scenario(transport: Any) -> Any:
                return (await fetch(transport.public(), server.url))[0].status

            assert self.run(scenario, allow_addresses=("127.0.0.1/32",)) == 302
        assert inside.accepted == 0

    def test_no_proxy_stands_between_the_check_and_the_connection(self) -> None:
        with RawServer(serve(echo)) as proxy:
            error = self.refused("http://10.0.0.1/", proxy=proxy.url)
        assert type(error) is InvalidRequestError
        assert proxy.accepted == 0

    def test_a_base_url_on_this_machine_is_still_reached(self) -> None:
        with RawServer(serve(echo)) as server:

            async def scenario(transport: Any) -> Any:
                with pytest.raises(InvalidRequestError):
                    await fetch(transport.public(), server.url)
                return await fetch(transport, server.url, body=b"mine")

            assert self.run(scenario)[1] == b"mine"

    def test_a_pooled_connection_of_the_client_itself_is_not_used_for_a_foreign_url(self) -> None:
        with RawServer(serve(echo)) as server:

            async def scenario(transport: Any) -> None:
                await fetch(transport, server.url)
                with pytest.raises(InvalidRequestError):
                    await fetch(transport.public(), server.url)

            self.run(scenario)
        assert len(server.requests) == 1

    def test_the_name_of_the_host_is_what_tls_and_the_server_see(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        certificate, context = self_signed(tmp_path, "DNS:images.test")
        with RawServer(serve(echo), tls=context) as server:
            port = server.url.rpartition(":")[2]
            resolving(monkeypatch, ["127.0.0.1"])

            async def scenario(transport: Any) -> Any:
                return await fetch(transport.public(), f"https://images.test:{port}/", body=b"x")

            options = {"allow_addresses": ("127.0.0.1/32",), "ca_bundle": str(certificate)}
            assert self.run(scenario, **options)[1] == b"x"
        assert server.requests[0].headers["host"] == f"images.test:{port}"

    def test_a_whole_client_can_be_kept_to_public_addresses(self) -> None:
        with RawServer(serve(echo)) as server:

            async def scenario(transport: Any) -> None:
                with pytest.raises(InvalidRequestError):
                    await fetch(transport, server.url)

            self.run(scenario, block_private=True)
        assert server.accepted == 0
