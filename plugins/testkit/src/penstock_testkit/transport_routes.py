"""How a transport reaches a server: proxies, tunnels, certificates."""

# ruff: noqa: S101 - these are tests, shipped in a package

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.errors import AttemptTimeout, CertificateError, ConnectError
from penstock.http import Transport
from penstock_testkit.raw_server import Connection, RawServer, serve
from penstock_testkit.transport_scenarios import (
    CHUNKED,
    SHORT,
    Conformance,
    echo,
    fetch,
    limits,
    once,
    self_signed,
)


class RouteConformance(Conformance, standard=True):
    """Proxies and TLS."""

    def test_a_proxy_is_asked_for_the_whole_url(self) -> None:
        with RawServer(serve(echo)) as proxy:
            url = proxy.url.replace("://", "://ann:secret@")
            self.run(lambda t: fetch(t, "http://service.test/v1?a=1"), proxy=url)
        (received,) = proxy.requests
        assert received.line == "POST http://service.test/v1?a=1 HTTP/1.1"
        assert received.headers["host"] == "service.test"
        assert received.headers["proxy-authorization"] == "Basic YW5uOnNlY3JldA=="

    def test_the_environment_names_the_proxy_and_its_exceptions(self) -> None:
        with RawServer(serve(echo)) as proxy, RawServer(serve(echo)) as server:
            environ = {"HTTP_PROXY": proxy.url, "NO_PROXY": "127.0.0.0/8"}
            self.run(lambda t: fetch(t, "http://service.test/"), environ=environ)
            self.run(lambda t: fetch(t, server.url), environ=environ)
        assert (len(proxy.requests), len(server.requests)) == (1, 1)

    def test_https_goes_through_a_tunnel_that_ends_in_a_checked_certificate(self, tmp_path: Path) -> None:
        certificate, context = self_signed(tmp_path)

        def tunnel(connection: Connection) -> None:
            received = connection.receive()
            assert received is not None
            connection.send(b"HTTP/1.1 200 Connected\r\n\r\n")
            spoken = context.wrap_socket(connection._sock, server_side=True)
            with spoken:
                echo(inner := Connection(connection._server, spoken), inner.receive() or received)

        with RawServer(tunnel) as proxy:
            url = proxy.url.replace("://", "://ann:secret@")
            _, body = self.run(
                lambda t: fetch(t, "https://localhost/v1", body=b"in"), proxy=url, ca_bundle=str(certificate)
            )
        assert body == b"in"
        assert proxy.requests[0].line.startswith("CONNECT localhost:443 ")
        assert proxy.requests[0].headers["proxy-authorization"] == "Basic YW5uOnNlY3JldA=="
        assert "proxy-authorization" not in proxy.requests[1].headers

    def test_a_proxy_that_refuses_the_tunnel_is_a_connect_error(self) -> None:
        refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
        with RawServer(once(refusal)) as proxy:
            error = self.fails_with(ConnectError, "https://service.test/", proxy=proxy.url)
        assert "407" in str(error)

    def test_a_dripping_tunnel_does_not_outlast_the_connect_limit(self) -> None:
        def behaviour(connection: Connection) -> None:
            connection.receive()
            connection.drip(b"HTTP/1.1 200 Connected\r\nx: " + b"v" * 60, SHORT / 10)

        with RawServer(behaviour) as proxy:
            error = self.fails_with(
                AttemptTimeout, "https://service.test/", limits(connect=SHORT), proxy=proxy.url
            )
        assert error.phase == "connect"

    @pytest.mark.parametrize("where", ["answer", "handshake"])
    def test_a_dripping_tunnel_through_a_tls_proxy_does_not_outlast_it_either(
        self, where: str, tmp_path: Path
    ) -> None:
        certificate, context = self_signed(tmp_path)

        def behaviour(connection: Connection) -> None:
            connection.receive()
            if where == "answer":
                connection.drip(b"HTTP/1.1 200 Connected\r\nx: " + b"v" * 60, SHORT / 10)
            else:
                connection.send(b"HTTP/1.1 200 Connected\r\n\r\n")
                connection._sock.recv(65536)
                connection.drip(b"\x16\x03\x03\x40\x00" + bytes(60), SHORT / 10)

        with RawServer(behaviour, tls=context) as proxy:
            error = self.fails_with(
                AttemptTimeout,
                "https://service.test/",
                limits(connect=SHORT),
                proxy=proxy.url,
                ca_bundle=str(certificate),
            )
        assert error.phase == "connect"

    def test_a_tls_proxy_forwards(self, tmp_path: Path) -> None:
        certificate, context = self_signed(tmp_path)
        with RawServer(serve(echo), tls=context) as proxy:
            options = {"proxy": proxy.url, "ca_bundle": str(certificate)}
            _, body = self.run(lambda t: fetch(t, "http://service.test/v1", body=b"x"), **options)
        assert body == b"x"
        assert proxy.requests[0].line == "POST http://service.test/v1 HTTP/1.1"

    def test_a_trusted_certificate_is_accepted_and_its_connection_used_again(self, tmp_path: Path) -> None:
        certificate, context = self_signed(tmp_path)

        async def scenario(transport: Transport) -> None:
            for _ in range(3):
                assert (await fetch(transport, f"{server.url}/", body=b"tls"))[1] == b"tls"

        with RawServer(serve(echo), tls=context) as server:
            self.run(scenario, ca_bundle=str(certificate))
        assert server.accepted == 1

    def test_a_certificate_nobody_vouches_for_is_refused(self, tmp_path: Path) -> None:
        _, context = self_signed(tmp_path)
        with RawServer(serve(echo), tls=context) as server:
            error = self.fails_with(CertificateError, server.url)
        assert not error.retryable
        assert server.requests == []

    def test_a_certificate_for_another_host_is_refused(self, tmp_path: Path) -> None:
        certificate, context = self_signed(tmp_path, "DNS:elsewhere.test")
        with RawServer(serve(echo), tls=context) as server:
            self.fails_with(CertificateError, server.url, ca_bundle=str(certificate))

    def test_a_server_that_speaks_no_tls_is_a_connect_error(self) -> None:
        with RawServer(lambda c: c.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
            self.fails_with(ConnectError, server.url.replace("http:", "https:"))

    @pytest.mark.parametrize("behaviour", ["hang", "drip"])
    def test_a_handshake_does_not_outlast_the_connect_limit(self, behaviour: str) -> None:
        def drip(connection: Connection) -> None:
            connection.drip(b"\x16\x03\x03\x40\x00" + bytes(60), SHORT / 10)

        with RawServer(drip if behaviour == "drip" else Connection.hang) as server:
            url = server.url.replace("http:", "https:")
            error = self.fails_with(AttemptTimeout, url, limits(connect=SHORT))
        assert error.phase == "connect"

    def test_limits_hold_through_tls(self, tmp_path: Path) -> None:
        certificate, context = self_signed(tmp_path)

        def behaviour(connection: Connection) -> None:
            connection.receive()
            connection.send(CHUNKED + b"64\r\n")
            connection.drip(b"x" * 100, SHORT / 10)

        with RawServer(behaviour, tls=context) as server:
            error = self.fails_with(AttemptTimeout, server.url, limits(SHORT), ca_bundle=str(certificate))
        assert error.phase == "read"
