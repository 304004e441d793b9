"""
The only thing that differs between the colours: how time passes and how bytes move.

Stages, the pipeline and the client's own code are coroutines that await nothing but a runtime. The
blocking runtime's awaits never suspend, so `drive` runs such a coroutine to its end with one
`send(None)`; asyncio and the simulation resume it from their loops.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from penstock.errors import StageSuspendedError

if TYPE_CHECKING:
    from penstock.http import Transport

T = TypeVar("T")


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
        StageSuspendedError: it awaited something that only an event loop can resume; the message
            names the innermost coroutine and its line.
    """
    try:
        foreign = coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    except RuntimeError as error:
        if "no running event loop" in str(error):
            raise StageSuspendedError(_blame_traceback(error)) from error
        raise
    message = _blame_suspended(coroutine, foreign)
    try:
        coroutine.close()
    finally:
        raise StageSuspendedError(message)


def _blame_suspended(coroutine: Any, foreign: object) -> str:
    """Walk to the innermost coroutine that is still ours to name."""
    frame, name = None, "a coroutine"
    while True:
        inner_frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "ag_frame", None)
        if inner_frame is None:
            break
        frame, name = inner_frame, getattr(coroutine, "__qualname__", name)
        awaited = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)
        if awaited is None:
            break
        coroutine = awaited
    return _suspended(name, frame, type(foreign).__name__)


def _blame_traceback(error: BaseException) -> str:
    """`asyncio.sleep` and its like fail before they suspend: name the frame that called them."""
    traceback, frame = error.__traceback__, None
    while traceback is not None:
        module = traceback.tb_frame.f_globals.get("__name__", "")
        if not module.startswith("asyncio"):
            frame = traceback.tb_frame
        traceback = traceback.tb_next
    name = frame.f_code.co_qualname if frame is not None else "a coroutine"
    return _suspended(name, frame, "an asyncio primitive")


def _suspended(name: str, frame: Any, foreign: str) -> str:
    place = ""
    if frame is not None:
        stage = frame.f_locals.get("self")
        owner = f" of {type(stage).__name__}" if stage is not None else ""
        place = f"{owner} ({frame.f_code.co_filename}:{frame.f_lineno})"
    return (
        f"{name}{place} awaited {foreign} in the blocking client; stages may await only "
        "proceed(call), the reply's stream and call.runtime, or be used with AsyncClient"
    )
