"""`cached` for functions that have nothing to do with models."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from penstock.testing import ManualClock
from penstock_cache import cached


def test_a_result_is_remembered_for_its_life() -> None:
    clock, calls = ManualClock(), []
    rates = cached(ttl=60, clock=clock.now)

    @rates
    def rate(currency: str, *, day: int = 0) -> str:
        """How many."""
        calls.append((currency, day))
        return f"{currency}{len(calls)}"

    assert [rate("EUR"), rate("EUR"), rate("USD"), rate("EUR", day=1)] == ["EUR1", "EUR1", "USD2", "EUR3"]
    clock.advance(59.9)
    assert rate("EUR") == "EUR1"
    clock.advance(0.1)
    assert rate("EUR") == "EUR4"
    assert rate.__doc__ == "How many."
    stats = rates.stats()
    assert (stats.hits, stats.misses, stats.stores, stats.entries) == (2, 4, 4, 3)


def test_results_can_be_forgotten() -> None:
    answers = cached()
    calls = []

    @answers
    def double(value: int) -> int:
        calls.append(value)
        return value * 2

    double(1), double(2)
    assert answers.invalidate(1)
    assert not answers.invalidate(1)
    assert [double(1), double(2)] == [2, 4]
    assert calls == [1, 2, 1]
    assert answers.clear() == 2
    double(2)
    assert calls[-1] == 2
    assert len(calls) == 4


def test_arguments_of_different_types_differ_and_none_is_a_result() -> None:
    calls: list[Any] = []

    @cached()
    def note(value: Any) -> None:
        calls.append(value)

    for value in (1, 1.0, True, None, 1):
        assert note(value) is None  # type: ignore[func-returns-value]
    assert len(calls) == 4


def test_a_key_function_makes_what_cannot_be_hashed_a_key() -> None:
    @cached(key=lambda items: tuple(items))
    def total(items: list[int]) -> int:
        return sum(items)

    assert total([1, 2]) == 3
    with pytest.raises(TypeError):
        cached()(sum)([1, 2])


def test_methods_are_remembered_for_each_object() -> None:
    class Shop:
        def __init__(self, name: str) -> None:
            self.name = name

        @cached()
        def price(self, item: str) -> str:
            return f"{self.name} {item}"

    assert [Shop("a").price("x"), Shop("b").price("x")] == ["a x", "b x"]


def test_an_exception_is_not_remembered() -> None:
    calls = []

    @cached()
    def fail() -> None:
        calls.append(1)
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            fail()
    assert len(calls) == 2


@pytest.mark.parametrize("bounds", [{"ttl": 0}, {"ttl": -1}, {"max_entries": 0}, {"ttl": float("nan")}])
def test_bounds_must_be_above_zero(bounds: Any) -> None:
    with pytest.raises(ValueError, match="above zero"):
        cached(**bounds)


def test_threads_that_ask_at_once_compute_once() -> None:
    calls = []
    started, release = threading.Event(), threading.Event()
    answers = cached()

    @answers
    def slow() -> int:
        calls.append(1)
        started.set()
        assert release.wait(20)
        return 42

    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(slow())) for _ in range(16)]
    for thread in threads:
        thread.start()
    assert started.wait(20)
    release.set()
    for thread in threads:
        thread.join(20)
    assert results == [42] * 16
    assert len(calls) == 1


def test_tasks_share_a_result_a_failure_and_survive_a_cancelled_leader() -> None:
    async def main() -> None:
        calls = 0
        gate = asyncio.Event()
        answers = cached()

        @answers
        async def slow(kind: str) -> int:
            nonlocal calls
            calls += 1
            await gate.wait()
            if kind == "bad":
                raise ValueError("no")
            return calls

        leader = asyncio.create_task(slow("good"))
        await asyncio.sleep(0)
        followers = [asyncio.create_task(slow("good")) for _ in range(10)]
        await asyncio.sleep(0)
        leader.cancel()
        followers[3].cancel()
        await asyncio.sleep(0)
        gate.set()
        results = await asyncio.gather(leader, *followers, return_exceptions=True)
        assert [result for result in results if not isinstance(result, BaseException)] == [2] * 9
        assert calls == 2
        gate.clear()
        bad = [asyncio.create_task(slow("bad")) for _ in range(3)]
        await asyncio.sleep(0)
        gate.set()
        errors = await asyncio.gather(*bad, return_exceptions=True)
        assert [str(error) for error in errors] == ["no"] * 3
        assert len({id(error) for error in errors}) == 3
        assert calls == 3

    asyncio.run(main())


def test_results_outlive_an_event_loop_and_waiting_does_not_cross_loops() -> None:
    calls = []

    @cached()
    async def value() -> int:
        calls.append(1)
        await asyncio.sleep(0)
        return 7

    assert asyncio.run(value()) == 7  # type: ignore[arg-type]
    assert asyncio.run(value()) == 7  # type: ignore[arg-type]
    assert len(calls) == 1


def test_what_is_cleared_meanwhile_is_not_remembered() -> None:
    answers = cached()
    calls = []

    @answers
    def value() -> int:
        calls.append(1)
        answers.clear()
        return 1

    assert [value(), value()] == [1, 1]
    assert len(calls) == 2


class Remembering(RuleBasedStateMachine):
    """`cached` against a dict with times."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.calls = 0
        self.kept: dict[int, tuple[int, float]] = {}  # least recently used first
        self.cached = cached(ttl=10, max_entries=3, clock=self.clock.now)
        self.function = self.cached(self.compute)

    def compute(self, value: int) -> int:
        self.calls += 1
        return self.calls

    @rule(value=st.integers(0, 5))
    def ask(self, value: int) -> None:
        held = self.kept.pop(value, None)
        if held is None or self.clock.now() >= held[1]:
            held = (self.calls + 1, self.clock.now() + 10)
        self.kept[value] = held
        while len(self.kept) > 3:
            del self.kept[next(iter(self.kept))]
        assert self.function(value) == held[0]

    @rule(seconds=st.floats(0, 12))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(value=st.integers(0, 5))
    def forget(self, value: int) -> None:
        assert self.cached.invalidate(value) == (self.kept.pop(value, None) is not None)

    @rule()
    def clear(self) -> None:
        assert self.cached.clear() == len(self.kept)
        self.kept.clear()


TestRemembering = Remembering.TestCase
TestRemembering.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
