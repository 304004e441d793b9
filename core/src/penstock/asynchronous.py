"""The asyncio colour: one event loop, whose clock, timers and executor it uses."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from penstock.http import Transport

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

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            await self._sleep(seconds)

    def event(self) -> _LoopEvent:
        return _LoopEvent(self.now)

    async def run_blocking(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, function, *args)


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
