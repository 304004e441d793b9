"""
The same idea for functions that have nothing to do with models.

    rates = cached(ttl=60)

    @rates
    def exchange_rate(currency: str) -> float: ...      # `async def` works alike

    rates.invalidate("EUR"); rates.clear(); rates.stats()

Calls with equal arguments at the same time become one; an exception is shared by those who wait for it, and
not remembered. A coroutine that is cancelled hands the work to one of those who wait.
"""

from __future__ import annotations

import functools
import inspect
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, ParamSpec, TypeVar, cast

from penstock_cache.flight import CANCELLED, UNTIL_LANDED, Flight, Flights, Landing
from penstock_cache.streams import copy_of
from penstock_cache.tally import CacheStats, Tally

P = ParamSpec("P")
T = TypeVar("T")
_NOTHING = object()


class cached:  # noqa: N801  # used as a decorator, like `functools.cache`
    """
    Remember what a function returned for its arguments.

    Arguments must be hashable, unless `key` makes something hashable of them; 1, 1.0 and True differ. The
    very object is given to every caller, so it should not be changed.

    Args:
        ttl: seconds a result is remembered.
        max_entries: results remembered; the least recently used leave first.
        key: makes the key from the function's arguments.
        clock: seconds, replaceable for tests.

    Raises:
        ValueError: a bound that is not above zero.
    """

    def __init__(
        self,
        ttl: float = 300.0,
        *,
        max_entries: int = 1000,
        key: Callable[..., Hashable] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not ttl > 0 or max_entries < 1:
            raise ValueError(f"ttl and max_entries must be above zero, not {ttl!r} and {max_entries!r}")
        self._ttl = ttl
        self._max_entries = max_entries
        self._key = key
        self._clock = clock
        self._lock = threading.Lock()
        self._held: OrderedDict[Hashable, tuple[Any, float]] = OrderedDict()
        self._evictions = 0
        self._generation = 0
        self._tally = Tally()
        self._flights = Flights()
        # asyncio's events belong to a loop, so each loop has flights of its own.
        self._loops: weakref.WeakKeyDictionary[Any, Flights] = weakref.WeakKeyDictionary()

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Decorate a function or a coroutine function."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def remembered_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                key = self._key_of(args, kwargs)
                flights = self._of_loop()
                while True:
                    value, flight, leads = self._enter(flights, key)
                    if flight is None:
                        return value
                    if leads:
                        try:
                            generation = self._generation
                            value = await function(*args, **kwargs)
                            self._keep(key, value, generation)
                            flights.land(flight, Landing("answer", value))
                            return value
                        except BaseException as error:
                            flights.land(flight, _landing_of(error))
                            raise
                    try:
                        await _landed(flight)
                    finally:
                        flight.leave()
                    if flight.landing is not None and flight.landing.kind != "cancelled":
                        return self._shared(flight.landing)

            return cast("Callable[P, T]", remembered_async)

        @functools.wraps(function)
        def remembered(*args: P.args, **kwargs: P.kwargs) -> Any:
            key = self._key_of(args, kwargs)
            flights = self._flights
            while True:
                value, flight, leads = self._enter(flights, key)
                if flight is None:
                    return value
                if leads:
                    try:
                        generation = self._generation
                        value = function(*args, **kwargs)
                        self._keep(key, value, generation)
                        flights.land(flight, Landing("answer", value))
                        return value
                    except BaseException as error:
                        flights.land(flight, _landing_of(error))
                        raise
                signal = threading.Event()
                try:
                    if flight.watch(signal, UNTIL_LANDED):
                        signal.wait()
                finally:
                    flight.unwatch(signal)
                    flight.leave()
                if flight.landing is not None and flight.landing.kind != "cancelled":
                    return self._shared(flight.landing)

        return cast("Callable[P, T]", remembered)

    def invalidate(self, *args: Any, **kwargs: Any) -> bool:
        """Forget the result for these arguments; whether there was one."""
        with self._lock:
            self._generation += 1
            return self._held.pop(self._key_of(args, kwargs), None) is not None

    def clear(self) -> int:
        """Forget everything; how many results were forgotten."""
        with self._lock:
            self._generation += 1
            count = len(self._held)
            self._held.clear()
            return count

    def stats(self) -> CacheStats:
        """What happened so far; bytes are not counted."""
        tally = self._tally
        return CacheStats(
            hits=tally["hits"],
            stale=0,
            coalesced=tally["coalesced"],
            misses=tally["misses"],
            bypasses=0,
            errors=0,
            stores=tally["stores"],
            evictions=self._evictions,
            entries=len(self._held),
            bytes=0,
        )

    def _key_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
        if self._key is not None:
            return self._key(*args, **kwargs)
        named = tuple(sorted(kwargs.items()))
        return args, named, tuple(map(type, args)), tuple(type(value) for _, value in named)

    def _enter(self, flights: Flights, key: Hashable) -> tuple[Any, Flight | None, bool]:
        """A remembered value without a flight; or a flight, and whether to lead it."""
        mark = flights.landings
        value = self._recall(key)
        if value is not _NOTHING:
            self._tally.add("hits")
            return value, None, False
        flight, part = flights.join(key, mark)
        if part == "look_again":
            value = self._recall(key)
            if value is not _NOTHING:
                self._tally.add("hits")
                flights.land(flight, Landing("answer", value))
                return value, None, False
        if part != "follow":
            self._tally.add("misses")
        return None, flight, part != "follow"

    def _recall(self, key: Hashable) -> Any:
        with self._lock:
            held = self._held.get(key)
            if held is None:
                return _NOTHING
            if self._clock() >= held[1]:
                del self._held[key]
                return _NOTHING
            self._held.move_to_end(key)
            return held[0]

    def _keep(self, key: Hashable, value: Any, generation: int) -> None:
        with self._lock:
            if generation != self._generation:
                return  # forgotten while it was computed
            self._held[key] = (value, self._clock() + self._ttl)
            self._held.move_to_end(key)
            if len(self._held) > self._max_entries:
                self._held.popitem(last=False)
                self._evictions += 1
        self._tally.add("stores")

    def _shared(self, landing: Landing) -> Any:
        self._tally.add("coalesced")
        if landing.error is not None:
            raise copy_of(landing.error)
        return landing.value

    def _of_loop(self) -> Flights:
        import asyncio

        loop = asyncio.get_running_loop()
        with self._lock:
            flights = self._loops.get(loop)
            if flights is None:
                flights = self._loops[loop] = Flights()
            return flights


def _landing_of(error: BaseException) -> Landing:
    return Landing("failure", error=error) if isinstance(error, Exception) else CANCELLED


async def _landed(flight: Flight) -> None:
    import asyncio

    signal = asyncio.Event()
    try:
        if flight.watch(signal, UNTIL_LANDED):
            await signal.wait()
    finally:
        flight.unwatch(signal)
