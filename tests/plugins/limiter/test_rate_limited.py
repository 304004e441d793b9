"""The limiter alone: decorator and context manager, blocking and async."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from penstock import RateLimited
from penstock.testing import ManualClock
from penstock_limiter import rate_limited


def limiter(clock: ManualClock, **options: Any) -> rate_limited:
    return rate_limited(clock=clock.now, sleep=clock.sleep, async_sleep=clock.sleep_async, **options)


def test_a_decorated_function_is_paced() -> None:
    clock = ManualClock()

    @limiter(clock, rate=10, burst=2)
    def stamp(word: str) -> tuple[str, float]:
        return word, round(clock.now(), 3)

    assert [stamp("x") for _ in range(4)] == [("x", 0.0), ("x", 0.0), ("x", 0.1), ("x", 0.2)]
    assert stamp.__name__ == "stamp"


def test_a_decorated_coroutine_function_is_paced() -> None:
    clock = ManualClock()

    @limiter(clock, rate="60/min")
    async def stamp() -> float:
        return round(clock.now(), 3)

    async def main() -> list[float]:
        return [await stamp() for _ in range(3)]

    assert asyncio.run(main()) == [0.0, 1.0, 2.0]


def test_it_guards_blocks_in_both_colours() -> None:
    clock = ManualClock()
    limit = limiter(clock, rate=1, concurrency=1)
    with limit:
        assert limit.stats().in_flight == 1

    async def main() -> None:
        async with limit:
            assert limit.stats().in_flight == 1

    asyncio.run(main())
    assert limit.stats().in_flight == 0
    assert clock.now() == pytest.approx(1.0, abs=1e-3)


def test_nowait_refuses_with_the_wait_and_does_not_call() -> None:
    clock = ManualClock()
    called = []

    @limiter(clock, rate="6/min", mode="nowait")
    def work() -> None:
        called.append(1)

    work()
    with pytest.raises(RateLimited) as caught:
        work()
    assert caught.value.retry_after == pytest.approx(10.0, abs=0.01)
    assert called == [1]


def test_who_would_wait_too_long_is_refused_at_once() -> None:
    clock = ManualClock()
    limit = limiter(clock, rate="6/min", max_wait=5)
    with limit:
        pass
    with pytest.raises(RateLimited), limit:
        pass
    assert clock.now() == 0.0


def test_an_exception_gives_the_permit_back_and_passes_through() -> None:
    limit = rate_limited(concurrency=1, mode="nowait")

    @limit
    def fails() -> None:
        raise KeyError("x")

    for _ in range(3):
        with pytest.raises(KeyError):
            fails()
    with pytest.raises(KeyError), limit:
        raise KeyError("y")
    assert limit.stats().in_flight == 0


def test_cancelling_a_waiter_leaves_the_queue_intact() -> None:
    limit = rate_limited(concurrency=1)
    order: list[str] = []

    async def work(name: str, hold: asyncio.Event) -> None:
        async with limit:
            order.append(name)
            await hold.wait()

    async def main() -> None:
        hold = asyncio.Event()
        tasks = {name: asyncio.create_task(work(name, hold)) for name in "abcd"}
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tasks["b"].cancel()
        await asyncio.sleep(0)
        hold.set()
        await asyncio.gather(*tasks.values(), return_exceptions=True)

    asyncio.run(main())
    assert order == ["a", "c", "d"]
    counts = limit.stats()
    assert (counts.in_flight, counts.waiting, counts.cancelled) == (0, 0, 1)


def test_a_permit_given_back_in_a_thread_wakes_a_coroutine() -> None:
    limit = rate_limited(concurrency=1)
    inside, release = threading.Event(), threading.Event()

    def hold() -> None:
        with limit:
            inside.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(10)

    async def main() -> None:
        async def enter() -> None:
            async with limit:
                pass

        task = asyncio.create_task(enter())
        await asyncio.sleep(0)
        release.set()
        await asyncio.wait_for(task, 10)

    asyncio.run(main())
    thread.join()
    assert limit.stats().in_flight == 0


def test_the_rate_can_be_changed_while_it_is_used() -> None:
    clock = ManualClock()
    limit = limiter(clock, rate=1)
    with limit:
        pass
    limit.configure(rate=4, burst=1)
    with limit:
        pass
    assert clock.now() == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"rate": 0},
        {"rate": "fast"},
        {"rate": 1, "burst": 0},
        {"concurrency": 0},
        {"rate": 1, "mode": "perhaps"},
    ],
)
def test_values_that_cannot_work_are_refused(bad: Any) -> None:
    with pytest.raises(ValueError):
        rate_limited(**bad)
