"""The asyncio colour: one event loop, whose clock, timers and executor it uses."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from penstock.http import Transport

logger = logging.getLogger("penstock")
T = TypeVar("T")


class AsyncioRuntime:
    """
    Time passes in the running event loop.

    Args:
        transport: a transport for asyncio.
        random: the dice, replaceable for tests.
        clock: seconds; must advance with the loop.
        sleep: replaceable for tests.
    """

    colour = "async"

    def __init__(
        self,
        transport: Transport,
        *,
        random: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self.transport = transport
        self.now = clock
        self.random = random
        self._sleep = sleep
        self._background: set[asyncio.Task[Any]] = set()

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            await self._sleep(seconds)

    def event(self) -> _LoopEvent:
        return _LoopEvent(self.now)

    async def run_blocking(self, function: Callable[..., T], *args: Any) -> T:
        run = contextvars.copy_context().run
        return await asyncio.get_running_loop().run_in_executor(None, run, function, *args)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._background.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # The type only: a message could quote what a call carries.
            logger.error("background work raised %s", type(task.exception()).__name__)


class _LoopEvent(asyncio.Event):
    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now = now

    async def wait(self, due: float = float("inf")) -> bool:  # type: ignore[override]  # takes `due`
        if self.is_set() or due == float("inf"):
            return await super().wait()
        try:
            async with asyncio.timeout(due - self._now()):
                await super().wait()
        except TimeoutError:
            pass
        return self.is_set()
