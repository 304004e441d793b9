"""How long a transport may wait, and what becomes of its connections."""

# ruff: noqa: S101 - these are tests, shipped in a package

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

from penstock.errors import AttemptTimeout, ConnectError, TransferError, UsageError
from penstock.http import Limits, Transport
from penstock_testkit.raw_server import Connection, RawServer, Received, serve
from penstock_testkit.transport_scenarios import (
    CHUNKED,
    LONG,
    SECRET,
    SHORT,
    Conformance,
    echo,
    fetch,
    in_two_parts,
    limits,
    once,
    request,
    unused_port,
)


class LimitConformance(Conformance, standard=True):
    """Nothing outlasts its limit."""

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


class ConnectionConformance(Conformance, standard=True):
    """Connections are used again, and given up, when they should."""

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
