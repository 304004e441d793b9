"""
The same failover for functions that have nothing to do with models.

    @failing_over(read_replica, read_backup, on=OSError)
    def read(key: str) -> bytes: ...            # `async def` works alike, with `async def` alternatives

    for attempt in failing_over("db-1", "db-2", on=OSError):
        with attempt as host:                   # nothing is awaited in between, so it suits coroutines too
            ...
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar, cast

from penstock.errors import CallError

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")
On = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]


class failing_over(Generic[V]):  # noqa: N801  # used as a decorator, like `contextlib.suppress`
    """
    Try alternatives in order until one does not fail; each once.

    The error of the last one is raised, with notes about those before. Cancellation ends it at once. Of
    Penstock's own errors those fail over that say so.

    Args:
        alternatives: functions, tried after the decorated one; or any values, for the loop.
        on: exception types, or a predicate.
    """

    def __init__(self, *alternatives: V, on: On = Exception) -> None:
        self._alternatives = alternatives
        self._on = on

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Decorate a function or a coroutine function; the alternatives take the same arguments."""
        strangers = [each for each in self._alternatives if not callable(each)]
        if strangers:
            raise TypeError(f"{strangers[0]!r} is no function; a decorator needs functions as alternatives")
        functions = (function, *cast("tuple[Callable[P, T], ...]", self._alternatives))
        if any(map(inspect.iscoroutinefunction, functions)):
            if not all(map(inspect.iscoroutinefunction, functions)):
                raise TypeError("either all of the functions are `async def`, or none is")

            @functools.wraps(function)
            async def tried_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                for attempt in failing_over(*functions, on=self._on):
                    with attempt as each:
                        return await cast("Any", each)(*args, **kwargs)
                raise AssertionError("unreachable: the last alternative returns or raises")

            return cast("Callable[P, T]", tried_async)

        @functools.wraps(function)
        def tried(*args: P.args, **kwargs: P.kwargs) -> T:
            for attempt in failing_over(*functions, on=self._on):
                with attempt as each:
                    return each(*args, **kwargs)
            raise AssertionError("unreachable: the last alternative returns or raises")

        return tried

    def __iter__(self) -> Iterator[_Attempt[V]]:
        if not self._alternatives:
            raise ValueError("there is nothing to try")
        failures: list[BaseException] = []
        for number, value in enumerate(self._alternatives, start=1):
            attempt = _Attempt(value, failures, self._on, last=number == len(self._alternatives))
            yield attempt
            if not attempt.failed:
                return


class _Attempt(Generic[V]):
    """One alternative, as a block; swallows what the next one may mend."""

    def __init__(self, value: V, failures: list[BaseException], on: On, *, last: bool) -> None:
        self._value = value
        self._failures = failures
        self._on = on
        self._last = last
        self.failed = False

    def __enter__(self) -> V:
        return self._value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if error is None:
            return False
        if self._last or not isinstance(error, Exception) or not self._wanted(error):
            for failure in self._failures:
                error.add_note(f"before it: {type(failure).__name__}: {failure}")
            return False
        self._failures.append(error)
        self.failed = True
        return True

    def _wanted(self, error: Exception) -> bool:
        if isinstance(error, CallError):
            return error.failover == "yes"
        if isinstance(self._on, (type, tuple)):
            return isinstance(error, self._on)
        return self._on(error)
