"""Time for tests: a clock that only moves when somebody sleeps."""

from __future__ import annotations

import random

from penstock.http import Transport
from penstock.runtime import BlockingRuntime


class ManualClock:
    """
    A clock and the sleeps that move it, for the blocking and the asyncio runtime.

    Args:
        start: the first reading in seconds.

    Attributes:
        sleeps: every wait so far, in seconds.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self.sleeps: list[float] = []

    def now(self) -> float:
        """The present reading in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds

    def sleep(self, seconds: float) -> None:
        """Blocking sleep: time passes at once."""
        self.sleeps.append(seconds)
        self._now += seconds

    async def sleep_async(self, seconds: float) -> None:
        """The same for `AsyncioRuntime`."""
        self.sleep(seconds)


def manual_runtime(
    transport: Transport, clock: ManualClock | None = None, *, seed: int = 0
) -> BlockingRuntime:
    """A blocking runtime on a manual clock, with dice that fall the same way each time."""
    clock = clock or ManualClock()
    dice = random.Random(seed)
    return BlockingRuntime(transport, random=dice.random, clock=clock.now, sleep=clock.sleep)
