"""Sixty-four threads against one limit, switching as often as the interpreter can."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from penstock import Client, RateLimited
from penstock.runtime import BlockingRuntime
from penstock_limiter import rate_limited
from penstock_testkit import Simulator

THREADS = 64


@pytest.fixture(autouse=True)
def switching() -> Iterator[None]:
    """Threads change places every microsecond."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def run(work: Callable[[int], None]) -> None:
    """The work in every thread at once; what one raises is raised here."""
    failed: list[BaseException] = []
    start = threading.Barrier(THREADS)

    def body(number: int) -> None:
        try:
            start.wait()
            work(number)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=body, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread waits for ever"
    if failed:
        raise failed[0]


def test_no_more_are_inside_than_permits_and_none_is_lost() -> None:
    limit = rate_limited(concurrency=5, max_wait=60)
    inside = 0
    most = 0
    lock = threading.Lock()

    @limit
    def work() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        with lock:
            inside -= 1

    def many(number: int) -> None:
        for _ in range(20):
            work()

    run(many)
    counts = limit.stats()
    assert most <= 5
    assert counts.admitted == THREADS * 20
    assert (counts.in_flight, counts.waiting, counts.limits["rate_limited"]["available_permits"]) == (0, 0, 5)


def test_a_burst_is_never_exceeded_when_everybody_comes_at_once() -> None:
    limit = rate_limited(rate="1/h", burst=10, mode="nowait")
    admitted: list[int] = []

    def many(number: int) -> None:
        for _ in range(5):
            try:
                with limit:
                    admitted.append(number)
            except RateLimited:
                pass

    run(many)
    assert len(admitted) == 10
    assert limit.stats().rejected == THREADS * 5 - 10


def test_one_client_in_many_threads_keeps_its_limits_and_the_lock_is_not_held_through_the_call() -> None:
    """pybreaker holds its lock through the call, which makes every caller wait for the slowest."""
    simulator = Simulator()
    inside = 0
    most = 0
    together = threading.Barrier(4)
    lock = threading.Lock()

    class Upstream:
        """Lets nobody through before four are inside at once: a lock held through the call would hang."""

        def __init__(self) -> None:
            self._plays = simulator.transport()
            self._plays.runtime = BlockingRuntime(self._plays)

        async def send(self, request: Any, limits: Any) -> Any:
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)
            together.wait(30)
            with lock:
                inside -= 1
            return await self._plays.send(request, limits)

        async def close(self) -> None:
            await self._plays.close()

    transport: Any = Upstream()
    client = Client(
        config=False,
        environ={},
        runtime=BlockingRuntime(transport),
        providers={"openai": {"api_key": "sk-test-0123456789", "base_url": "http://sim.test/v1"}},
        pipeline=["limiter"],
        limiter={
            "concurrency": 4,
            "rate": "100000/s",
            "burst": 100000,
            "tokens": "1000000/min",
            "max_wait": 60,
        },
    )

    def many(number: int) -> None:
        for _ in range(4):
            client.chat("openai/m", "Hello", max_tokens=5)

    with client:
        run(many)
        counts = client.stage("limiter").stats()
    assert most == 4
    assert simulator.count() == counts.admitted == THREADS * 4
    assert (counts.in_flight, counts.waiting) == (0, 0)
