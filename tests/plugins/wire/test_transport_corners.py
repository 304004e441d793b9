"""
Corners that the conformance suite cannot reach for every transport: first those of both of ours of a colour,
then those of `penstock_wire`'s alone.
"""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from typing import Any

import pytest

from penstock.errors import AttemptTimeout, TransferError
from penstock.http import Limits
from penstock.runtime import drive
from penstock_testkit.raw_server import Connection, RawServer, Received, serve
from penstock_testkit.transport_scenarios import CHUNKED, LONG, echo, fetch, limits, once, request
from penstock_turbo import asynchronous as turbo_async
from penstock_turbo import blocking as turbo_blocking
from penstock_turbo.config import TurboConfig
from penstock_wire.asynchronous import AsyncTransport
from penstock_wire.blocking import BlockingTransport
from penstock_wire.config import WireConfig

BLOCKING: list[tuple[Any, Any]] = [
    (BlockingTransport, WireConfig),
    (turbo_blocking.BlockingTransport, TurboConfig),
]
ASYNC: list[tuple[Any, Any]] = [(AsyncTransport, WireConfig), (turbo_async.AsyncTransport, TurboConfig)]
each_blocking = pytest.mark.parametrize(("kind", "config"), BLOCKING, ids=("wire", "turbo"))
each_async = pytest.mark.parametrize(("kind", "config"), ASYNC, ids=("wire", "turbo"))


@each_blocking
def test_an_origin_that_was_evicted_is_reached_again(kind: Any, config: Any) -> None:
    transport = kind(config(pool_connections=1), environ={})
    with RawServer(serve(echo)) as one, RawServer(serve(echo)) as two:
        for _ in range(2):
            for server in (one, two):
                assert drive(fetch(transport, server.url, body=b"x"))[1] == b"x"
        drive(transport.close())


@each_blocking
def test_the_answer_of_a_server_that_stopped_listening_is_read(kind: Any, config: Any) -> None:
    def refuse(connection: Connection) -> None:
        # Closing with unread data resets the connection, behind the answer.
        connection._sock.recv(100)
        connection.answer(b"too large", status="413 Content Too Large", headers="connection: close\r\n")

    transport = kind(config(), environ={})
    with RawServer(refuse) as server:
        head, body = drive(fetch(transport, server.url, body=bytes(30_000_000)))
        drive(transport.close())
    assert (head.status, body) == (413, b"too large")


@each_blocking
def test_limits_are_readings_of_the_injected_clock(kind: Any, config: Any) -> None:
    reading = 1000.0
    transport = kind(config(), clock=lambda: reading, environ={})
    late = Limits(connect=LONG, pool=LONG, due=reading - 1, max_bytes=100)
    with RawServer(serve(echo)) as server:
        with pytest.raises(AttemptTimeout):
            drive(transport.send(request(server.url), late))
        assert (
            drive(fetch(transport, server.url, Limits(connect=5, pool=5, due=1010, max_bytes=9)))[0].status
            == 200
        )
        drive(transport.close())


@each_blocking
def test_the_environment_is_read_once(kind: Any, config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    transport = kind(config())
    with RawServer(serve(echo)) as proxy, RawServer(serve(echo)) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        drive(fetch(transport, server.url))
        drive(transport.close())
    assert (proxy.accepted, server.accepted) == (0, 1)


@each_async
def test_what_arrived_before_an_async_connection_broke_is_delivered_first(kind: Any, config: Any) -> None:
    async def scenario() -> None:
        transport = kind(config(), environ={})
        exchange = await transport.send(request(server.url, stream=True), limits())
        await asyncio.get_running_loop().run_in_executor(None, server.wait_until_closed)
        assert await exchange.read(time.monotonic() + LONG) == b"one"
        with pytest.raises(TransferError):
            await exchange.read(time.monotonic() + LONG)
        await exchange.close()
        await transport.close()

    def behaviour(connection: Connection) -> None:
        connection.receive()
        connection.send(CHUNKED + b"3\r\none\r\n")

    with RawServer(behaviour) as server:
        asyncio.run(scenario())


def test_a_limit_that_is_reached_together_with_bytes_lets_them_through() -> None:
    async def scenario() -> None:
        transport = AsyncTransport(WireConfig(), environ={})
        exchange = await transport.send(request(server.url, stream=True), limits())
        reading = asyncio.create_task(exchange.read(time.monotonic() + LONG))
        await asyncio.sleep(0)
        exchange._content.feed_data(b"just in time")
        exchange.expire()
        assert await reading == b"just in time"
        exchange._content.feed_data(b"more")
        assert await exchange.read(time.monotonic() + LONG) == b"more"
        reading = asyncio.create_task(exchange.read(time.monotonic() + LONG))
        await asyncio.sleep(0)
        exchange.expire()
        with pytest.raises(AttemptTimeout):
            await reading
        await exchange.close()
        await transport.close()

    with RawServer(once(CHUNKED, then="hang")) as server:
        asyncio.run(scenario())


def test_a_hundred_calls_leave_nothing_behind() -> None:
    made: list[weakref.ref[Any]] = []

    async def scenario() -> None:
        transport = AsyncTransport(WireConfig(), environ={})
        for _ in range(100):
            exchange = await transport.send(request(server.url), limits())
            made.append(weakref.ref(exchange._response))
            await exchange.read_all(time.monotonic() + LONG)
            await exchange.close(reuse=True)
        del exchange
        gc.collect()
        assert [reference() for reference in made if reference() is not None] == []
        assert transport._deadlines is not None
        assert not transport._deadlines._waiting
        await transport.close()

    def answer(connection: Connection, received: Received) -> None:
        connection.answer(b"x" * 1000)

    with RawServer(serve(answer)) as server:
        asyncio.run(scenario())
