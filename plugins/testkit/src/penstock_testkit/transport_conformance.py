"""
What every HTTP transport must do, as tests to inherit.

    class TestMine(TransportConformance, ThreadConformance):
        colour = "blocking"

        def make(self, **options): return MyTransport(...)

`ThreadConformance` and `CancellationConformance` hold what only one colour can show. A standard test is
skipped or replaced only by name and with a reason (see `standard.py`). Import this from tests only: it needs
pytest. For readable failures, name the modules of the suite to `pytest.register_assert_rewrite` in a
conftest.
"""

# ruff: noqa: S101 - these are tests, shipped in a package

from __future__ import annotations

import asyncio
import os
import threading
import warnings
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import AttemptTimeout, TransferError, UsageError
from penstock.http import Transport
from penstock.runtime import drive
from penstock_testkit.raw_server import Connection, RawServer, Received, serve
from penstock_testkit.transport_framing import FramingConformance
from penstock_testkit.transport_limits import ConnectionConformance, LimitConformance
from penstock_testkit.transport_messages import MessageConformance
from penstock_testkit.transport_routes import RouteConformance
from penstock_testkit.transport_scenarios import (
    CHUNKED,
    LONG,
    SHORT,
    Conformance,
    echo,
    fetch,
    in_two_parts,
    limits,
    once,
    request,
    self_signed,
)


class TransportConformance(
    MessageConformance,
    FramingConformance,
    LimitConformance,
    ConnectionConformance,
    RouteConformance,
    standard=True,
):
    """What every transport must do."""


class ThreadConformance(Conformance, standard=True):
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
            drive(transport.close())
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
            drive(transport.close())
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
                    drive(transport.close())
                finally:
                    os._exit(0 if good else 1)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0
            assert call()
            drive(transport.close())
        assert server.accepted == 2


class CancellationConformance(Conformance, standard=True):
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
            task = asyncio.create_task(scenario(transport))
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

    @pytest.mark.parametrize("written", [b"", CHUNKED + b"5\r\nhe"])
    def test_cancelled_while_a_tls_server_ignores_the_farewell(self, written: bytes, tmp_path: Path) -> None:
        certificate, context = self_signed(tmp_path)
        with RawServer(once(written, then="ignore"), tls=context) as server:
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
        left = threading.Event()

        def behaviour(connection: Connection) -> None:
            connection._sock.recv(10)
            connection._server._note(Received("", {}, b""))
            left.wait(LONG)

        async def write(transport: Transport) -> None:
            try:
                await fetch(transport, server.url, body=bytes(30_000_000))
            finally:
                left.set()

        with RawServer(behaviour) as server:
            self.cancelled(server, write, lambda: server.wait_for_requests(1))

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
