"""
What every HTTP transport must do, as tests to inherit.

    class TestMine(TransportConformance):
        colour = "blocking"

        def make(self, **options): return MyTransport(...)

A scenario is a coroutine that knows no colour: `run` drives it without a loop, or in one. A real server
on the loopback misbehaves in front of it (see raw_server.py). `ThreadConformance` and
`CancellationConformance` hold what only one colour can show. Import this from tests only: it needs pytest.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from penstock.errors import (
    AttemptTimeout,
    CertificateError,
    ConnectError,
    InvalidRequestError,
    PenstockError,
    TransferError,
    UsageError,
)
from penstock.http import HttpHead, HttpRequest, Limits, Transport
from penstock.runtime import drive
from penstock_testkit.raw_server import Connection, RawServer, Received, serve

SECRET = "sk-conformance-0123456789"  # noqa: S105  # a bait, not a password
SHORT = 0.25
"""Seconds: a limit that is meant to be reached."""
LONG = 10.0
"""Seconds: a limit that is not."""
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def limits(
    seconds: float = LONG, *, connect: float = LONG, pool: float = LONG, max_bytes: int = 1 << 20
) -> Limits:
    """Limits that end in so many seconds."""
    return Limits(connect=connect, pool=pool, due=time.monotonic() + seconds, max_bytes=max_bytes)


def request(url: str, **changes: Any) -> HttpRequest:
    """A request like a codec makes them."""
    facts: dict[str, Any] = {"method": "POST", "headers": {"content-type": "application/json"}, "body": b"{}"}
    return HttpRequest(url=url, **(facts | changes))


async def fetch(
    transport: Transport, url: str, bounds: Limits | None = None, **changes: Any
) -> tuple[HttpHead, bytes]:
    """One whole exchange; the connection is given back."""
    bounds = bounds or limits()
    exchange = await transport.send(request(url, **changes), bounds)
    try:
        return exchange.head, await exchange.read_all(bounds.due)
    finally:
        await exchange.close(reuse=True)


def echo(connection: Connection, received: Received) -> None:
    """Answer with the body that came."""
    connection.answer(received.body)


def in_two_parts(go_on: threading.Event) -> Callable[[Connection, Received], None]:
    """Answer with a body whose last byte waits for an event."""

    def answer(connection: Connection, received: Received) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab")
        go_on.wait(LONG)
        connection.send(b"c")

    return answer


def once(*writes: bytes, then: Literal["close", "reset", "hang"] = "close") -> Callable[[Connection], None]:
    """Read one request, write bytes, and end like this."""

    def behaviour(connection: Connection) -> None:
        if connection.receive() is None:
            return
        for data in writes:
            connection.send(data)
        if then == "reset":
            connection.reset()
        elif then == "hang":
            connection.hang()

    return behaviour


def self_signed(folder: Path, names: str = "IP:127.0.0.1,DNS:localhost") -> tuple[Path, ssl.SSLContext]:
    """A certificate for these names and a server context that shows it; skips without openssl."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("the openssl program is not installed")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += [
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    command += ["-addext", f"subjectAltName={names}"]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603  # fixed arguments
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context


def unused_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Conformance:
    """What the suites share."""

    colour: ClassVar[Literal["blocking", "async"]]

    def make(self, **options: Any) -> Transport:
        """
        A fresh transport.

        Args:
            options: any of `connections` (how many at most to one origin), `proxy`, `no_proxy`,
                `ca_bundle`, `max_header_bytes`, `keepalive` (seconds), `environ` (instead of the real one).
        """
        raise NotImplementedError

    def run(self, scenario: Callable[[Transport], Coroutine[Any, Any, Any]], **options: Any) -> Any:
        """Run a scenario against a fresh transport, and close it."""

        async def whole() -> Any:
            transport = self.make(**options)
            try:
                return await scenario(transport)
            finally:
                await transport.close()

        return drive(whole()) if self.colour == "blocking" else asyncio.run(whole())

    async def all_closed(self, server: RawServer) -> bool:
        """Whether every connection of the server ends soon, while the loop of an async transport runs."""
        if self.colour == "blocking":
            return server.wait_until_closed()
        return await asyncio.get_running_loop().run_in_executor(None, server.wait_until_closed)

    def fails_with(
        self, expected: type[PenstockError], url: str, bounds: Limits | None = None, **options: Any
    ) -> Any:
        """The error a whole exchange with `url` ends with."""
        changes = options.pop("changes", {})

        async def scenario(transport: Transport) -> PenstockError:
            with pytest.raises(expected) as caught:
                await fetch(transport, url, bounds, **changes)
            return caught.value

        error = self.run(scenario, **options)
        assert type(error) is expected
        return error


class TransportConformance(Conformance):
    """What every transport must do."""

    # What goes out, what comes back

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
        "value", ["a\r\nX: 1", "a\nb", "a\0b", "key\n", " key", "key ", "k\x7fy", "k\ty", "ключ", "\x85"]
    )
    def test_a_header_value_that_must_not_be_sent_is_refused_by_name_only(self, value: str) -> None:
        with RawServer(serve(echo)) as server:
            error = (
                self.fails_with(
                    InvalidRequestError,
                    server.url,
                    changes={"headers": {"X-Api-Key": SECRET + value + SECRET[:0]}},
                )
                if value[:1] != " "
                else self.fails_with(
                    InvalidRequestError, server.url, changes={"headers": {"X-Api-Key": value + SECRET}}
                )
            )
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

    # Framing

    def test_a_chunked_body_is_joined(self) -> None:
        chunks = b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\ntrailer: 1\r\n\r\n"
        with RawServer(once(CHUNKED + chunks)) as server:
            _, body = self.run(lambda t: fetch(t, server.url))
        assert body == b"hello world"

    def test_a_chunked_body_survives_any_split(self) -> None:
        whole = CHUNKED + b"A\r\n0123456789\r\n1\r\nx\r\n00\r\nt: 1\r\n\r\n"

        def byte_by_byte(connection: Connection) -> None:
            connection.receive()
            connection.drip(whole, 0)

        with RawServer(byte_by_byte) as server:
            _, body = self.run(lambda t: fetch(t, server.url))
        assert body == b"0123456789x"

    def test_without_length_the_body_ends_with_the_connection(self) -> None:
        with RawServer(once(b"HTTP/1.1 200 OK\r\n\r\nall ", b"of it")) as server:
            _, body = self.run(lambda t: fetch(t, server.url))
        assert body == b"all of it"

    def test_bytes_are_handed_over_as_soon_as_they_are_there(self) -> None:
        seen = threading.Event()

        def behaviour(connection: Connection) -> None:
            connection.receive()
            connection.send(CHUNKED + b"3\r\none\r\n")
            seen.wait(LONG)
            connection.send(b"3\r\ntwo\r\n0\r\n\r\n")

        async def scenario(transport: Transport) -> list[bytes]:
            exchange = await transport.send(request(server.url, stream=True), limits())
            pieces = [await exchange.read(time.monotonic() + LONG / 2)]
            seen.set()
            while piece := await exchange.read(time.monotonic() + LONG):
                pieces.append(piece)
            await exchange.close(reuse=True)
            return pieces

        with RawServer(behaviour) as server:
            assert self.run(scenario) == [b"one", b"two"]

    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"hello\r\n\r\n",
            b"HTTP/1.1 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel",
            b"HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\ncontent-",
            CHUNKED + b"5\r\nhel",
            CHUNKED + b"5\r\nhello\r\n",
            CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
            CHUNKED + b"5_0\r\nhello\r\n0\r\n\r\n",
            CHUNKED + b"3\r\nhello\r\n0\r\n\r\n",
            CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n",
        ],
    )
    def test_a_response_that_is_cut_or_no_http_is_a_transfer_error(self, answer: bytes) -> None:
        with RawServer(once(answer)) as server:
            self.fails_with(TransferError, server.url)

    def test_a_reset_connection_is_a_transfer_error(self) -> None:
        with RawServer(once(then="reset")) as server:
            self.fails_with(TransferError, server.url)

    def test_a_reset_in_the_body_is_a_transfer_error_after_what_had_arrived(self) -> None:
        seen = threading.Event()

        def behaviour(connection: Connection) -> None:
            connection.receive()
            connection.send(CHUNKED + b"3\r\none\r\n")
            seen.wait(LONG)
            connection.reset()

        async def scenario(transport: Transport) -> bytes:
            exchange = await transport.send(request(server.url, stream=True), limits())
            try:
                first = await exchange.read(time.monotonic() + LONG)
                seen.set()
                with pytest.raises(TransferError):
                    await exchange.read(time.monotonic() + LONG)
                return first
            finally:
                await exchange.close()

        with RawServer(behaviour) as server:
            assert self.run(scenario) == b"one"

    def test_a_huge_head_is_refused(self) -> None:
        def behaviour(connection: Connection) -> None:
            connection.receive()
            connection.send(b"HTTP/1.1 200 OK\r\n")
            for number in range(100):
                connection.send(b"x-%d: %s\r\n" % (number, b"v" * 1000))
            connection.send(b"content-length: 0\r\n\r\n")

        with RawServer(behaviour) as server:
            self.fails_with(TransferError, server.url, max_header_bytes=16384)

    def test_a_header_of_many_kilobytes_within_the_limit_is_read(self) -> None:
        with RawServer(serve(lambda c, r: c.answer(headers=f"x-big: {'v' * 40_000}\r\n"))) as server:
            head, _ = self.run(lambda t: fetch(t, server.url), max_header_bytes=65536)
        assert len(head.headers["x-big"]) == 40_000

    # Compression and size

    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw deflate", "two gzip members"])
    def test_a_compressed_body_is_unpacked(self, encoding: str) -> None:
        plain = b"penstock " * 1000
        packed = {
            "gzip": gzip.compress(plain),
            "deflate": zlib.compress(plain),
            "raw deflate": zlib.compress(plain, wbits=-15),
            "two gzip members": gzip.compress(plain[:4500]) + gzip.compress(plain[4500:]),
        }[encoding]
        name = "deflate" if "deflate" in encoding else "gzip"
        with RawServer(
            serve(lambda c, r: c.answer(packed, headers=f"content-encoding: {name}\r\n"))
        ) as server:
            _, body = self.run(lambda t: fetch(t, server.url))
        assert body == plain
        assert "gzip" in server.requests[0].headers["accept-encoding"]

    def test_a_streamed_request_asks_for_no_compression(self) -> None:
        with RawServer(serve(echo)) as server:
            self.run(lambda t: fetch(t, server.url, stream=True))
        assert server.requests[0].headers["accept-encoding"] == "identity"

    @pytest.mark.parametrize("encoding", ["gzip", "deflate"])
    def test_a_bomb_is_stopped_at_the_limit(self, encoding: str) -> None:
        packed = gzip.compress(bytes(50_000_000)) if encoding == "gzip" else zlib.compress(bytes(50_000_000))

        async def scenario(transport: Transport) -> int:
            exchange = await transport.send(request(server.url), limits(max_bytes=1_000_000))
            read = 0
            try:
                with pytest.raises(TransferError, match="1000000 bytes"):
                    while piece := await exchange.read(time.monotonic() + LONG):
                        read += len(piece)
                return read
            finally:
                await exchange.close()

        with RawServer(
            serve(lambda c, r: c.answer(packed, headers=f"content-encoding: {encoding}\r\n"))
        ) as server:
            assert self.run(scenario) <= 1_000_000

    def test_a_body_may_have_exactly_the_limit_and_not_a_byte_more(self) -> None:
        with RawServer(serve(lambda c, r: c.answer(bytes(5000)))) as server:
            _, body = self.run(lambda t: fetch(t, server.url, limits(max_bytes=5000)))
            assert len(body) == 5000
            self.fails_with(TransferError, server.url, limits(max_bytes=4999))

    @pytest.mark.parametrize(
        ("encoding", "body"),
        [("gzip", b"plain text"), ("gzip", gzip.compress(b"x" * 999)[:-9]), ("br", b"\x0b\x02\x80hello\x03")],
    )
    def test_a_body_that_cannot_be_unpacked_is_a_transfer_error(self, encoding: str, body: bytes) -> None:
        with RawServer(
            serve(lambda c, r: c.answer(body, headers=f"content-encoding: {encoding}\r\n"))
        ) as server:
            self.fails_with(TransferError, server.url)

    # Limits

    def test_a_server_that_says_nothing_is_left_when_due(self) -> None:
        with RawServer(once(then="hang")) as server:
            error = self.fails_with(AttemptTimeout, server.url, limits(SHORT))
        assert error.phase == "read"

    def test_a_dripping_head_does_not_outlast_the_limit(self) -> None:
        def behaviour(connection: Connection) -> None:
            connection.receive()
            connection.drip(b"HTTP/1.1 200 OK\r\nx-padding: " + b"v" * 60, SHORT / 10)

        with RawServer(behaviour) as server:
            assert self.fails_with(AttemptTimeout, server.url, limits(SHORT)).phase == "read"

    @pytest.mark.parametrize(
        "framing", [CHUNKED + b"64\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"]
    )
    def test_a_dripping_body_does_not_outlast_the_limit(self, framing: bytes) -> None:
        def behaviour(connection: Connection) -> None:
            connection.receive()
            connection.send(framing)
            connection.drip(b"x" * 100, SHORT / 10)

        with RawServer(behaviour) as server:
            assert self.fails_with(AttemptTimeout, server.url, limits(SHORT)).phase == "read"

    def test_dripping_chunk_sizes_do_not_outlast_the_limit(self) -> None:
        def behaviour(connection: Connection) -> None:
            connection.receive()
            connection.send(CHUNKED)
            connection.drip(b"0" * 100, SHORT / 10)

        with RawServer(behaviour) as server:
            assert self.fails_with(AttemptTimeout, server.url, limits(SHORT)).phase == "read"

    def test_each_read_has_its_own_limit(self) -> None:
        go = [threading.Event() for _ in range(3)]

        def behaviour(connection: Connection) -> None:
            connection.receive()
            connection.send(CHUNKED)
            for event in go:
                event.wait(LONG)
                connection.send(b"1\r\nx\r\n")
            connection.hang()

        async def scenario(transport: Transport) -> None:
            exchange = await transport.send(request(server.url, stream=True), limits())
            try:
                for event in go:
                    event.set()
                    assert await exchange.read(time.monotonic() + LONG) == b"x"
                with pytest.raises(AttemptTimeout):
                    await exchange.read(time.monotonic() + SHORT)
            finally:
                await exchange.close()

        with RawServer(behaviour) as server:
            self.run(scenario)

    def test_a_limit_that_lies_in_the_past_ends_the_call(self) -> None:
        with RawServer(serve(echo)) as server:
            self.fails_with(AttemptTimeout, server.url, limits(-1.0))

    def test_no_limit_at_all_is_possible(self) -> None:
        forever = Limits(connect=LONG, pool=LONG, due=float("inf"), max_bytes=1000)
        with RawServer(serve(echo)) as server:
            head, _ = self.run(lambda t: fetch(t, server.url, forever))
        assert head.status == 200

    def test_a_server_that_accepts_nobody_ends_at_the_connect_limit(self) -> None:
        # A listener that never accepts, its queue filled: the kernel drops what comes after.
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
            waiting = []
            try:
                for _ in range(4):
                    client = socket.socket()
                    waiting.append(client)
                    client.settimeout(SHORT)
                    try:
                        client.connect(listener.getsockname())
                    except TimeoutError:
                        break
                else:
                    pytest.skip("this system accepts without an end")
                url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
                error = self.fails_with(AttemptTimeout, url, limits(connect=SHORT))
            finally:
                for client in waiting:
                    client.close()
        assert error.phase == "connect"

    def test_a_call_that_finds_no_free_connection_ends_at_the_pool_limit(self) -> None:
        go_on = threading.Event()

        async def scenario(transport: Transport) -> None:
            held = await transport.send(request(server.url), limits())
            with pytest.raises(AttemptTimeout) as caught:
                await transport.send(request(server.url), limits(pool=SHORT))
            assert caught.value.phase == "pool"
            go_on.set()
            assert await held.read_all(time.monotonic() + LONG) == b"abc"
            await held.close(reuse=True)
            assert (await fetch(transport, server.url))[0].status == 200

        with RawServer(serve(in_two_parts(go_on))) as server:
            self.run(scenario, connections=1)
        assert server.accepted == 1

    # Connections

    def test_a_refused_connection_is_a_connect_error(self) -> None:
        error = self.fails_with(ConnectError, f"http://127.0.0.1:{unused_port()}/v1?key={SECRET}")
        assert "/v1" in str(error)

    def test_a_name_that_is_not_resolved_is_a_connect_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*args: Any, **kwargs: Any) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", fail)
        error = self.fails_with(ConnectError, "http://host.invalid/")
        assert "host.invalid" in str(error)

    def test_a_connection_is_used_again(self) -> None:
        async def scenario(transport: Transport) -> None:
            for number in range(5):
                assert (await fetch(transport, server.url, body=b"%d" % number))[1] == b"%d" % number

        with RawServer(serve(echo)) as server:
            self.run(scenario)
        assert (server.accepted, len(server.requests)) == (1, 5)

    def test_a_stream_that_ended_gives_its_connection_back(self) -> None:
        def answer(connection: Connection, received: Received) -> None:
            connection.send(CHUNKED + b"6\r\n[DONE]\r\n")
            connection.send(b"0\r\n\r\n")

        async def scenario(transport: Transport) -> None:
            for _ in range(3):
                exchange = await transport.send(request(server.url, stream=True), limits())
                assert await exchange.read(time.monotonic() + LONG) == b"[DONE]"
                await exchange.close(reuse=True)
                await exchange.close()

        with RawServer(serve(answer)) as server:
            self.run(scenario)
        assert server.accepted == 1

    def test_a_stream_whose_end_does_not_come_is_closed(self) -> None:
        async def scenario(transport: Transport) -> None:
            exchange = await transport.send(request(server.url, stream=True), limits())
            assert await exchange.read(time.monotonic() + LONG) == b"x"
            await exchange.close(reuse=True)
            assert await self.all_closed(server)

        with RawServer(once(CHUNKED + b"1\r\nx\r\n", then="hang")) as server:
            self.run(scenario)

    def test_an_exchange_that_is_left_early_closes_its_connection(self) -> None:
        async def scenario(transport: Transport) -> None:
            exchange = await transport.send(request(server.url, stream=True), limits())
            await exchange.close()
            assert await self.all_closed(server)

        with RawServer(once(CHUNKED + b"1\r\nx\r\n", then="hang")) as server:
            self.run(scenario)

    @pytest.mark.parametrize("version", ["HTTP/1.0 200 OK\r\n", "HTTP/1.1 200 OK\r\nconnection: close\r\n"])
    def test_a_connection_the_server_will_close_is_not_used_again(self, version: str) -> None:
        async def scenario(transport: Transport) -> None:
            for _ in range(2):
                assert (await fetch(transport, server.url))[1] == b"ok"

        answer = f"{version}content-length: 2\r\n\r\nok".encode()
        with RawServer(serve(lambda c, r: c.send(answer))) as server:
            self.run(scenario)
        assert server.accepted == 2

    def test_a_stale_connection_is_replaced_before_anything_is_sent(self) -> None:
        async def scenario(transport: Transport) -> None:
            for _ in range(3):
                assert (await fetch(transport, server.url))[0].status == 200
                assert await self.all_closed(server)

        # The answer promises to keep the connection, but the behaviour returns, which closes it.
        with RawServer(once(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")) as server:
            self.run(scenario)
        assert (server.accepted, len(server.requests)) == (3, 3)

    @pytest.mark.parametrize("method", ["POST", "GET"])
    def test_nothing_is_sent_twice_when_a_pooled_connection_dies(self, method: str) -> None:
        def behaviour(connection: Connection) -> None:
            connection.receive()
            connection.answer()
            connection.receive()  # the second request is read, and never answered

        async def scenario(transport: Transport) -> None:
            await fetch(transport, server.url, method=method, body=None)
            with pytest.raises(TransferError):
                await fetch(transport, server.url, method=method, body=None)

        with RawServer(behaviour) as server:
            self.run(scenario)
        assert len(server.requests) == 2

    def test_an_idle_connection_is_not_used_after_its_time(self) -> None:
        async def scenario(transport: Transport) -> None:
            await fetch(transport, server.url)
            await fetch(transport, server.url)

        with RawServer(serve(echo)) as server:
            self.run(scenario, keepalive=0.0)
        assert server.accepted == 2

    def test_closing_twice_is_no_error_and_nothing_is_sent_afterwards(self) -> None:
        async def scenario(transport: Transport) -> None:
            await fetch(transport, server.url)
            await transport.close()
            await transport.close()
            with pytest.raises(UsageError):
                await transport.send(request(server.url), limits())

        with RawServer(serve(echo)) as server:
            self.run(scenario)
            assert server.wait_until_closed()
        assert len(server.requests) == 1

    # Proxies and TLS

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

    # Secrets

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


class ThreadConformance(Conformance):
    """What a blocking transport must do for threads and processes."""

    def test_sixteen_threads_share_a_transport(self) -> None:
        transport = self.make(connections=4)

        def work(number: int) -> list[bytes]:
            sent = [b"%d-%d" % (number, turn) for turn in range(20)]
            assert [drive(fetch(transport, server.url, body=body))[1] for body in sent] == sent
            return sent

        with RawServer(serve(echo)) as server:
            with ThreadPoolExecutor(16) as threads:
                sent = [body for bodies in threads.map(work, range(16)) for body in bodies]
            drive(transport.close())  # type: ignore[arg-type]
        assert sorted(received.body for received in server.requests) == sorted(sent)
        assert server.accepted <= 4

    def test_a_waiting_thread_gets_the_connection_of_one_that_failed(self) -> None:
        transport = self.make(connections=1)

        def answer(connection: Connection, received: Received) -> None:
            if received.body == b"bad":
                connection.reset()
            else:
                connection.answer(received.body)

        def work(number: int) -> bool:
            try:
                drive(fetch(transport, server.url, body=b"bad" if number % 2 else b"good"))
            except TransferError:
                return False
            return True

        with RawServer(serve(answer)) as server:
            with ThreadPoolExecutor(8) as threads:
                results = list(threads.map(work, range(16)))
            drive(transport.close())  # type: ignore[arg-type]
        assert results == [number % 2 == 0 for number in range(16)]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    def test_a_forked_child_leaves_the_connections_of_its_parent_alone(self) -> None:
        transport = self.make()

        def call() -> bool:
            return drive(fetch(transport, server.url, body=b"x"))[1] == b"x"

        with RawServer(serve(echo)) as server:
            assert call()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # forking with the server's threads
                child = os.fork()
            if child == 0:
                good = False
                try:
                    good = call() and call()
                    drive(transport.close())  # type: ignore[arg-type]
                finally:
                    os._exit(0 if good else 1)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0
            assert call()
            drive(transport.close())  # type: ignore[arg-type]
        assert server.accepted == 2


class CancellationConformance(Conformance):
    """What an async transport must do when its caller is cancelled."""

    def cancelled(
        self,
        server: RawServer,
        scenario: Callable[[Transport], Coroutine[Any, Any, Any]],
        ready: Callable[[], bool],
        **options: Any,
    ) -> None:
        """Cancel a scenario when `ready` says so; nothing may be left of it."""

        async def whole(transport: Transport) -> None:
            task = asyncio.create_task(scenario(transport))  # type: ignore[arg-type]
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(None, ready)
            await asyncio.sleep(SHORT / 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await loop.run_in_executor(None, server.wait_until_closed)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        self.run(whole, **options)

    def test_cancelled_while_the_handshake_hangs(self) -> None:
        with RawServer(Connection.hang) as server:
            url = server.url.replace("http:", "https:")
            self.cancelled(server, lambda t: fetch(t, url), lambda: server.wait_for_connections(1))

    def test_cancelled_while_waiting_for_the_head(self) -> None:
        with RawServer(once(then="hang")) as server:
            self.cancelled(server, lambda t: fetch(t, server.url), lambda: server.wait_for_requests(1))

    def test_cancelled_while_waiting_for_the_head_through_tls(self, tmp_path: Path) -> None:
        certificate, context = self_signed(tmp_path)
        with RawServer(once(then="hang"), tls=context) as server:
            self.cancelled(
                server,
                lambda t: fetch(t, server.url),
                lambda: server.wait_for_requests(1),
                ca_bundle=str(certificate),
            )

    def test_cancelled_while_reading_the_body(self) -> None:
        with RawServer(once(CHUNKED + b"5\r\nhe", then="hang")) as server:
            self.cancelled(server, lambda t: fetch(t, server.url), lambda: server.wait_for_requests(1))

    def test_cancelled_while_a_large_body_is_written(self) -> None:
        def behaviour(connection: Connection) -> None:
            connection._sock.recv(10)
            connection._server._note(Received("", {}, b""))
            connection._server.stopping.wait(SHORT)

        with RawServer(behaviour) as server:
            self.cancelled(
                server,
                lambda t: fetch(t, server.url, body=bytes(30_000_000)),
                lambda: server.wait_for_requests(1),
            )

    def test_cancelled_while_waiting_for_the_pool_the_place_goes_to_the_next(self) -> None:
        go_on = threading.Event()

        async def scenario(transport: Transport) -> None:
            held = await transport.send(request(server.url), limits())
            first = asyncio.create_task(fetch(transport, server.url))
            second = asyncio.create_task(fetch(transport, server.url))
            for _ in range(5):
                await asyncio.sleep(0)
            await held.close()
            # The place was just promised to the first in the queue, who leaves.
            first.cancel()
            go_on.set()
            assert (await second)[0].status == 200
            with pytest.raises(asyncio.CancelledError):
                await first

        with RawServer(serve(in_two_parts(go_on))) as server:
            self.run(scenario, connections=1)

    def test_cancelled_at_any_step_it_leaves_no_connection_in_use(self) -> None:
        async def scenario(transport: Transport) -> int:
            finished = 0
            for steps in range(60):
                task = asyncio.create_task(fetch(transport, server.url))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    await task
                    finished += 1
                except asyncio.CancelledError:
                    pass
                # With one connection allowed, a lost one would show as a pool limit.
                assert (await fetch(transport, server.url, limits(pool=SHORT * 8)))[0].status == 200
                assert asyncio.all_tasks() == {asyncio.current_task()}
            return finished

        with RawServer(serve(echo)) as server:
            assert self.run(scenario, connections=1) < 60

    def test_a_cancellation_is_not_mistaken_for_a_limit(self) -> None:
        async def scenario(transport: Transport) -> None:
            task = asyncio.create_task(fetch(transport, server.url, limits(SHORT)))
            await asyncio.sleep(SHORT / 2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(AttemptTimeout):
                async with asyncio.timeout(LONG):
                    await fetch(transport, server.url, limits(SHORT))
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(SHORT):
                    await fetch(transport, server.url, limits(LONG))
            assert type(caught.value) is TimeoutError

        with RawServer(once(then="hang")) as server:
            self.run(scenario)

    def test_another_event_loop_is_told_apart(self) -> None:
        transport = self.make()

        async def first() -> None:
            await fetch(transport, server.url)

        async def second() -> None:
            with pytest.raises(UsageError, match="another event loop"):
                await fetch(transport, server.url)

        with RawServer(serve(echo)) as server:
            runner = asyncio.new_event_loop()
            try:
                runner.run_until_complete(first())
                asyncio.run(second())
                runner.run_until_complete(transport.close())
            finally:
                runner.close()
