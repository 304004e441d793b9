"""What every transport must make of the bytes it reads: framing, size, compression."""

# ruff: noqa: S101 - these are tests, shipped in a package

from __future__ import annotations

import gzip
import threading
import time
import zlib

import pytest

from penstock.errors import ResponseTooLarge, TransferError
from penstock.http import Transport
from penstock_testkit.raw_server import Connection, RawServer, serve
from penstock_testkit.transport_scenarios import (
    CHUNKED,
    LONG,
    Conformance,
    echo,
    fetch,
    limits,
    once,
    request,
)


class FramingConformance(Conformance, standard=True):
    """Bodies and heads, whole and broken."""

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

        read = 0

        async def scenario(transport: Transport) -> None:
            nonlocal read
            exchange = await transport.send(request(server.url), limits(max_bytes=1_000_000))
            try:
                while piece := await exchange.read(time.monotonic() + LONG):
                    read += len(piece)
            finally:
                await exchange.close()

        behaviour = serve(lambda c, r: c.answer(packed, headers=f"content-encoding: {encoding}\r\n"))
        with RawServer(behaviour) as server, pytest.raises(ResponseTooLarge, match="1000000 bytes"):
            self.run(scenario)
        assert read <= 1_000_000

    def test_a_body_may_have_exactly_the_limit_and_not_a_byte_more(self) -> None:
        with RawServer(serve(lambda c, r: c.answer(bytes(5000)))) as server:
            _, body = self.run(lambda t: fetch(t, server.url, limits(max_bytes=5000)))
            assert len(body) == 5000
            self.fails_with(ResponseTooLarge, server.url, limits(max_bytes=4999))

    @pytest.mark.parametrize(
        ("encoding", "body"),
        [
            ("gzip", b"plain text"),
            ("gzip", gzip.compress(b"x" * 999, mtime=0)[:-9]),
            ("br", b"\x0b\x02\x80hello\x03"),
        ],
    )
    def test_a_body_that_cannot_be_unpacked_is_a_transfer_error(self, encoding: str, body: bytes) -> None:
        with RawServer(
            serve(lambda c, r: c.answer(body, headers=f"content-encoding: {encoding}\r\n"))
        ) as server:
            self.fails_with(TransferError, server.url)
