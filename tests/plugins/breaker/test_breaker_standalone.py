"""`CircuitBreaker` around functions and blocks that have nothing to do with models."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from penstock import BreakerOpen, RateLimitError
from penstock.testing import ManualClock
from penstock_breaker import CircuitBreaker, Transition


def make(clock: ManualClock, **numbers: Any) -> CircuitBreaker:
    return CircuitBreaker("shop", clock=clock.now, dice=lambda: 0.5, **{"consecutive_failures": 2, **numbers})


def fail(breaker: CircuitBreaker, error: BaseException, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(type(error)), breaker:
            raise error


def test_a_decorated_function_is_refused_while_it_keeps_failing() -> None:
    clock = ManualClock()
    breaker = make(clock)
    runs = []

    @breaker
    def fetch(number: int) -> int:
        """Fetch."""
        runs.append(number)
        if number < 0:
            raise OSError("down")
        return number

    assert fetch(1) == 1
    assert fetch.__doc__ == "Fetch."
    for _ in range(2):
        with pytest.raises(OSError, match="down"):
            fetch(-1)
    with pytest.raises(BreakerOpen, match="shop: the circuit breaker is open") as caught:
        fetch(2)
    assert (caught.value.stage, caught.value.retry_after, caught.value.tags) == ("shop", 15.0, ("open",))
    clock.advance(15.0)
    assert [fetch(3), fetch(4)] == [3, 4]
    assert breaker.state == "closed"
    assert runs == [1, -1, -1, 3, 4]


def test_a_decorated_coroutine_function_works_alike() -> None:
    clock = ManualClock()
    breaker = make(clock)

    @breaker
    async def fetch(ok: bool) -> str:
        await asyncio.sleep(0)
        if not ok:
            raise OSError("down")
        return "there"

    async def run() -> None:
        for _ in range(2):
            with pytest.raises(OSError, match="down"):
                await fetch(False)
        with pytest.raises(BreakerOpen):
            await fetch(True)
        clock.advance(15.0)
        assert await fetch(True) == "there"

    asyncio.run(run())
    assert breaker.state == "half_open"


def test_a_block_works_alike_in_both_colours() -> None:
    clock = ManualClock()
    breaker = make(clock)

    async def run() -> None:
        for _ in range(2):
            with pytest.raises(OSError, match="down"):
                async with breaker:
                    raise OSError("down")
        with pytest.raises(BreakerOpen):
            async with breaker:
                pytest.fail("it was run")

    asyncio.run(run())
    with pytest.raises(BreakerOpen), breaker:
        pytest.fail("it was run")


def test_blocks_nest_and_interleave() -> None:
    clock = ManualClock()
    breaker, other = make(clock), make(clock)

    async def run() -> None:
        async def one(seconds: float) -> None:
            async with breaker, other:
                await asyncio.sleep(seconds)
                async with breaker:
                    await asyncio.sleep(0)

        await asyncio.gather(*(one(0.0) for _ in range(50)))

    asyncio.run(run())
    assert breaker.stats().successes == 100
    assert other.stats().successes == 50


def test_a_task_started_inside_a_block_does_not_end_it() -> None:
    breaker = make(ManualClock())

    async def child() -> None:
        async with breaker:
            pass

    async def run() -> None:
        async with breaker:
            await asyncio.create_task(child())
            assert breaker.stats().successes == 1
        assert breaker.stats().successes == 2

    asyncio.run(run())


def test_only_what_on_names_is_a_failure() -> None:
    clock = ManualClock()
    breaker = make(clock, on=(OSError, TimeoutError))
    fail(breaker, ValueError("mine"), 10)
    assert (breaker.state, breaker.stats().ignored) == ("closed", 10)
    fail(breaker, TimeoutError(), 2)
    assert breaker.state == "open"


def test_on_may_be_a_predicate_and_one_that_raises_loses_no_permit() -> None:
    clock = ManualClock()
    breaker = make(clock, on=lambda error: bool(error.args[0]))
    fail(breaker, OSError(0), 5)
    fail(breaker, OSError(1), 2)
    clock.advance(15.0)
    with pytest.raises(IndexError), breaker:
        raise OSError
    assert breaker.stats().probes == 0
    assert breaker.state == "half_open"


def test_penstocks_own_errors_count_by_their_own_word() -> None:
    breaker = make(ManualClock())
    fail(breaker, RateLimitError("slow down"), 10)
    assert breaker.state == "closed"


def test_an_exception_that_does_not_count_does_not_close_a_half_open_breaker() -> None:
    clock = ManualClock()
    breaker = make(clock, on=OSError, close_after=1)
    fail(breaker, OSError(), 2)
    clock.advance(15.0)
    fail(breaker, ValueError("mine"))
    assert breaker.state == "half_open"


def test_a_cancelled_probe_frees_its_place() -> None:
    clock = ManualClock()
    breaker = make(clock, on=OSError)
    fail(breaker, OSError(), 2)
    clock.advance(15.0)

    async def run() -> None:
        async def hang() -> None:
            async with breaker:
                await asyncio.Event().wait()

        task = asyncio.ensure_future(hang())
        await asyncio.sleep(0)
        with pytest.raises(BreakerOpen) as caught:
            async with breaker:
                pytest.fail("it was run")
        assert caught.value.tags == ("probing",)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with breaker:
            pass

    asyncio.run(run())
    assert breaker.stats().cancelled == 1


def test_keyboard_interrupt_is_cancellation() -> None:
    breaker = make(ManualClock())
    fail(breaker, KeyboardInterrupt(), 5)
    assert (breaker.state, breaker.stats().cancelled) == ("closed", 5)


def test_an_exceptions_retry_after_makes_the_rest_longer() -> None:
    error = OSError("busy")
    error.retry_after = 99  # type: ignore[attr-defined]
    breaker = make(ManualClock())
    fail(breaker, error, 2)
    assert breaker.stats().retry_after == 99.0


def test_transitions_are_told_and_a_listener_that_raises_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[Transition] = []

    def listen(transition: Transition) -> None:
        told.append(transition)
        raise RuntimeError("a listener's own trouble")

    breaker = make(ManualClock(), on_transition=listen)
    fail(breaker, OSError(), 2)
    breaker.reset()
    breaker.force_open()
    breaker.disable()
    assert [step.after for step in told] == ["open", "closed", "forced_open", "disabled"]
    assert "on_transition of 'shop' raised RuntimeError; skipped" in caplog.text


def test_a_generator_function_is_refused() -> None:
    def numbers() -> Any:
        yield 1

    with pytest.raises(TypeError, match=r"numbers.* is a generator"):
        make(ManualClock())(numbers)


def test_no_lock_is_held_through_the_call() -> None:
    breaker = make(ManualClock())
    together = threading.Barrier(8)

    @breaker
    def meet() -> None:
        # Only passes when all eight are inside at once.
        together.wait(timeout=10.0)

    threads = [threading.Thread(target=meet) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert breaker.stats().successes == 8
