"""
The same circuit for functions that have nothing to do with models.

    breaker = CircuitBreaker("inventory", on=OSError)

    @breaker                                    # `async def` works alike
    def fetch() -> bytes: ...

    with breaker:                               # `async with` in a coroutine
        ...
"""

from __future__ import annotations

import functools
import inspect
import logging
import random
import time
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, cast

from penstock.errors import BreakerOpen, CallError
from penstock_breaker.circuit import Circuit
from penstock_breaker.permit import Permit, Refusal
from penstock_breaker.policy import BreakerPolicy
from penstock_breaker.reports import Transition

if TYPE_CHECKING:
    from penstock.events import BreakerState
    from penstock_breaker.reports import CircuitStats, Note

P = ParamSpec("P")
T = TypeVar("T")
On = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]

logger = logging.getLogger("penstock")

# Immutable, so that a task started inside a block sees the blocks around it and cannot disturb them.
_entered: ContextVar[tuple[tuple[CircuitBreaker, Permit, float], ...]] = ContextVar(
    "penstock_breaker_entered", default=()
)


class CircuitBreaker:
    """
    Refuse to run a function, or a block, while it keeps failing.

    One object guards one thing (a server, a device) and may be shared by threads and tasks. Cancellation
    and what `on` does not name are neither success nor failure; of Penstock's own errors those count that
    say so. A `retry_after` attribute (seconds) of an exception makes the rest longer.

    A block is left where it was entered: by the same thread, in the same task. Elsewhere its outcome is
    not seen, and if it was a probe, its lease has to end.

    Args:
        name: shown in errors.
        on: exception types that count as failures, or a predicate.
        consecutive_failures, failure_rate, min_calls, window, buckets: as in `BreakerPolicy`; shares of 0
            and a row of 0 switch a rule off, times are seconds.
        slow_rate, slow_after: here a run is slow when it takes longer as a whole.
        open_for, max_open, jitter, max_hint: as in `BreakerPolicy`.
        probes, close_after, probe_lease: as in `BreakerPolicy`.
        on_transition: called with each `Transition`; what it raises is logged and dropped.
        clock, dice: replaceable for tests.

    Raises:
        BreakerOpen: when entered or called while it is open; nothing was run.
    """

    def __init__(
        self,
        name: str = "breaker",
        *,
        on: On = Exception,
        consecutive_failures: int = 5,
        failure_rate: float = 0.5,
        min_calls: int = 10,
        window: float = 60.0,
        buckets: int = 10,
        slow_rate: float = 0.0,
        slow_after: float = 30.0,
        open_for: float = 15.0,
        max_open: float = 120.0,
        jitter: float = 0.1,
        max_hint: float = 300.0,
        probes: int = 1,
        close_after: int = 2,
        probe_lease: float = 600.0,
        on_transition: Callable[[Transition], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self._on = on
        self._on_transition = on_transition
        self._clock = clock
        policy = BreakerPolicy(
            consecutive_failures=consecutive_failures,
            failure_rate=failure_rate,
            min_calls=min_calls,
            window=window,
            buckets=buckets,
            slow_rate=slow_rate,
            slow_after=slow_after,
            open_for=open_for,
            max_open=max_open,
            jitter=jitter,
            max_hint=max_hint,
            probes=probes,
            close_after=close_after,
            probe_lease=probe_lease,
        )
        self._circuit = Circuit(policy, dice, self._tell)

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """
        Decorate a function or a coroutine function.

        Raises:
            TypeError: it is a generator function, whose run cannot be seen from here; use a block inside it.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function.__qualname__!r} is a generator; use `with breaker:` inside it")
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def guarded_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                permit, began = self._acquire()
                try:
                    result = await function(*args, **kwargs)
                except BaseException as error:
                    self._settle(permit, began, error)
                    raise
                self._settle(permit, began, None)
                return result

            return cast("Callable[P, T]", guarded_async)

        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            permit, began = self._acquire()
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                self._settle(permit, began, error)
                raise
            self._settle(permit, began, None)
            return result

        return guarded

    def __enter__(self) -> Self:
        permit, began = self._acquire()
        _entered.set((*_entered.get(), (self, permit, began)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        entered = _entered.get()
        for index in range(len(entered) - 1, -1, -1):
            breaker, permit, began = entered[index]
            if breaker is self:
                _entered.set(entered[:index] + entered[index + 1 :])
                self._settle(permit, began, error)
                return

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    @property
    def state(self) -> BreakerState:
        """Where it stands; `open` until a run is tried after its rest."""
        return self._circuit.state

    def stats(self) -> CircuitStats:
        """Its counters, and when it may be tried again."""
        return self._circuit.stats(self._clock())

    def reset(self) -> None:
        """Close it and forget what it has seen."""
        self._circuit.reset(self._clock())

    def force_open(self) -> None:
        """Refuse everything until `reset`."""
        self._circuit.force_open(self._clock())

    def disable(self) -> None:
        """Let everything through, counting only, until `reset`."""
        self._circuit.disable(self._clock())

    def _acquire(self) -> tuple[Permit, float]:
        began = self._clock()
        permit = self._circuit.acquire(began)
        if isinstance(permit, Refusal):
            self._circuit.rejected()
            error = BreakerOpen(
                f"{self.name}: the circuit breaker is {self._circuit.state.replace('_', ' ')}",
                stage=self.name,
                retry_after=permit.retry_after,
            )
            error.tag(permit.reason)
            raise error
        return permit, began

    def _settle(self, permit: Permit, began: float, error: BaseException | None) -> None:
        now = self._clock()
        if error is None:
            self._circuit.settle(permit, "success", now, waited=now - began)
            return
        if not isinstance(error, Exception):
            self._circuit.settle(permit, "cancelled", now)
            return
        try:
            counts = self._counts(error)
        except BaseException:
            self._circuit.settle(permit, "ignored", now)
            raise
        if counts:
            hint = getattr(error, "retry_after", None)
            seconds = float(hint) if isinstance(hint, (int, float)) else None
            self._circuit.settle(permit, "failure", now, waited=now - began, hint=seconds)
        else:
            self._circuit.settle(permit, "ignored", now)

    def _counts(self, error: Exception) -> bool:
        if isinstance(error, CallError) and not error.counts:
            return False
        if isinstance(self._on, (type, tuple)):
            return isinstance(error, self._on)
        return self._on(error)

    def _tell(self, note: Note) -> None:
        if self._on_transition is None or not isinstance(note, Transition):
            return
        try:
            self._on_transition(note)
        except Exception as error:
            logger.error("on_transition of %r raised %s; skipped", self.name, type(error).__name__)
