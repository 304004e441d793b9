"""The transport in virtual time: limits, errors and leaks, in three colours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from penstock.errors import (
    AttemptTimeout,
    ConnectError,
    InvalidRequestError,
    ResponseTooLarge,
    TransferError,
    UsageError,
)
from penstock.http import HttpRequest, Limits
from penstock.runtime import BlockingRuntime, drive
from penstock.simulated import SimulatedRuntime
from penstock_testkit import SimulatedTransport, Simulator, faults
from penstock_testkit.plan import Close, Data, Head

NEVER = float("inf")
Build = Callable[[Simulator], BlockingRuntime]
MakeLimits = Callable[..., Limits]


def post(*, stream: bool = False, headers: dict[str, str] | None = None, **fields: Any) -> HttpRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "stream": stream, **fields}
    return HttpRequest(
        "POST", "http://sim.test/v1/chat/completions", headers or {}, json.dumps(body).encode(), stream
    )


def test_an_answer_takes_no_time_and_is_counted(blocking: Build, limits: MakeLimits, clock: Any) -> None:
    simulator = Simulator(text="Hi.")
    runtime = blocking(simulator)
    exchange = drive(runtime.transport.send(post(headers={"Accept": "*/*"}), limits()))
    assert exchange.head.status == 200
    assert exchange.head.headers["content-type"] == "application/json"
    assert exchange.head.received == 1_767_225_600.0 + clock.now
    assert json.loads(drive(exchange.read_all(NEVER)))["choices"][0]["message"]["content"] == "Hi."
    assert drive(exchange.read(NEVER)) == b""
    assert clock.slept == []
    (request,) = simulator.requests
    assert (request.path, request.at, request.headers["accept"]) == ("/v1/chat/completions", 100.0, "*/*")


def test_each_read_of_a_stream_brings_one_event(blocking: Build, limits: MakeLimits) -> None:
    runtime = blocking(Simulator(text="a b"))
    exchange = drive(runtime.transport.send(post(stream=True), limits()))
    events = []
    while data := drive(exchange.read(NEVER)):
        events.append(data)
    assert len(events) == 5
    assert all(event.startswith(b"data: ") and event.endswith(b"\n\n") for event in events)


@pytest.mark.parametrize("fault", [faults.hang(), faults.slow_first_token(7200)])
def test_a_head_that_is_late_times_out_exactly_when_due(
    blocking: Build, limits: MakeLimits, clock: Any, fault: faults.Fault
) -> None:
    runtime = blocking(Simulator([fault]))
    with pytest.raises(AttemptTimeout) as caught:
        drive(runtime.transport.send(post(), limits(60.0)))
    assert (caught.value.phase, clock.now) == ("read", 160.0)
    assert runtime.transport.open == ()  # type: ignore[attr-defined]


def test_a_pause_that_ends_in_time_is_waited_for(blocking: Build, limits: MakeLimits, clock: Any) -> None:
    runtime = blocking(Simulator([faults.slow_first_token(60.0)]))
    exchange = drive(runtime.transport.send(post(), limits(60.0)))
    assert (exchange.head.status, clock.now) == (200, 160.0)


def test_a_hang_in_a_stream_times_out_when_the_read_is_due(
    blocking: Build, limits: MakeLimits, clock: Any
) -> None:
    runtime = blocking(Simulator([faults.hang(after=1)]))
    exchange = drive(runtime.transport.send(post(stream=True), limits()))
    assert drive(exchange.read(clock.now + 5))
    assert drive(exchange.read(clock.now + 5))
    with pytest.raises(AttemptTimeout):
        drive(exchange.read(clock.now + 5))
    assert clock.now == 105.0
    with pytest.raises(AttemptTimeout):
        drive(exchange.read(clock.now + 5))


def test_drips_cannot_outlast_a_reading_of_the_whole(blocking: Build, limits: MakeLimits, clock: Any) -> None:
    runtime = blocking(Simulator([faults.drip(1.0, size=8)]))
    exchange = drive(runtime.transport.send(post(), limits()))
    with pytest.raises(AttemptTimeout):
        drive(exchange.read_all(clock.now + 10.5))
    assert clock.now == 110.5


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.refuse(), ConnectError),
        (faults.reset(), TransferError),
        (faults.cut(after=None), TransferError),
    ],
)
def test_a_break_before_the_head_is_told_by_send(
    blocking: Build, limits: MakeLimits, fault: faults.Fault, error: type[Exception]
) -> None:
    simulator = Simulator([fault])
    with pytest.raises(error):
        drive(blocking(simulator).transport.send(post(), limits()))
    assert simulator.count() == 1


@pytest.mark.parametrize("make", [faults.reset, faults.cut])
def test_a_break_in_the_body_is_told_by_read_and_stays(
    blocking: Build, limits: MakeLimits, make: Callable[..., faults.Fault]
) -> None:
    exchange = drive(blocking(Simulator([make(after=1)])).transport.send(post(), limits()))
    assert drive(exchange.read(NEVER)).startswith(b'{"id"')
    for _ in range(2):
        with pytest.raises(TransferError):
            drive(exchange.read(NEVER))


def test_a_body_framed_by_the_connection_may_end_with_it(blocking: Build, limits: MakeLimits) -> None:
    plan = (Head(200, framing="eof"), Data(b"all"), Close())
    runtime = blocking(Simulator([faults.Fault("eof()", lambda _, occasion: plan)]))
    exchange = drive(runtime.transport.send(post(), limits()))
    assert drive(exchange.read_all(NEVER)) == b"all"


def test_a_body_longer_than_allowed_is_refused(blocking: Build, limits: MakeLimits) -> None:
    runtime = blocking(Simulator([faults.oversized()]))
    exchange = drive(runtime.transport.send(post(), limits(max_bytes=1_000_000)))
    with pytest.raises(ResponseTooLarge, match="1000000 bytes"):
        drive(exchange.read_all(NEVER))


def test_what_is_open_is_known_until_it_is_closed(blocking: Build, limits: MakeLimits) -> None:
    transport: Any = blocking(Simulator()).transport
    first = drive(transport.send(post(), limits()))
    second = drive(transport.send(post(), limits()))
    assert set(transport.open) == {first, second}
    drive(first.close(reuse=True))
    drive(first.close())
    assert (transport.open, first.reused) == ((second,), True)
    drive(transport.close())
    drive(transport.close())
    assert transport.open == ()
    with pytest.raises(TransferError, match="closed"):
        drive(second.read(NEVER))
    with pytest.raises(UsageError, match="closed"):
        drive(transport.send(post(), limits()))


@pytest.mark.parametrize(
    "request_",
    [post(headers={"authorization": "Bearer secret\n"}), HttpRequest("GET", "no-scheme", {})],
)
def test_what_cannot_be_sent_is_refused_without_showing_it(
    blocking: Build, limits: MakeLimits, request_: HttpRequest
) -> None:
    simulator = Simulator()
    with pytest.raises(InvalidRequestError) as caught:
        drive(blocking(simulator).transport.send(request_, limits()))
    assert "secret" not in str(caught.value)
    assert simulator.count() == 0


def test_a_transport_without_a_runtime_says_so(limits: MakeLimits) -> None:
    with pytest.raises(UsageError, match="runtime"):
        drive(SimulatedTransport(Simulator()).send(post(), limits()))


def test_a_hang_that_nothing_can_end_is_refused_in_blocking_time(blocking: Build, limits: MakeLimits) -> None:
    with pytest.raises(UsageError, match="no limit"):
        drive(blocking(Simulator([faults.hang()])).transport.send(post(), limits(NEVER)))


async def answers(runtime: Any, transport: Any) -> tuple[bytes, float]:
    exchange = await transport.send(
        post(stream=True), Limits(connect=5, pool=5, due=NEVER, max_bytes=1 << 20)
    )
    try:
        return await exchange.read_all(NEVER), runtime.now()
    finally:
        await exchange.close()


def test_simulated_calls_run_beside_each_other(limits: MakeLimits) -> None:
    transport = Simulator([faults.drip(10.0)] * 50).transport()
    runtime = SimulatedRuntime(transport, seed=3)
    transport.runtime = runtime
    tasks = [runtime.spawn(answers(runtime, transport)) for _ in range(50)]
    runtime.run(all_done(tasks, runtime))
    # Each waits for its own ten events (role, seven words, finish, [DONE]), not for those of the others.
    assert {task.result()[1] for task in tasks} == {100.0}
    assert transport.open == ()


async def all_done(tasks: list[Any], runtime: SimulatedRuntime) -> None:
    while not all(task.done for task in tasks):
        await runtime.sleep(1.0)


def test_an_asyncio_call_that_is_cancelled_leaves_nothing_open() -> None:
    from penstock.asynchronous import AsyncioRuntime

    async def main() -> tuple[int, int]:
        transport = Simulator([faults.hang(after=1), faults.hang()]).transport()
        transport.runtime = AsyncioRuntime(transport)
        calls = [asyncio.create_task(answers(transport.runtime, transport)) for _ in range(2)]
        while transport.simulator.count() < 2 or not transport.opened:
            await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        return len(transport.open), transport.opened

    assert asyncio.run(main()) == (0, 1)
