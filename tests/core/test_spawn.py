"""Work beside the calls, in each colour."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextvars import ContextVar
from typing import Any

import pytest

from penstock.asynchronous import AsyncioRuntime
from penstock.runtime import BlockingRuntime, Runtime, drive
from penstock.simulated import SimulatedRuntime

WHO: ContextVar[str] = ContextVar("who", default="nobody")
NOTHING: Any = None  # no transport: nothing is sent


async def note(runtime: Runtime, seen: list[str], done: Any) -> None:
    seen.append(WHO.get())
    done.set()


def test_a_thread_runs_it_beside_a_blocking_call_in_the_callers_context() -> None:
    runtime, seen = BlockingRuntime(NOTHING), []
    done = runtime.event()
    token = WHO.set("caller")
    runtime.spawn(note(runtime, seen, done)).cancel()
    WHO.reset(token)
    assert drive(done.wait(runtime.now() + 20))
    assert seen == ["caller"]


def test_a_task_runs_it_in_the_loop_and_can_be_cancelled() -> None:
    async def main() -> None:
        runtime, seen = AsyncioRuntime(NOTHING), []
        done = runtime.event()
        runtime.spawn(note(runtime, seen, done))
        assert await done.wait(runtime.now() + 20)
        forever = runtime.spawn(runtime.event().wait(float("inf")))
        await asyncio.sleep(0)
        forever.cancel()
        await asyncio.sleep(0)
        assert forever.cancelled()
        await asyncio.sleep(0)
        assert not runtime._background

    asyncio.run(main())


def test_the_simulation_runs_it_in_its_own_time() -> None:
    runtime, seen = SimulatedRuntime(), []
    done = runtime.event()
    runtime.spawn(note(runtime, seen, done))
    assert seen == []
    assert runtime.run(done.wait(1.0))
    assert seen == ["nobody"]


async def fail() -> None:
    raise ValueError("sk-secret")


@pytest.mark.parametrize("colour", ["blocking", "async"])
def test_what_it_raises_is_logged_by_its_type_only(colour: str, caplog: pytest.LogCaptureFixture) -> None:
    if colour == "blocking":
        thread: Any = BlockingRuntime(NOTHING).spawn(fail())
        thread.join(20)
    else:

        async def main() -> None:
            AsyncioRuntime(NOTHING).spawn(fail())
            for _ in range(3):
                await asyncio.sleep(0)

        asyncio.run(main())
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_without_a_thread_to_spare_it_raises_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError):
        BlockingRuntime(NOTHING).spawn(fail())
