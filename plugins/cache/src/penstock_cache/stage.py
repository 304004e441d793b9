"""The cache stage: what all places of one client share, and what operators do with it."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable, Coroutine
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, cast

from penstock.errors import ConfigError
from penstock.runtime import drive
from penstock.specs import Scope
from penstock_cache.background import Jobs
from penstock_cache.config import WHOLE_CACHE, CacheConfig
from penstock_cache.entry import Decoder, at_hand, encode
from penstock_cache.flight import Flights
from penstock_cache.key import identity
from penstock_cache.memory import MemoryStore
from penstock_cache.negative import Negative
from penstock_cache.place import CachePlace
from penstock_cache.sqlite import SqliteStore
from penstock_cache.tally import CacheStats, Tally

if TYPE_CHECKING:
    from penstock.call import Call, Reply, Target
    from penstock.responses import Response
    from penstock.specs import Proceed, Services
    from penstock_cache.store import Store
    from penstock_cache.ttl import TtlRule

logger = logging.getLogger("penstock")
AT_HAND_ENTRIES = 10_000
"""Entries up to which a cache in memory keeps short answers as they are."""
Lifetime = Callable[["Call", "Response", "Target"], float]


class CacheStage:
    """
    Answers from memory what was answered before, and asks once what is asked at the same time.

    Args:
        config: the values in force.
        services: brings clock, dice, and stores that other plugins register.

    Raises:
        ConfigError: the store or the rule cannot be used.
    """

    def __init__(self, config: CacheConfig, services: Services) -> None:
        self._config = config
        self._runtime = services.runtime
        self.store: Store = _make_store(config, services)
        self.flights = Flights()
        self.tally = Tally()
        self.decode = Decoder()
        # Of many entries kept as objects the garbage collector would have much to look at.
        small = isinstance(self.store, MemoryStore) and config.max_entries <= AT_HAND_ENTRIES
        self.pack = at_hand if small else encode
        self.jobs = Jobs(services.runtime)
        self.negative = Negative() if config.negative else None
        self.lifetime(config)  # a rule that cannot be loaded is an error now, not at the first call
        self.generation = 0
        """Raised by `clear` and `invalidate`, so that calls from before keep nothing."""
        self._complained: set[tuple[str, type]] = set()
        self._failed_at: float | None = None
        self._places: dict[tuple[str | None, Target | None], CachePlace] = {}

    def bind(self, scope: Scope) -> CachePlace | None:
        """The cache for one target or route; None where it is switched off."""
        config: CacheConfig = scope.config
        for key in WHOLE_CACHE:
            if getattr(config, key) != getattr(self._config, key):
                raise ConfigError(
                    f"cache: {key!r} is of the whole cache and cannot differ for "
                    f"{scope.route or scope.target}; set it in [cache]"
                )
        if config.mode == "disabled":
            return None
        name = scope.route if scope.route is not None else str(scope.target)
        kind = "route" if scope.route is not None else "target"
        whom = identity(scope.provider) if scope.provider is not None else ""
        return CachePlace(
            self,
            config,
            names=(name,),
            selected=any(fnmatchcase(name, pattern) for pattern in config.models),
            namespace=(kind, name, whom, config.namespace),
        )

    async def __call__(self, call: Call, proceed: Proceed) -> Reply:
        """For use without a pipeline; a pipeline binds a place for each target and route."""
        where = (call.route, call.target)
        place = self._places.get(where)
        if place is None:
            place = self.bind(Scope(config=self._config, route=call.route, target=call.target, provider=None))
            if place is None:
                return await proceed(call)
            if len(self._places) >= 1024:
                self._places.clear()
            self._places[where] = place
        return await place(call, proceed)

    # For places

    def lifetime(self, config: CacheConfig) -> Lifetime:
        """The life of an answer in seconds, as the configuration says."""
        if config.ttl is not None:
            fixed = config.ttl
            return lambda call, response, target: fixed
        rule = _load_rule(config.ttl_rule)
        shortest, longest, jitter = config.min_ttl, config.max_ttl, config.jitter

        def by_content(call: Call, response: Response, target: Target) -> float:
            ttl = rule(call.request, response, model=target.model, min_ttl=shortest, max_ttl=longest)
            ttl = min(longest, ttl) * (1.0 - jitter * call.runtime.random())
            return max(shortest, ttl)

        return by_content

    def failed(self, operation: str, error: Exception) -> None:
        """Count a failure of the store, and log the first of its kind."""
        self.tally.add("errors")
        self._failed_at = self._runtime.now()
        kind = (operation, type(error))
        if kind not in self._complained:
            self._complained.add(kind)
            logger.warning(
                "cache: %s failed with %s; calls go upstream meanwhile (logged once)",
                operation,
                type(error).__name__,
            )

    # For operators

    def stats(self) -> CacheStats:
        """Counters since the client was built, and the size of the store."""
        size, tally = self.store.size(), self.tally
        return CacheStats(
            hits=tally["hits"],
            stale=tally["stale"],
            coalesced=tally["coalesced"],
            misses=tally["misses"],
            bypasses=tally["bypasses"],
            errors=tally["errors"],
            stores=tally["stores"],
            evictions=size.evictions,
            entries=size.entries,
            bytes=size.bytes,
        )

    def failed_since(self) -> float | None:
        """Seconds since the store failed last, None when it never did."""
        return None if self._failed_at is None else self._runtime.now() - self._failed_at

    def clear(self) -> Any:
        """
        Drop everything; how many entries were dropped.

        In the blocking client it returns the number, in the others a coroutine to await.
        """
        return self._do(self._clear())

    def invalidate(self, pattern: str) -> Any:
        """
        Drop one entry by its key, or all of a target or route.

        Args:
            pattern: a key from an event, or a glob such as `openai/gpt-4*`.

        Returns:
            How many were dropped; as for `clear`, to be awaited outside the blocking client.
        """
        return self._do(self._invalidate(pattern))

    async def close(self) -> None:
        """Stop revalidations and let go of the store; may be called twice."""
        await self.jobs.close()
        if not self._config_store_is_shared:
            await self.store.close()

    @property
    def _config_store_is_shared(self) -> bool:
        # A store of another plugin is closed by the client, after every stage.
        return not isinstance(self.store, (MemoryStore, SqliteStore))

    async def _clear(self) -> int:
        self.generation += 1
        if self.negative is not None:
            self.negative.forget(None)
        return await self.store.clear()

    async def _invalidate(self, pattern: str) -> int:
        self.generation += 1
        if self.negative is not None:
            self.negative.forget(pattern)
        return await self.store.delete(pattern)

    def _do(self, work: Coroutine[Any, Any, int]) -> Any:
        return drive(work) if self._runtime.colour == "blocking" else work


def _make_store(config: CacheConfig, services: Services) -> Store:
    runtime = services.runtime
    if config.store == "memory":
        return MemoryStore(runtime.now, max_entries=config.max_entries, max_bytes=config.max_bytes)
    if config.store == "sqlite":
        if config.path is None:
            raise ConfigError("[cache] store = 'sqlite' needs a file: set path = '~/.cache/penstock.sqlite'")
        # Entries outlive the process, so they are dated with the time of day; in simulations with theirs.
        clock = runtime.now if runtime.colour == "simulated" else time.time
        return SqliteStore(
            config.path,
            runtime.run_blocking,
            max_entries=config.max_entries,
            max_bytes=config.max_bytes,
            clock=clock,
        )
    return cast("Store", services.store(config.store))


def _load_rule(path: str) -> TtlRule:
    module, _, name = path.partition(":")
    try:
        return cast("TtlRule", getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"[cache] ttl_rule = {path!r} cannot be loaded: {error}") from error
