"""
The only thing that differs between the colours: how time passes and how bytes move.

Stages, the pipeline and the client's own code are coroutines that await nothing but a runtime. The
blocking runtime's awaits never suspend, so `drive` runs such a coroutine to its end with one
`send(None)`; asyncio and the simulation resume it from their loops.
"""

from __future__ import annotations

import contextvars
import logging
import random
import threading
import time
import traceback
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from penstock.errors import StageSuspendedError

if TYPE_CHECKING:
    from penstock.http import Transport

logger = logging.getLogger("penstock")
T = TypeVar("T")


class Background(Protocol):
    """Work that runs beside the calls."""

    def cancel(self) -> object:
        """Cancel it at its next await; a thread cannot be, it runs to its end."""


class Event(Protocol):
    """A flag that calls can wait for; set from anywhere, once."""

    def set(self) -> None: ...

    def is_set(self) -> bool: ...

    async def wait(self, due: float) -> bool:
        """Wait until it is set or the clock reads `due`; whether it is set."""


class Runtime(Protocol):
    """
    What a stage may await, and the clock and dice it may ask.

    Attributes:
        transport: the HTTP transport of this colour.
        colour: `blocking`, `async` or `simulated`.
    """

    transport: Transport
    colour: str

    def now(self) -> float:
        """Seconds on a clock that never goes back; its zero has no meaning."""

    def random(self) -> float:
        """Uniform in [0, 1)."""

    async def sleep(self, seconds: float) -> None:
        """Let time pass; seconds below zero count as zero."""

    def event(self) -> Event:
        """A new flag, not set."""

    async def run_blocking(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function that blocks without stopping other calls of this runtime."""

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Background:
        """
        Run a coroutine beside the calls: a daemon thread, a task of the loop or of the simulation.

        It answers for its own errors. Whoever spawns it cancels it when it is closed.
        """


class BlockingRuntime:
    """
    Time passes in the calling thread.

    Args:
        transport: a transport whose awaits never suspend.
        random: the dice, replaceable for tests.
        clock, sleep: replaceable for tests.
    """

    colour = "blocking"

    def __init__(
        self,
        transport: Transport,
        *,
        random: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.transport = transport
        self.now = clock
        self.random = random
        self._sleep = sleep

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self._sleep(seconds)

    def event(self) -> Event:
        return _ThreadEvent(self.now)

    async def run_blocking(self, function: Callable[..., T], *args: Any) -> T:
        return function(*args)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Background:
        work = _Thread(coroutine)
        try:
            work.start()
        except RuntimeError:  # no more threads, or the interpreter is shutting down
            coroutine.close()
            raise
        return work


class _Thread(threading.Thread):
    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        super().__init__(name="penstock-background", daemon=True)
        self._coroutine = coroutine
        self._context = contextvars.copy_context()

    def run(self) -> None:
        try:
            self._context.run(drive, self._coroutine)
        except Exception as error:
            # The type only: a message could quote what a call carries.
            logger.error("background work raised %s", type(error).__name__)

    def cancel(self) -> None:
        pass


class _ThreadEvent(threading.Event):
    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now = now

    async def wait(self, due: float) -> bool:  # type: ignore[override]  # a coroutine on purpose
        if due == float("inf"):
            return super().wait()
        return super().wait(max(0.0, due - self._now()))


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """
    Run a coroutine that never suspends.

    Raises:
        StageSuspendedError: it awaited something that only an event loop can resume; the message names
            the stage and the line.
    """
    try:
        foreign = coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # a coroutine's return value
    except RuntimeError as error:
        # asyncio's own primitives fail before they suspend.
        if "no running event loop" in str(error):
            frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
            raise StageSuspendedError(_suspended(frames, "an asyncio primitive")) from error
        raise
    message = suspended_by(coroutine, foreign)
    coroutine.close()
    raise StageSuspendedError(message)


def suspended_by(coroutine: Any, foreign: object, place: str = "the blocking client") -> str:
    """Say which stage awaited something foreign: walk the awaiting coroutines inwards."""
    frames: list[FrameType] = []
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "ag_frame", None)
        if frame is None:
            break
        frames.append(frame)
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)
    return _suspended(frames, type(foreign).__name__, place)


def _suspended(frames: list[FrameType], foreign: str, place: str = "the blocking client") -> str:
    culprit = "a coroutine"
    for frame in frames:
        owner = frame.f_locals.get("self")
        # The innermost coroutine that belongs to a stage; without one, the innermost of all.
        if (owner is not None and frame.f_code.co_name == "__call__") or culprit == "a coroutine":
            name = type(owner).__name__ if owner is not None else frame.f_code.co_qualname
            culprit = f"{name} ({frame.f_code.co_filename}:{frame.f_lineno})"
    return (
        f"{culprit} awaited {foreign} in {place}; a stage may await only proceed(call), the stream it was "
        "given and call.runtime, unless it is used with AsyncClient alone"
    )
