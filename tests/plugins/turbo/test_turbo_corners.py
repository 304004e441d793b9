"""Corners of penstock-turbo that the conformance suite cannot reach for every transport."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from penstock import Client
from penstock.errors import (
    AttemptTimeout,
    ConfigError,
    ConnectError,
    PenstockError,
    TransferError,
    UsageError,
)
from penstock.http import Limits
from penstock.runtime import drive
from penstock_testkit.raw_server import Connection, RawServer, Received, serve
from penstock_testkit.transport_scenarios import (
    CHUNKED,
    LONG,
    SECRET,
    SHORT,
    echo,
    fetch,
    limits,
    once,
    request,
    self_signed,
)
from penstock_turbo.asynchronous import AsyncExchange, AsyncTransport
from penstock_turbo.blocking import BlockingTransport
from penstock_turbo.config import TurboConfig
from penstock_turbo.connection import Connection as Open
from penstock_turbo.plugin import penstock_register_transports
from penstock_turbo.response import Responses
from penstock_wire.config import WireConfig
from penstock_wire.deadlines import Deadlines
from penstock_wire.incoming import ProtocolError
from penstock_wire.tls import Trust

Run = Callable[..., Any]


@pytest.fixture(params=["blocking", "async"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a scenario against a transport of a colour, and closes it: `run(scenario, **config)`."""

    def go(scenario: Callable[[Any], Coroutine[Any, Any, Any]], **options: Any) -> Any:
        kind: Any = BlockingTransport if request.param == "blocking" else AsyncTransport

        async def whole() -> Any:
            transport = kind(TurboConfig(**options), environ={})
            try:
                return await scenario(transport)
            finally:
                await transport.close()

        return drive(whole()) if request.param == "blocking" else asyncio.run(whole())

    return go


def failure(run: Run, url: str, bounds: Limits | None = None, **options: Any) -> PenstockError:
    """The error a whole exchange ends with."""

    async def scenario(transport: Any) -> PenstockError:
        with pytest.raises(PenstockError) as caught:
            await fetch(transport, url, bounds, headers={"authorization": f"Bearer {SECRET}"})
        return caught.value

    error: PenstockError = run(scenario, **options)
    return error


# Both colours


def test_no_error_on_the_way_through_a_proxy_shows_a_credential(run: Run, tmp_path: Path) -> None:
    certificate, _ = self_signed(tmp_path)
    behaviours = {
        "refused the tunnel (status 407)": once(b"HTTP/1.1 407 No\r\n\r\n"),
        "the proxy closed the connection": once(),
        "no valid HTTP": once(f"{SECRET}\r\n\r\n".encode()),
        "bytes behind its answer": once(b"HTTP/1.1 200 OK\r\n\r\n" + SECRET.encode()),
        "too long": once(b"v" * 70_000, then="hang"),
        "TLS failed": tunnel_without_tls,
        "not connected in time": once(then="hang"),
    }
    for words, behaviour in behaviours.items():
        with RawServer(behaviour) as proxy:
            error = failure(
                run,
                f"https://user:{SECRET}@service.test/v1?key={SECRET}",
                limits(connect=SHORT if "time" in words else LONG),
                proxy=proxy.url.replace("://", f"://ann:{SECRET}@"),
                ca_bundle=str(certificate),
            )
        assert words in str(error)
        assert SECRET not in "".join(traceback.format_exception(error))
        assert isinstance(error, (ConnectError, AttemptTimeout))


def tunnel_without_tls(connection: Connection) -> None:
    connection.receive()
    connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
    connection._sock.recv(65536)
    connection.send(b"no TLS at all")


def test_an_ipv6_server_is_named_in_brackets_to_the_proxy(run: Run) -> None:
    with RawServer(once(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")) as proxy:
        failure(run, "https://[2001:db8::1]/v1", proxy=proxy.url)
    assert proxy.requests[0].line == "CONNECT [2001:db8::1]:443 HTTP/1.1"
    assert proxy.requests[0].headers == {"host": "[2001:db8::1]:443"}


def test_servers_behind_one_forwarding_proxy_share_a_connection(run: Run) -> None:
    async def scenario(transport: Any) -> None:
        for name in ("one", "two"):
            assert (await fetch(transport, f"http://{name}.test/", body=b"x"))[1] == b"x"

    with RawServer(serve(echo)) as proxy:
        run(scenario, proxy=proxy.url)
    assert proxy.accepted == 1


def test_a_host_name_no_resolver_takes_is_a_connect_error(run: Run) -> None:
    assert type(failure(run, f"http://{'a' * 70}.test/")) is ConnectError


def test_a_body_that_waits_too_long_to_be_taken_arrives_whole(run: Run) -> None:
    """Nobody reads for a while: reading pauses, and goes on when somebody does."""
    body = os.urandom(3_000_000)
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(body[at : at + 5000]), body[at : at + 5000])
        for at in range(0, len(body), 5000)
    )

    async def scenario(transport: Any) -> None:
        for _ in range(2):
            exchange = await transport.send(request(server.url, stream=True), limits(max_bytes=1 << 22))
            if isinstance(transport, AsyncTransport):
                # The loop runs on; what the kernel and the connection hold is all that may arrive.
                for _ in range(50):
                    await asyncio.sleep(0.001)
                assert exchange._responses.size < 1_000_000
            assert await exchange.read_all(time.monotonic() + LONG) == body
            await exchange.close(reuse=True)

    with RawServer(serve(lambda c, r: c.send(CHUNKED + chunks + b"0\r\n\r\n"))) as server:
        run(scenario)
    assert server.accepted == 1


def test_good_data_is_handed_over_before_what_is_wrong_behind_it(run: Run) -> None:
    async def scenario(transport: Any) -> None:
        exchange = await transport.send(request(server.url, stream=True), limits())
        assert exchange.head.status == 200
        assert await exchange.read(time.monotonic() + LONG) == b"ok"
        with pytest.raises(TransferError, match="no valid HTTP"):
            await exchange.read(time.monotonic() + LONG)
        await exchange.close(reuse=True)

    with RawServer(once(CHUNKED + b"2\r\nok\r\nbroken\r\n", then="hang")) as server:
        run(scenario)
        assert server.wait_until_closed()


def test_one_slow_answer_does_not_hold_up_the_others(run: Run) -> None:
    async def scenario(transport: Any) -> None:
        slow = await transport.send(request(server.url, body=b"slow"), limits())
        for number in range(3):
            assert (await fetch(transport, server.url, body=b"%d" % number))[1] == b"%d" % number
        await slow.close()

    def answer(connection: Connection, received: Received) -> None:
        if received.body == b"slow":
            connection.send(CHUNKED + b"1\r\nx\r\n")
            connection.hang()
        else:
            echo(connection, received)

    with RawServer(serve(answer)) as server:
        run(scenario)
    assert server.accepted == 2


def test_reading_a_closed_exchange_is_a_mistake(run: Run) -> None:
    async def scenario(transport: Any) -> None:
        exchange = await transport.send(request(server.url), limits())
        await exchange.close()
        with pytest.raises(UsageError):
            await exchange.read(time.monotonic() + LONG)
        assert SECRET not in repr(exchange)

    with RawServer(serve(echo)) as server:
        run(scenario)


def test_the_connection_of_an_origin_that_was_evicted_is_closed() -> None:
    transport = BlockingTransport(TurboConfig(pool_connections=1), environ={})
    with RawServer(serve(echo)) as one, RawServer(serve(echo)) as two:
        for server in (one, two):
            drive(fetch(transport, server.url))
        assert one.wait_until_closed()
        drive(transport.close())


# Async


def test_a_limit_that_is_reached_together_with_bytes_lets_them_through() -> None:
    async def scenario() -> None:
        transport = AsyncTransport(TurboConfig(), environ={})
        exchange = await transport.send(request(server.url, stream=True), limits())
        connection: Any = exchange._connection
        reading = asyncio.create_task(exchange.read(time.monotonic() + LONG))
        await asyncio.sleep(0)
        connection.get_buffer(-1)[:7] = b"2\r\nok\r\n"
        connection.buffer_updated(7)
        connection.expire()
        assert await reading == b"ok"
        reading = asyncio.create_task(exchange.read(time.monotonic() + LONG))
        await asyncio.sleep(0)
        connection.expire()
        with pytest.raises(AttemptTimeout):
            await reading
        await exchange.close()
        await transport.close()

    with RawServer(once(CHUNKED, then="hang")) as server:
        asyncio.run(scenario())


def test_an_idle_connection_is_closed_after_its_time_without_another_call() -> None:
    async def scenario() -> None:
        transport = AsyncTransport(TurboConfig(keepalive=SHORT / 5), environ={})
        await fetch(transport, server.url)
        assert await asyncio.get_running_loop().run_in_executor(None, server.wait_until_closed)
        opened: Any = transport._opened
        assert opened.places._origins == {}
        assert opened.places._sweep is None
        await transport.close()

    with RawServer(serve(echo)) as server:
        asyncio.run(scenario())


def test_a_connection_that_was_lost_before_it_is_written_to_sends_nothing() -> None:
    async def scenario() -> None:
        transport = AsyncTransport(TurboConfig(), environ={})
        await fetch(transport, server.url)
        opened: Any = transport._opened
        (connection,) = opened.connections
        connection.abort()
        with pytest.raises(Exception, match="before the request was sent"):
            connection.write(b"GET", b"")
        assert (await fetch(transport, server.url))[0].status == 200
        await transport.close()

    with RawServer(serve(echo)) as server:
        asyncio.run(scenario())
    assert (server.accepted, len(server.requests)) == (2, 2)


def test_a_connection_whose_request_was_not_taken_whole_is_not_used_again() -> None:
    """A server may answer early; what it has not read yet would stand before the next request."""

    async def scenario() -> None:
        transport = AsyncTransport(TurboConfig(), environ={})
        assert (await fetch(transport, server.url, body=bytes(30_000_000)))[1] == b"early"
        assert (await fetch(transport, server.url))[1] == b"early"
        await transport.close()

    def early(connection: Connection) -> None:
        connection._sock.recv(1000)
        connection.answer(b"early")
        connection._server.stopping.wait(SHORT)

    with RawServer(early) as server:
        asyncio.run(scenario())
    assert server.accepted == 2


def test_closing_the_transport_ends_what_is_under_way() -> None:
    async def scenario() -> None:
        transport = AsyncTransport(TurboConfig(limit_per_host=1), environ={})
        held = asyncio.create_task(fetch(transport, server.url))
        waiting = asyncio.create_task(fetch(transport, server.url))
        assert await asyncio.get_running_loop().run_in_executor(None, server.wait_for_requests, 1)
        await transport.close()
        for task in (held, waiting):
            with pytest.raises(UsageError, match="closed during the request"):
                await task
        assert await asyncio.get_running_loop().run_in_executor(None, server.wait_until_closed)

    with RawServer(once(then="hang")) as server:
        asyncio.run(scenario())


def test_what_outlived_its_loop_is_closed_without_an_error() -> None:
    transport: Any = AsyncTransport(TurboConfig(), environ={})

    async def leave() -> Any:
        await fetch(transport, server.url)
        return await transport.send(request(server.url), limits())

    with RawServer(serve(echo)) as server:
        exchange: Any = asyncio.run(leave())
        asyncio.run(exchange.close(reuse=True))
        asyncio.run(transport.close())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # asyncio's, of the connection that was left
            transport = exchange = None
            gc.collect()
        assert server.wait_until_closed()


def test_a_hundred_calls_leave_nothing_behind() -> None:
    def alive(kind: type) -> int:
        gc.collect()
        return sum(isinstance(thing, kind) for thing in gc.get_objects())

    async def scenario() -> None:
        transport = AsyncTransport(TurboConfig(), environ={})
        before = [alive(kind) for kind in (Open, Responses, AsyncExchange)]
        for number in range(100):
            await fetch(transport, server.url, body=b"bad" if number % 2 else b"good")
        await asyncio.sleep(0)
        opened: Any = transport._opened
        count = len(opened.connections)
        assert [alive(kind) for kind in (Open, Responses, AsyncExchange)] == [
            before[0] + count,
            before[1] + count,
            before[2],
        ]
        assert opened.deadlines._waiting == set()
        assert opened.places._used == 0
        assert sum(len(origin.idle) for origin in opened.places._origins.values()) == count
        await transport.close()

    def answer(connection: Connection, received: Received) -> None:
        connection.answer(b"x", headers="connection: close\r\n" if received.body == b"bad" else "")
        if received.body == b"bad":
            connection.close()

    with RawServer(serve(answer)) as server:
        asyncio.run(scenario())


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="this system does not list descriptors")
def test_a_thousand_calls_at_once_leave_no_descriptor_and_no_task() -> None:
    def descriptors() -> int:
        gc.collect()  # what other tests left
        return sum(1 for _ in Path("/dev/fd").iterdir())

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        before = descriptors()
        transport = AsyncTransport(TurboConfig(limit=50, limit_per_host=50), environ={})

        async def call(number: int) -> bytes:
            body = b"%d" % number
            if number % 10 == 3:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0):
                        await fetch(transport, server.url, body=body)
                return body
            return (await fetch(transport, server.url, body=body))[1]

        answers = await asyncio.gather(*(call(number) for number in range(1000)))
        assert answers == [b"%d" % number for number in range(1000)]
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await transport.close()
        assert await loop.run_in_executor(None, server.wait_until_closed)
        # Worker threads of the loop have none of their own.
        assert descriptors() == before

    with RawServer(serve(echo)) as server:
        asyncio.run(scenario())


# What the package promises


def test_the_plugin_registers_one_transport_in_both_colours() -> None:
    (spec,) = penstock_register_transports()
    assert (spec.name, spec.config) == ("turbo", TurboConfig)
    assert spec.blocking is not None
    assert spec.asynchronous is not None


def test_its_settings_are_those_of_wire_so_that_one_replaces_the_other() -> None:
    assert set(TurboConfig.model_fields) == set(WireConfig.model_fields)


@pytest.mark.parametrize("client", ["Client", "AsyncClient"])
def test_a_call_over_it_imports_neither_requests_nor_aiohttp(client: str) -> None:
    script = f"""
import asyncio, sys
from penstock import {client}, ConnectError
options = dict(
    environ={{}},
    config={{"transport": "turbo", "providers": {{"openai": {{"api_key": "k", "base_url": {{url}}}}}}}},
)
def blocking():
    with Client(**options) as client:
        client.chat("openai/gpt-4o", "Hello")
async def asynchronous():
    async with AsyncClient(**options) as client:
        await client.chat("openai/gpt-4o", "Hello")
try:
    blocking() if "{client}" == "Client" else asyncio.run(asynchronous())
except ConnectError:
    print([name for name in ("requests", "urllib3", "aiohttp") if name in sys.modules])
"""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = subprocess.run(
        [sys.executable, "-c", script.replace("{url}", f'"http://127.0.0.1:{port}/v1"')],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_a_table_of_the_transport_that_is_not_used_is_an_error_before_anything_is_sent() -> None:
    config = {"transport": "turbo", "wire": {"block_private": True}, "pipeline": []}
    with pytest.raises(ConfigError, match=r"\[wire\] has no effect.*move what it says to \[turbo\]"):
        Client(config=config, environ={})


def test_a_server_that_speaks_before_it_is_asked_is_not_asked() -> None:
    class Wire:
        written = b""

        def is_closing(self) -> bool:
            return False

        def write(self, data: bytes) -> None:
            self.written += data

    async def scenario() -> None:
        wire: Any = Wire()
        buffer = memoryview(bytearray(64))
        connection = Open(asyncio.get_running_loop(), Deadlines(asyncio.get_running_loop()), buffer, 100, id)
        connection.connection_made(wire)
        said = b"HTTP/1.1 429 Too Many Requests\r\n\r\n"
        buffer[: len(said)] = said
        connection.buffer_updated(len(said))
        with pytest.raises(ProtocolError, match="spoke before it was asked"):
            connection.write(b"GET / HTTP/1.1\r\n\r\n", b"")
        assert wire.written == b""

    asyncio.run(scenario())


def test_a_trust_store_is_the_one_named_when_the_transport_was_made(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    trust = Trust(TurboConfig(), environ)
    environ["SSL_CERT_FILE"] = str(tmp_path / "missing.pem")
    assert trust.context().cert_store_stats()["x509_ca"] > 0
