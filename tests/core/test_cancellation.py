"""Cancelled at any await, in virtual time and in asyncio: nothing leaks, nothing is swallowed or repeated."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections.abc import Callable
from typing import Any

import pytest

from penstock import CallError
from penstock.events import AttemptFinished, AttemptStarted, CallFinished, CallStarted
from penstock_testkit import faults

SCRIPTS: dict[str, list[Any]] = {
    "retries": [faults.status(503), faults.reset(), faults.status(429, retry_after=1.5)],
    "hang": [faults.hang(), faults.hang()],
    "slow stream": [faults.slow_first_token(3.0), faults.drip(0.1)],
    "drip": [faults.drip(0.5)],
    "keep-alives": [faults.keep_alives(7.0, after=2)],
}


async def calls(world: Any) -> None:
    await world.client.chat("openai/gpt-4o", "one")
    async with world.client.stream("openai/gpt-4o", "two") as stream:
        async for _ in stream:
            await world.runtime.sleep(0.01)


def check_nothing_leaked(world: Any) -> None:
    assert world.transport.open == ()
    events = world.events
    for start, finish in ((CallStarted, CallFinished), (AttemptStarted, AttemptFinished)):
        started = [event for event in events if isinstance(event, start)]
        finished = [event for event in events if isinstance(event, finish)]
        assert len(started) == len(finished)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_simulated_call_cancelled_at_any_await_leaks_nothing(
    make_world: Callable[..., Any], name: str
) -> None:
    cancelled = 0
    for point in range(1, 1000):
        world = make_world("simulated", SCRIPTS[name], timeouts={"attempt": 30})

        def cancel_here(task: Any, point: int = point) -> None:
            if task.name == "main" and task.suspensions == point:
                task.cancel()

        world.runtime.on_suspend = cancel_here
        try:
            world.run(calls(world))
        except CancelledError:
            cancelled += 1
        except CallError:
            break
        else:
            break
        before = world.count
        world.runtime.on_suspend = None
        world.runtime.settle()
        assert world.count == before
        check_nothing_leaked(world)
    assert cancelled >= 2


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_asyncio_call_cancelled_at_any_await_leaks_nothing(
    make_world: Callable[..., Any], name: str
) -> None:
    async def cancelled_after(world: Any, steps: int) -> bool:
        task = asyncio.ensure_future(calls(world))
        for _ in range(steps):
            await asyncio.sleep(0)
            if task.done():
                break
        task.cancel()
        try:
            await task
        except CancelledError:
            return True
        except CallError:
            pass
        return False

    cancelled = 0
    for steps in range(1, 1000):
        world = make_world("async", SCRIPTS[name], timeouts={"attempt": 30})
        plain_sleep = world.runtime._sleep

        async def sleep_in_turn(seconds: float, plain_sleep: Any = plain_sleep) -> None:
            await asyncio.sleep(0)
            await plain_sleep(seconds)

        world.runtime._sleep = sleep_in_turn
        if not world.run(cancelled_after(world, steps)):
            break
        cancelled += 1
        check_nothing_leaked(world)
    assert cancelled >= 2
