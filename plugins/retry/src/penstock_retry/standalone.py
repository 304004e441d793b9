"""
The same policy for functions that have nothing to do with models.

    @retrying(on=ConnectionError, max_attempts=5)
    def fetch() -> bytes: ...                   # `async def` works alike

    for attempt in retrying(on=OSError):        # `async for` in a coroutine
        with attempt:
            ...
"""

from __future__ import annotations

import functools
import inspect
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from penstock.budget import RetryBudget
from penstock.errors import PenstockError
from penstock_retry.policy import RetryPolicy, Stop, Wait

P = ParamSpec("P")
T = TypeVar("T")
On = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]


class retrying:  # noqa: N801  # used as a decorator, like `contextlib.suppress`
    """
    Repeat a function, or a block, when it fails.

    A `retry_after` attribute (seconds) of the exception is honoured as a floor; Penstock's own errors say
    themselves whether they may be retried. Cancellation is never retried.

    Args:
        on: exception types, or a predicate; Penstock's errors are added to the types by their own word.
        max_attempts: the first included.
        base: seconds; the first backoff, doubled with each retry.
        max_delay: seconds; the longest backoff.
        max_hint: seconds; an exception that asks for more is raised at once.
        timeout: seconds for everything together; no wait starts that would pass it.
        budget: a shared `RetryBudget`; empty means the exception is raised at once.
        clock, sleep, async_sleep, dice: replaceable for tests.
    """

    def __init__(
        self,
        on: On = Exception,
        *,
        max_attempts: int = 3,
        base: float = 0.5,
        max_delay: float = 20.0,
        max_hint: float = 60.0,
        timeout: float = float("inf"),
        budget: RetryBudget | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        async_sleep: Callable[[float], Awaitable[None]] | None = None,
        dice: Callable[[], float] = random.random,
    ) -> None:
        if max_attempts < 1:
            raise ValueError(f"max_attempts must be at least 1, not {max_attempts!r}")
        self._on = on
        self._policy = RetryPolicy(
            max_attempts=max_attempts,
            max_total_attempts=max_attempts,
            base=base,
            max_delay=max_delay,
            max_hint=max_hint,
            margin=0.0,
        )
        self._timeout = timeout
        self._budget = budget
        self._clock = clock
        self._sleep = sleep
        self._async_sleep = async_sleep
        self._dice = dice

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Decorate a function or a coroutine function."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def repeated_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                sleep = self._sleeper()
                # Not `async for`: returning out of it leaves a generator for the event loop to clean up.
                for attempt in self._attempts():
                    with attempt:
                        return await function(*args, **kwargs)
                    await sleep(attempt.wait.delay)  # type: ignore[union-attr]  # it swallowed the error
                raise AssertionError("unreachable: the last attempt returns or raises")

            return cast("Callable[P, T]", repeated_async)

        @functools.wraps(function)
        def repeated(*args: P.args, **kwargs: P.kwargs) -> Any:
            for attempt in self:
                with attempt:
                    return function(*args, **kwargs)
            raise AssertionError("unreachable: the last attempt returns or raises")

        return cast("Callable[P, T]", repeated)

    def __iter__(self) -> Iterator[_Attempt]:
        for attempt in self._attempts():
            yield attempt
            if attempt.wait is None:
                return
            self._sleep(attempt.wait.delay)

    async def __aiter__(self) -> AsyncIterator[_Attempt]:
        sleep = self._sleeper()
        for attempt in self._attempts():
            yield attempt
            if attempt.wait is None:
                return
            await sleep(attempt.wait.delay)

    def _sleeper(self) -> Callable[[float], Awaitable[None]]:
        if self._async_sleep is not None:
            return self._async_sleep
        import asyncio

        return asyncio.sleep

    def _attempts(self) -> Iterator[_Attempt]:
        started = self._clock()
        if self._budget is not None:
            self._budget.deposit(started)
        number = alike = 0
        while True:
            number += 1
            attempt = _Attempt(self, number, alike, started + self._timeout)
            yield attempt
            alike = attempt.alike

    def _decide(self, error: BaseException, number: int, alike: int, deadline: float) -> Wait | Stop:
        if not isinstance(error, Exception) or not self._wanted(error):
            return Stop(None)
        now = self._clock()
        decision = self._policy.after(
            error if isinstance(error, PenstockError) else _Plain(error),
            attempts=number,
            total=number,
            alike=alike,
            remaining=deadline - now,
            dice=self._dice(),
        )
        if isinstance(decision, Wait) and self._budget is not None and not self._budget.withdraw(now):
            return Stop("exhausted")
        return decision

    def _wanted(self, error: Exception) -> bool:
        if isinstance(self._on, (type, tuple)):
            return isinstance(error, (PenstockError, self._on))
        return self._on(error)


class _Plain(Exception):
    """Stands for an exception that knows nothing of retries."""

    retryable = True

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        hint = getattr(error, "retry_after", None)
        self.retry_after = float(hint) if isinstance(hint, (int, float)) else None


class _Attempt:
    """One try of a block: swallows the exception when it will be tried again."""

    def __init__(self, owner: retrying, number: int, alike: int, deadline: float) -> None:
        self._owner = owner
        self._deadline = deadline
        self.number = number
        self.alike = alike
        self.wait: Wait | None = None

    def __enter__(self) -> _Attempt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if error is None:
            return False
        self.alike += getattr(error, "retry_limit", None) is not None
        decision = self._owner._decide(error, self.number, self.alike, self._deadline)
        if isinstance(decision, Stop):
            return False
        self.wait = decision
        return True
