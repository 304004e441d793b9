"""The colours: driving, blaming, and virtual time."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from typing import Any

import pytest

from penstock.errors import StageSuspendedError, UsageError
from penstock.runtime import BlockingRuntime, drive
from penstock.simulated import SimulatedRuntime
from penstock.testing import ManualClock


class Foreign:
    """Something only an event loop could resume."""

    def __await__(self) -> Any:
        yield self


class PatientStage:
    """A stage that awaits what is not Penstock's."""

    async def __call__(self, call: Any, proceed: Any) -> Any:
        await self.wait()
        return await proceed(call)

    async def wait(self) -> None:
        await Foreign()


class SleepyStage:
    """A stage that sleeps in asyncio's way."""

    async def __call__(self, call: Any, proceed: Any) -> Any:
        await asyncio.sleep(1)
        return await proceed(call)


def test_drive_returns_what_a_coroutine_that_never_suspends_returns() -> None:
    async def answer() -> int:
        return 42

    assert drive(answer()) == 42


def test_a_stage_that_awaits_something_foreign_is_named_with_its_line() -> None:
    with pytest.raises(StageSuspendedError, match=r"PatientStage \(.*test_runtime\.py:\d+\) awaited Foreign"):
        drive(PatientStage()(None, None))


def test_a_stage_that_uses_asyncio_is_named_although_asyncio_fails_before_it_suspends() -> None:
    with pytest.raises(StageSuspendedError, match=r"SleepyStage .* awaited an asyncio primitive"):
        drive(SleepyStage()(None, None))


def test_other_runtime_errors_of_a_stage_stay_what_they_are() -> None:
    async def broken() -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        drive(broken())


def test_the_simulation_refuses_what_is_foreign_too() -> None:
    with pytest.raises(StageSuspendedError, match=r"PatientStage .* in the simulation"):
        SimulatedRuntime().run(PatientStage()(None, None))


def test_a_blocking_event_waits_no_longer_than_its_due_time() -> None:
    clock = ManualClock()
    runtime = BlockingRuntime(None, clock=clock.now, sleep=clock.sleep)  # type: ignore[arg-type]
    event = runtime.event()
    assert drive(event.wait(0.0)) is False
    event.set()
    assert drive(event.wait(10.0)) is True


def test_virtual_time_passes_without_real_time() -> None:
    runtime = SimulatedRuntime()

    async def nap() -> float:
        await runtime.sleep(3600)
        return runtime.now()

    assert runtime.run(nap()) == 3600


def test_tasks_wake_in_the_order_of_their_times() -> None:
    runtime, woken = SimulatedRuntime(), []

    async def nap(seconds: float) -> None:
        await runtime.sleep(seconds)
        woken.append(seconds)

    for seconds in (3.0, 1.0, 2.0):
        runtime.spawn(nap(seconds))
    runtime.settle()
    assert woken == [1.0, 2.0, 3.0]


def test_another_seed_is_another_interleaving_and_the_same_seed_the_same() -> None:
    def order(seed: int) -> list[int]:
        runtime, woken = SimulatedRuntime(seed=seed), []

        async def nap(number: int) -> None:
            await runtime.sleep(1.0)
            woken.append(number)

        for number in range(8):
            runtime.spawn(nap(number))
        runtime.settle()
        return woken

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(5)}) > 1


def test_an_event_wakes_its_waiters_and_times_out_others() -> None:
    runtime = SimulatedRuntime()
    event = runtime.event()
    early = runtime.spawn(event.wait(1.0))
    late = runtime.spawn(event.wait(10.0))

    async def set_at_two() -> None:
        await runtime.sleep(2.0)
        event.set()

    runtime.run(set_at_two())
    runtime.settle()
    assert (early.result(), late.result(), runtime.now()) == (False, True, 2.0)


def test_cancelling_throws_at_the_await_and_runs_cleanup() -> None:
    runtime, cleaned = SimulatedRuntime(), []

    async def nap() -> None:
        try:
            await runtime.sleep(100)
        finally:
            await runtime.sleep(1)
            cleaned.append(runtime.now())

    task = runtime.spawn(nap())

    async def cancel() -> None:
        await runtime.sleep(5)
        task.cancel()

    runtime.run(cancel())
    runtime.settle()
    with pytest.raises(CancelledError):
        task.result()
    assert cleaned == [6.0]


def test_a_simulation_where_everybody_waits_says_so() -> None:
    runtime = SimulatedRuntime()
    with pytest.raises(UsageError, match="stuck"):
        runtime.run(runtime.event().wait(float("inf")))
