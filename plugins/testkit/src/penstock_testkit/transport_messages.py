"""What every transport must send and understand: requests, framing, compression, and no secrets."""

# ruff: noqa: S101 - these are tests, shipped in a package

from __future__ import annotations

import logging
import socket
import time
import traceback
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import ConnectError, InvalidRequestError, TransferError
from penstock.http import Transport
from penstock_testkit.raw_server import Connection, RawServer, Received, serve
from penstock_testkit.transport_scenarios import SECRET, Conformance, echo, fetch, limits, once, unused_port


class MessageConformance(Conformance, standard=True):
    """Requests and responses as bytes."""

    def test_a_request_arrives_whole_and_its_answer_comes_back(self) -> None:
        with RawServer(serve(echo)) as server:
            url = f"{server.url}/v1/chat?a=1&b=%20"
            head, body = self.run(lambda t: fetch(t, url, body=b"hello", headers={"X-Trace": "7"}))
        (received,) = server.requests
        assert (head.status, body) == (200, b"hello")
        assert received.line == "POST /v1/chat?a=1&b=%20 HTTP/1.1"
        assert received.headers["x-trace"] == "7"
        assert received.headers["host"] == f"127.0.0.1:{server.port}"
        assert received.headers["content-length"] == "5"

    def test_a_get_has_no_body(self) -> None:
        with RawServer(serve(echo)) as server:
            head, _ = self.run(lambda t: fetch(t, server.url, method="GET", body=None))
        assert head.status == 200
        assert server.requests[0].line == "GET / HTTP/1.1"
        assert "content-length" not in server.requests[0].headers

    @pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
    def test_a_body_of_any_size_survives_both_ways(self, size: int) -> None:
        sent = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        with RawServer(serve(echo)) as server:
            _, body = self.run(lambda t: fetch(t, server.url, limits(max_bytes=1 << 22), body=sent))
        assert body == sent

    def test_header_names_come_in_lower_case_and_repeated_ones_are_joined(self) -> None:
        def answer(connection: Connection, received: Received) -> None:
            connection.answer(headers="X-Two: a\r\nRetry-After:  3 \r\nx-two: b\r\n")

        with RawServer(serve(answer)) as server:
            head, _ = self.run(lambda t: fetch(t, server.url))
        assert (head.headers["x-two"], head.headers["retry-after"]) == ("a, b", "3")
        assert abs(head.received - time.time()) < 60

    @pytest.mark.parametrize("status", ["400 Bad Request", "429 Too Many Requests", "503 "])
    def test_an_error_status_is_a_response(self, status: str) -> None:
        with RawServer(serve(lambda c, r: c.answer(b"why", status=status))) as server:
            head, body = self.run(lambda t: fetch(t, server.url))
        assert (head.status, body) == (int(status[:3]), b"why")

    def test_a_response_without_body_ends_with_its_head(self) -> None:
        with RawServer(serve(lambda c, r: c.send(b"HTTP/1.1 204 No Content\r\n\r\n"))) as server:
            head, body = self.run(lambda t: fetch(t, server.url))
        assert (head.status, body) == (204, b"")

    def test_informational_heads_are_skipped(self) -> None:
        early = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
        with RawServer(once(early + b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")) as server:
            head, body = self.run(lambda t: fetch(t, server.url))
        assert (head.status, body) == (200, b"ok")

    def test_a_redirect_is_not_followed(self) -> None:
        with RawServer(serve(echo)) as other:

            def answer(connection: Connection, received: Received) -> None:
                connection.answer(status="307 Temporary Redirect", headers=f"location: {other.url}/\r\n")

            with RawServer(serve(answer)) as server:
                head, _ = self.run(lambda t: fetch(t, server.url))
        assert head.status == 307
        assert other.accepted == 0

    def test_an_ipv6_literal_is_reached(self) -> None:
        try:
            server = RawServer(serve(echo), family=socket.AF_INET6)
        except OSError:
            pytest.skip("no IPv6 on the loopback")
        with server:
            head, _ = self.run(lambda t: fetch(t, f"{server.url}/a"))
        assert head.status == 200
        assert server.requests[0].headers["host"] == f"[::1]:{server.port}"

    def test_netrc_and_user_information_do_not_replace_a_credential(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("default login someone password netrc-secret\n")
        monkeypatch.setenv("NETRC", str(netrc))
        with RawServer(serve(echo)) as server:
            self.run(lambda t: fetch(t, server.url, headers={"Authorization": "Bearer mine"}))
            self.run(lambda t: fetch(t, server.url))
            with_user = server.url.replace("://", "://ann:p%40ss@")
            self.run(lambda t: fetch(t, with_user))
        assert [r.headers.get("authorization") for r in server.requests] == [
            "Bearer mine",
            None,
            "Basic YW5uOnBAc3M=",
        ]

    def test_cookies_are_not_kept(self) -> None:
        def answer(connection: Connection, received: Received) -> None:
            connection.answer(headers="set-cookie: session=1; Path=/\r\n")

        async def scenario(transport: Transport) -> None:
            await fetch(transport, server.url)
            await fetch(transport, server.url)

        with RawServer(serve(answer)) as server:
            self.run(scenario)
        assert all("cookie" not in received.headers for received in server.requests)

    @pytest.mark.parametrize(
        "form",
        ["{}a\r\nX: 1", "{}a\nb", "{}a\0b", "{}\n", " {}", "{} ", "{}\x7fy", "{}\ty", "{}ключ", "{}\x85"],
    )
    def test_a_header_value_that_must_not_be_sent_is_refused_by_name_only(self, form: str) -> None:
        headers = {"X-Api-Key": form.format(SECRET)}
        with RawServer(serve(echo)) as server:
            error = self.fails_with(InvalidRequestError, server.url, changes={"headers": headers})
        assert "X-Api-Key" in str(error)
        assert SECRET not in "".join(traceback.format_exception(error))
        assert server.accepted == 0

    @pytest.mark.parametrize(
        "headers",
        [{"a b": "1"}, {"": "1"}, {"a:": "1"}, {"ä": "1"}, {"a\n": "1"}, {"a": 1}, {"Content-Length": "7"}],
    )
    def test_a_header_that_is_none_is_refused(self, headers: Any) -> None:
        with RawServer(serve(echo)) as server:
            self.fails_with(InvalidRequestError, server.url, changes={"headers": headers})
        assert server.accepted == 0

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "ftp://host/",
            "http://",
            "http://a b/",
            "http://h:99999/",
            "http://[::1/",
            "/v1",
            "http://a\n/",
        ],
    )
    def test_a_url_that_cannot_be_sent_to_is_refused_without_quoting_it(self, url: str) -> None:
        error = self.fails_with(InvalidRequestError, f"{url}?key={SECRET}" if url else url)
        assert SECRET not in "".join(traceback.format_exception(error))

    def test_no_error_shows_more_of_a_url_than_scheme_host_and_path(self) -> None:
        port = unused_port()
        with RawServer(once(then="reset")) as server:
            for origin, expected in (
                (f"127.0.0.1:{port}", ConnectError),
                (f"127.0.0.1:{server.port}", TransferError),
            ):
                url = f"http://user:{SECRET}@{origin}/v1?key={SECRET}"
                error = self.fails_with(
                    expected, url, changes={"headers": {"authorization": f"Bearer {SECRET}"}}
                )
                assert SECRET not in "".join(traceback.format_exception(error))
                assert f"http://{origin}/v1" in str(error)

    def test_no_log_shows_query_headers_or_body(self, caplog: pytest.LogCaptureFixture) -> None:
        async def scenario(transport: Transport) -> None:
            for _ in range(2):
                await fetch(
                    transport,
                    f"{server.url}/v1?key={SECRET}",
                    headers={"authorization": f"Bearer {SECRET}"},
                    body=SECRET.encode(),
                )

        def answer(connection: Connection, received: Received) -> None:
            connection.answer(headers=f"set-cookie: a={SECRET}\r\n")

        with caplog.at_level(logging.DEBUG), RawServer(serve(answer)) as server:
            self.run(scenario)
        assert len(server.requests) == 2
        assert SECRET not in caplog.text
