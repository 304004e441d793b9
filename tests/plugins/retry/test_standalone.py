"""`retrying` for functions that have nothing to do with models."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from penstock.budget import BudgetPolicy, RetryBudget
from penstock.errors import AttemptTimeout, AuthenticationError, ServerError
from penstock.testing import ManualClock
from penstock_retry import retrying


class Flaky:
    """Fails so many times, then answers."""

    def __init__(self, failures: int, error: BaseException | None = None) -> None:
        self.left = failures
        self.calls = 0
        self.error = error or ConnectionError("down")

    def __call__(self) -> str:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error
        return "up"


def timed(clock: ManualClock, **options: Any) -> retrying:
    return retrying(
        clock=clock.now, sleep=clock.sleep, async_sleep=clock.sleep_async, dice=lambda: 0.5, **options
    )


def test_a_function_is_repeated_until_it_succeeds() -> None:
    clock, flaky = ManualClock(), Flaky(2)
    assert timed(clock)(flaky)() == "up"
    assert (flaky.calls, clock.sleeps) == (3, [0.25, 0.5])


def test_a_coroutine_function_is_repeated_with_the_same_delays() -> None:
    clock, flaky = ManualClock(), Flaky(2)

    @timed(clock)
    async def work() -> str:
        return flaky()

    assert asyncio.run(work()) == "up"  # type: ignore[arg-type]
    assert (flaky.calls, clock.sleeps) == (3, [0.25, 0.5])


def test_a_block_is_repeated() -> None:
    clock, flaky, seen = ManualClock(), Flaky(1), []
    for attempt in timed(clock):
        with attempt:
            seen.append(attempt.number)
            flaky()
    assert seen == [1, 2]


def test_an_asynchronous_block_is_repeated() -> None:
    clock, flaky = ManualClock(), Flaky(1)

    async def work() -> int:
        async for attempt in timed(clock):
            with attempt:
                flaky()
        return flaky.calls

    assert asyncio.run(work()) == 2


def test_the_last_attempt_raises_and_is_not_slept_after() -> None:
    clock, flaky = ManualClock(), Flaky(9)
    with pytest.raises(ConnectionError):
        timed(clock, max_attempts=3)(flaky)()
    assert (flaky.calls, len(clock.sleeps)) == (3, 2)


def test_only_the_named_exceptions_are_repeated() -> None:
    flaky = Flaky(1, ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        timed(ManualClock(), on=ConnectionError)(flaky)()
    assert flaky.calls == 1


def test_a_predicate_may_choose() -> None:
    flaky = Flaky(1, ValueError("again"))
    assert timed(ManualClock(), on=lambda error: "again" in str(error))(flaky)() == "up"


def test_cancellation_is_never_repeated() -> None:
    flaky = Flaky(1, asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        timed(ManualClock(), on=BaseException)(flaky)()
    assert flaky.calls == 1


def test_penstock_errors_say_themselves_whether_they_may_be_repeated() -> None:
    assert timed(ManualClock())(Flaky(1, ServerError("x")))() == "up"
    flaky = Flaky(1, AuthenticationError("x"))
    with pytest.raises(AuthenticationError):
        timed(ManualClock())(flaky)()


def test_a_retry_after_attribute_is_a_floor() -> None:
    clock, error = ManualClock(), ConnectionError("busy")
    error.retry_after = 2.0  # type: ignore[attr-defined]
    timed(clock)(Flaky(1, error))()
    assert clock.sleeps == [pytest.approx(2.1)]


def test_no_wait_passes_the_timeout() -> None:
    clock, flaky = ManualClock(), Flaky(5)
    with pytest.raises(ConnectionError):
        timed(clock, timeout=0.6, max_attempts=9)(flaky)()
    assert clock.now() <= 0.6


def test_a_shared_budget_ends_the_repeats_of_everybody() -> None:
    budget = RetryBudget(BudgetPolicy(capacity=1, per_call=0, per_second=0))
    first, second = Flaky(1), Flaky(1)
    assert timed(ManualClock(), budget=budget)(first)() == "up"
    with pytest.raises(ConnectionError):
        timed(ManualClock(), budget=budget)(second)()


def test_at_least_one_attempt_is_needed() -> None:
    with pytest.raises(ValueError, match="max_attempts must be at least 1"):
        retrying(max_attempts=0)


def test_penstock_errors_are_repeated_beside_the_named_exceptions() -> None:
    assert timed(ManualClock(), on=ValueError)(Flaky(1, ServerError("x")))() == "up"
    assert timed(ManualClock(), on=(ValueError, KeyError))(Flaky(1, ServerError("x")))() == "up"


def test_the_one_repeat_of_a_timeout_is_not_used_up_by_other_failures() -> None:
    failures = [ServerError("x"), AttemptTimeout("slow", phase="attempt")]

    def work() -> str:
        if failures:
            raise failures.pop(0)
        return "up"

    assert timed(ManualClock())(work)() == "up"


def test_a_decorated_coroutine_leaves_nothing_for_the_event_loop_to_clean_up() -> None:
    left: list[object] = []

    async def work() -> None:
        flaky = Flaky(1)

        @timed(ManualClock())
        async def once() -> str:
            return flaky()

        sys.set_asyncgen_hooks(firstiter=left.append)
        await once()

    hooks = sys.get_asyncgen_hooks()
    try:
        asyncio.run(work())
    finally:
        sys.set_asyncgen_hooks(*hooks)
    assert left == []
