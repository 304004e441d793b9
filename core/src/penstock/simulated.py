"""
Virtual time: the third colour, in which hours pass in milliseconds and every run can be repeated.

A small deterministic kernel. Tasks are coroutines; each await of the runtime suspends its task with a
wish (wake me at a time, or when a flag is set); the kernel runs whatever is due and jumps the clock to the
next wish. Tasks that are due at the same moment run in an order drawn from the seed, so that another seed
is another interleaving. Cancelling throws `asyncio.CancelledError` at the await, as asyncio would.
"""

from __future__ import annotations

import contextvars
import heapq
import random
from asyncio import CancelledError
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from penstock.errors import StageSuspendedError, UsageError
from penstock.runtime import suspended_by

if TYPE_CHECKING:
    from penstock.http import Transport

T = TypeVar("T")


class SimulatedTask(Generic[T]):
    """A coroutine the simulation runs; `result()` once it is `done`."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], name: str) -> None:
        self.name = name
        self.done = False
        self.suspensions = 0
        self._coroutine = coroutine
        self._context = contextvars.copy_context()
        self._wish: _Wish | None = None
        self._cancelled = False
        self._result: T | None = None
        self._error: BaseException | None = None

    def result(self) -> T:
        """What the coroutine returned; raises what it raised."""
        if not self.done:
            raise UsageError(f"the task {self.name!r} has not ended")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # set when done without error

    def cancel(self) -> None:
        """Throw `CancelledError` at its next (or present) await."""
        self._cancelled = True
        if self._wish is not None:
            self._wish.granted()

    def __repr__(self) -> str:
        return f"<SimulatedTask {self.name!r} {'done' if self.done else 'waiting'}>"


class _Wish:
    """What a suspended task waits for; granted once."""

    __slots__ = ("_runtime", "due", "flag", "live", "task")

    def __init__(self, runtime: SimulatedRuntime, due: float, flag: _Flag | None = None) -> None:
        self._runtime = runtime
        self.due = due
        self.flag = flag
        self.live = True
        self.task: SimulatedTask[Any] | None = None

    def __await__(self) -> Generator[_Wish, None, None]:
        yield self

    def granted(self) -> None:
        if self.live and self.task is not None:
            self.live = False
            self._runtime._schedule(self._runtime.now(), self.task)


class _Flag:
    def __init__(self, runtime: SimulatedRuntime) -> None:
        self._runtime = runtime
        self._set = False
        self._waiting: list[_Wish] = []

    def set(self) -> None:
        self._set = True
        waiting, self._waiting = self._waiting, []
        for wish in waiting:
            wish.granted()

    def is_set(self) -> bool:
        return self._set

    async def wait(self, due: float) -> bool:
        if not self._set and due > self._runtime.now():
            wish = _Wish(self._runtime, due, self)
            self._waiting.append(wish)
            try:
                await wish
            finally:
                if wish in self._waiting:
                    self._waiting.remove(wish)
        return self._set


class SimulatedRuntime:
    """
    A runtime and the kernel that drives it.

    Args:
        transport: the simulated upstream; may be set later.
        seed: decides jitter and the order of what is due at once.
        start: the first reading of the clock in seconds.
    """

    colour = "simulated"
    transport: Transport

    def __init__(self, transport: Transport | None = None, *, seed: int = 0, start: float = 0.0) -> None:
        if transport is not None:
            self.transport = transport
        self._now = start
        self._dice = random.Random(seed)
        self._order = random.Random(seed + 1)
        self._due: list[tuple[float, float, int, SimulatedTask[Any], _Wish | None]] = []
        self._count = 0
        self.on_suspend: Callable[[SimulatedTask[Any]], None] | None = None
        """Called at each suspension of a task; a test may cancel it there."""

    def now(self) -> float:
        return self._now

    def random(self) -> float:
        return self._dice.random()

    async def sleep(self, seconds: float) -> None:
        await _Wish(self, self._now + max(0.0, seconds))

    def event(self) -> _Flag:
        return _Flag(self)

    async def run_blocking(self, function: Callable[..., T], *args: Any) -> T:
        await self.sleep(0.0)
        return function(*args)

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str = "task") -> SimulatedTask[T]:
        """Start a coroutine beside the others; it first runs when the kernel does."""
        task = SimulatedTask(coroutine, name)
        self._schedule(self._now, task)
        return task

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """
        Run until this coroutine ends, the others as far as time gets.

        Raises:
            UsageError: every task waits for something that nobody will do.
        """
        main = self.spawn(coroutine, "main")
        while not main.done:
            if not self._step():
                raise UsageError("the simulation is stuck: every task waits and no time is left to pass")
        return main.result()

    def settle(self) -> None:
        """Run until nothing is due any more, so that background tasks end."""
        while self._step():
            pass

    def _step(self) -> bool:
        if not self._due:
            return False
        due, _, _, task, wish = heapq.heappop(self._due)
        if wish is not None:
            if not wish.live:
                return True
            wish.live = False
        self._now = max(self._now, due)
        self._advance(task)
        return True

    def _advance(self, task: SimulatedTask[Any]) -> None:
        if task.done:
            return
        task._wish = None
        try:
            if task._cancelled:
                task._cancelled = False
                wish = task._context.run(task._coroutine.throw, CancelledError())
            else:
                wish = task._context.run(task._coroutine.send, None)
        except StopIteration as stop:
            task._result, task.done = stop.value, True
            return
        except BaseException as error:
            task._error, task.done = error, True
            return
        if not isinstance(wish, _Wish):
            message = suspended_by(task._coroutine, wish, "the simulation")
            task._context.run(task._coroutine.close)
            task._error, task.done = StageSuspendedError(message), True
            return
        wish.task = task
        task._wish = wish
        task.suspensions += 1
        if wish.due != float("inf"):
            self._schedule(wish.due, task, wish)
        if self.on_suspend is not None:
            self.on_suspend(task)
        if task._cancelled:
            wish.granted()

    def _schedule(self, due: float, task: SimulatedTask[Any], wish: _Wish | None = None) -> None:
        self._count += 1
        heapq.heappush(self._due, (due, self._order.random(), self._count, task, wish))
