"""Events for asyncio that any thread may set: who gives a permit back need not be in the waiter's loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from penstock.asynchronous import AsyncioRuntime

if TYPE_CHECKING:
    from penstock.runtime import Event


class AnyLoop(AsyncioRuntime):
    """The asyncio runtime of whichever loop asks."""

    def event(self) -> Any:
        """A new flag for the running loop, to be set from anywhere."""
        return _LoopEvent(super().event())


class _LoopEvent:
    def __init__(self, event: Event) -> None:
        self._event = event
        self._loop = asyncio.get_running_loop()

    def set(self) -> None:
        # The loop may have been closed while its waiter was being torn down.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._event.set)

    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self, due: float) -> bool:
        return await self._event.wait(due)
