"""
The same admission for functions that have nothing to do with models.

    @rate_limited(rate=10, burst=20)
    def fetch() -> bytes: ...                   # `async def` works alike

    limit = rate_limited(rate="100/min", concurrency=4, mode="nowait")
    with limit:                                 # `async with` in a coroutine
        ...

One object is one limit, shared by everything it decorates and guards, in threads and event loops alike.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, cast

from penstock.errors import RateLimited
from penstock.runtime import BlockingRuntime, drive
from penstock_limiter.admission import Lane, Permit, Refusal
from penstock_limiter.gate import Gate
from penstock_limiter.limit import BoundedLimit, Bounds, Settlement
from penstock_limiter.stats import LimiterStats
from penstock_limiter.waiting import obtain

if TYPE_CHECKING:
    from types import TracebackType

    from penstock.runtime import Runtime

P = ParamSpec("P")
T = TypeVar("T")


class rate_limited:  # noqa: N801  # used as a decorator, like `contextlib.suppress`
    """
    Limit a function, or a block.

    Args:
        rate: a number per second, or a text such as "100/min"; None does not limit the rate.
        burst: how many may come at once; None is one second's worth.
        concurrency: how many may be inside at once.
        mode: `wait` queues, `nowait` refuses at once.
        max_wait: seconds; who would wait longer is refused at once.
        max_len: how many may queue.
        name: of the limit, for messages.
        clock, sleep, async_sleep: replaceable for tests.

    Raises:
        RateLimited: by what is limited, with `retry_after` in seconds; the function was not called.
        ValueError: a value that cannot work.
    """

    def __init__(
        self,
        rate: float | str | None = None,
        burst: int | None = None,
        *,
        concurrency: int | None = None,
        mode: Literal["wait", "nowait"] = "wait",
        max_wait: float = 30.0,
        max_len: int = 1000,
        name: str = "rate_limited",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        async_sleep: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        if rate is None and concurrency is None:
            raise ValueError("rate_limited needs a rate or a concurrency")
        if (burst is not None and burst < 1) or (concurrency is not None and concurrency < 1):
            raise ValueError("burst and concurrency must be at least 1")
        if mode not in ("wait", "nowait"):
            raise ValueError(f"mode must be 'wait' or 'nowait', not {mode!r}")
        bounds = Bounds(rate=_per_second(rate), burst=burst, concurrency=concurrency)
        self._limit = BoundedLimit(name, bounds)
        self._gate = Gate()
        self._lane = Lane([self._limit])
        self._allowed = max_wait if mode == "wait" else 0.0
        self._max_len = max_len
        self._clock = clock
        self._blocking = BlockingRuntime(cast("Any", None), clock=clock, sleep=sleep)
        self._async_sleep = async_sleep
        self._async: Runtime | None = None
        self._inside: deque[Permit] = deque()

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Decorate a function or a coroutine function."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def limited_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                permit = await self._acquire(self._async or self._asyncio())
                try:
                    result = await function(*args, **kwargs)
                except BaseException:
                    permit.settle(self._clock(), _FAILED)
                    raise
                permit.settle(self._clock(), _DONE)
                return result

            return cast("Callable[P, T]", limited_async)

        @functools.wraps(function)
        def limited(*args: P.args, **kwargs: P.kwargs) -> T:
            permit = drive(self._acquire(self._blocking))
            try:
                result = function(*args, **kwargs)
            except BaseException:
                permit.settle(self._clock(), _FAILED)
                raise
            permit.settle(self._clock(), _DONE)
            return result

        return limited

    def __enter__(self) -> rate_limited:
        self._inside.append(drive(self._acquire(self._blocking)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Permits of one limit are alike, so whichever came last is given back.
        self._inside.pop().settle(self._clock(), _DONE if error is None else _FAILED)

    async def __aenter__(self) -> rate_limited:
        self._inside.append(await self._acquire(self._async or self._asyncio()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def configure(self, rate: float | str, burst: int | None = None) -> None:
        """Another rate from now on; what was used stays used."""
        now = self._clock()
        bounds = self._limit.bounds
        with self._gate.lock:
            self._limit.change(
                now, Bounds(rate=_per_second(rate), burst=burst, concurrency=bounds.concurrency)
            )
        self._gate.changed(now)

    def stats(self) -> LimiterStats:
        """Counts so far, and the state of the limit."""
        with self._gate.lock:
            return LimiterStats.of(self._gate, {self._limit.name: self._limit.stats(self._clock())})

    def _asyncio(self) -> Runtime:
        import asyncio

        from penstock_limiter.loops import AnyLoop

        sleep = self._async_sleep or asyncio.sleep
        self._async = made = AnyLoop(cast("Any", None), clock=self._clock, sleep=sleep)
        return made

    async def _acquire(self, runtime: Runtime) -> Permit:
        gate = self._gate
        found = gate.enter(self._clock(), self._lane, 0.0, self._allowed, self._max_len)
        if not isinstance(found, Permit | Refusal):
            found = await obtain(runtime, gate, found)
        if isinstance(found, Refusal):
            wait = found.wait if found.wait != float("inf") else None
            raise RateLimited(
                f"{self._limit.name}: {found.reason} lacks"
                + (f"; room in about {wait:.3g} s" if wait is not None else ""),
                stage=self._limit.name,
                retry_after=wait,
            )
        return found


_DONE = Settlement("success")
_FAILED = Settlement("failure")


def _per_second(rate: float | str | None) -> float | None:
    if rate is None:
        return None
    from penstock.config import Rate

    return Rate.parse(rate).per_second
