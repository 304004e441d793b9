"""
The way of a call through the cache, at one place of the pipeline.

    look up -> fresh: answer | stale: answer, revalidate behind the scenes | nothing: fly
    fly     -> lead: ask upstream, keep, land | follow: wait for the leader, join again if it was cancelled

Whatever the store does wrong is a miss: a cache never fails a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.call import Outcome, Reply, Target, answered_by, current
from penstock.errors import CallError, DeadlineExceeded
from penstock.events import (
    CacheFailed,
    CacheLookup,
    CacheNotStored,
    CacheStored,
    CallFinished,
    CallStarted,
)
from penstock.exchange import deadline_exceeded
from penstock.messages import ChatRequest
from penstock.responses import ChatResponse, chunks_of
from penstock_cache.config import NO_OPTIONS, CacheConfig, CallOptions, read_options
from penstock_cache.entry import CorruptEntry, Entry, LogEvent, Unstorable, kept_as
from penstock_cache.flight import CANCELLED, UNTIL_SHARED, Flight, Landing, Part
from penstock_cache.key import Keyer, Unhashable
from penstock_cache.policy import may_serve_stale, why_not_asked, why_not_kept
from penstock_cache.streams import LeadReader, LogReader, Recording, Upstream, copy_of, landed, play, reached
from penstock_cache.trip import Trip, background_call, note

if TYPE_CHECKING:
    from penstock.call import Call
    from penstock.specs import Proceed
    from penstock_cache.stage import CacheStage


class CachePlace:
    """
    The cache as it is for one target or route.

    Args:
        cache: what all places share: store, flights, counters.
        config: in force here.
        names: what `invalidate` may call the entries of this place: the route, or the target.
        selected: a rule names this place.
        namespace: who is asked here, and as whom.
    """

    def __init__(
        self,
        cache: CacheStage,
        config: CacheConfig,
        *,
        names: tuple[str, ...],
        selected: bool,
        namespace: tuple[str, ...],
    ) -> None:
        self._cache = cache
        self._mode = config.mode
        self._selected = selected
        self._names = names
        self._keyer = Keyer(*namespace)
        self._lifetime = cache.lifetime(config)
        self._while_revalidate, self._if_error = config.stale_windows()
        self._stale = max(self._while_revalidate, self._if_error)

    async def __call__(self, call: Call, proceed: Proceed) -> Reply:
        cache, request = self._cache, call.request
        options = read_options(call.options["cache"]) if "cache" in call.options else NO_OPTIONS
        reason: str | None = why_not_asked(request, self._mode, self._selected or options.wanted)
        key = ""
        if reason is None:
            try:
                key = self._keyer.key(request, options.namespace)
            except Unhashable:
                reason = "unhashable"
        if reason is not None:
            cache.tally.add("bypasses")
            if call.listeners:
                call.emit(CacheLookup(call.runtime.now(), call, "bypass", reason, "", None))
            return await proceed(call)
        mark = cache.flights.landings
        entry, why = (None, "refresh") if options.refresh else await self._look_up(call, key)
        if entry is not None:
            now = cache.store.now()
            if now < entry.fresh_until:
                return self._answer(call, entry, key, "hit", "fresh")
            if now < entry.fresh_until + self._while_revalidate:
                reply = self._answer(call, entry, key, "stale", "revalidating")
                self._revalidate(call, proceed, key, mark, options)
                return reply
            why = "expired"
        if cache.negative is not None and not options.refresh:
            error = cache.negative.recall(key, call.runtime.now())
            if error is not None:
                self._told(call, key, "hits", "hit", "negative", 0.0)
                raise copy_of(error)
        trip = Trip(call, proceed, key, mark, options, entry, why)
        flight, part = cache.flights.join(key, mark)
        if part == "lead":
            return await self._lead(flight, trip)
        return await self._fly(flight, part, trip)

    # Looking up

    async def _look_up(self, call: Call, key: str) -> tuple[Entry | None, str]:
        """The entry, fresh or stale; else why there is none: `absent` or `store`."""
        try:
            data: Any = await self._cache.store.get(key)
        except Exception as error:
            self._failed(call, "get", error)
            return None, "store"
        if data is None:
            return None, "absent"
        try:
            return data if type(data) is Entry else self._cache.decode(key, data), ""
        except CorruptEntry as error:
            self._failed(call, "decode", error)
            return None, "store"

    def _answer(self, call: Call, entry: Entry, key: str, result: Any, reason: str) -> Reply:
        age = max(0.0, self._cache.store.now() - entry.created)
        self._told(call, key, "hits" if result == "hit" else "stale", result, reason, age)
        note(call, entry.target, age)
        if call.request.stream:
            answer = entry.answer
            if entry.log is not None:
                return play(entry.log, entry.response)  # type: ignore[arg-type]  # events are of chat answers
            if isinstance(answer, ChatResponse):
                return Recording(chunks_of(answer), lambda: answer).reply
        return Reply(entry.response())

    # Flying

    async def _fly(self, flight: Flight, part: Part, trip: Trip) -> Reply:
        while part == "follow":
            reply = await self._follow(flight, trip)
            if reply is not None:
                return reply
            flight, part = self._cache.flights.join(trip.key, trip.mark)
        if part == "look_again" and not trip.options.refresh:
            reply = await self._look_again(flight, trip)
            if reply is not None:
                return reply
        return await self._lead(flight, trip)

    async def _look_again(self, flight: Flight, trip: Trip) -> Reply | None:
        """A flight for this key landed since the store was asked: it may have the answer now."""
        try:
            entry, _ = await self._look_up(trip.call, trip.key)
            if entry is None or self._cache.store.now() >= entry.fresh_until:
                return None
            landing = Landing("answer", entry.response(), log=entry.log, source=entry.target)
        except BaseException:
            self._cache.flights.land(flight, CANCELLED)
            raise
        self._cache.flights.land(flight, landing)
        return self._answer(trip.call, entry, trip.key, "hit", "fresh")

    async def _lead(self, flight: Flight, trip: Trip) -> Reply:
        cache, call = self._cache, trip.call
        result = "error" if trip.why == "store" else "miss"
        self._told(call, trip.key, "misses", result, trip.why, None)
        generation = cache.generation
        try:
            reply = await trip.proceed(call)
        except BaseException as error:
            self._land_failure(flight, trip, error)
            if isinstance(error, Exception):
                old = self._instead_of(error, trip)
                if old is not None:
                    return old
            raise
        if reply.chunks is None:
            try:
                await self._keep(trip, reply.response, None, generation)
            finally:
                cache.flights.land(flight, Landing("answer", reply.response, source=call))
            return reply

        async def keep(outcome: Outcome, log: list[LogEvent] | None) -> None:
            await self._keep(trip, outcome.response, log, generation)

        upstream = Upstream(call, flight, reply, keep=keep, land=cache.flights.land, jobs=cache.jobs)
        reader = LeadReader(call, flight, upstream)
        if flight.opened(upstream):
            upstream.detach()
        return reader.reply

    def _land_failure(self, flight: Flight, trip: Trip, error: BaseException) -> None:
        cache = self._cache
        # A leader's own deadline says as little about the request as its cancellation.
        if not isinstance(error, Exception) or isinstance(error, DeadlineExceeded):
            cache.flights.land(flight, CANCELLED)
            return
        if cache.negative is not None and isinstance(error, CallError) and error.negative_ttl > 0:
            cache.negative.remember(trip.key, self._names, error, trip.call.runtime.now())
        cache.flights.land(flight, Landing("failure", error=error))

    def _instead_of(self, error: BaseException, trip: Trip) -> Reply | None:
        """An old answer instead of an error, where the configuration allows one."""
        entry = trip.entry
        if entry is None or not may_serve_stale(error):
            return None
        if self._cache.store.now() >= entry.fresh_until + self._if_error:
            return None
        return self._answer(trip.call, entry, trip.key, "stale", "error")

    async def _follow(self, flight: Flight, trip: Trip) -> Reply | None:
        """The leader's answer; None when it was cancelled, so that somebody else leads."""
        call = trip.call
        reader: LogReader | None = None
        try:
            if flight.take_over():
                flight.stream.detach()
            if call.request.stream:
                if not await reached(flight, UNTIL_SHARED, call.runtime, call.deadline):
                    raise deadline_exceeded(call)
                landing = flight.landing
                if landing is None:
                    reader = LogReader(call, flight)
                    self._shared(call, trip.key, flight.stream.call)
                    return reader.reply
            else:
                landing = await landed(flight, call)
        finally:
            if reader is None:
                flight.leave()
        if landing is None:
            raise deadline_exceeded(call)
        if landing.kind == "cancelled":
            return None
        if landing.error is not None:
            old = self._instead_of(landing.error, trip)
            if old is not None:
                return old
            self._told(call, trip.key, "coalesced", "miss", "coalesced", None)
            raise copy_of(landing.error)
        self._shared(call, trip.key, landing.source)
        return _reply_of(call, flight, landing)

    def _shared(self, call: Call, key: str, source: Call | Target) -> None:
        self._told(call, key, "coalesced", "hit", "coalesced", 0.0)
        note(call, source if isinstance(source, Target) else answered_by(source), 0.0)

    # Keeping

    async def _keep(self, trip: Trip, response: Any, log: list[LogEvent] | None, generation: int) -> None:
        """Store an answer if it is one to keep; only cancellation gets out of here."""
        cache, call, key = self._cache, trip.call, trip.key
        reason: Any = why_not_kept(call.request, response, self._mode)
        if reason is None and generation != cache.generation:
            reason = "invalidated"  # what was cleared must not come back with a call from before
        ttl = trip.options.ttl
        target = answered_by(call)
        if reason is None and ttl is None:
            try:
                ttl = self._lifetime(call, response, target)
            except Exception as error:
                self._failed(call, "ttl_rule", error)
                return
        if reason is None and ttl == 0:
            reason = "ttl"
        data: Any = b""
        now = cache.store.now()
        if reason is None and ttl is not None:
            try:
                answer, events = kept_as(response, log)
                data = cache.pack(Entry(now, now + ttl, target, answer, events))
            except Unstorable:
                reason = "unstorable"
        if reason is not None or ttl is None:
            if call.listeners:
                call.emit(CacheNotStored(call.runtime.now(), call, key, reason))
            return
        asked = str(target)
        names = self._names if asked in self._names else (*self._names, asked)
        try:
            await cache.store.set(key, data, expires=now + ttl + self._stale, names=names)
        except Exception as error:
            self._failed(call, "set", error)
            return
        cache.tally.add("stores")
        if call.listeners:
            call.emit(CacheStored(call.runtime.now(), call, key, ttl, len(data)))

    # Revalidating

    def _revalidate(self, call: Call, proceed: Proceed, key: str, mark: int, options: CallOptions) -> None:
        """Fetch a new answer behind the scenes, unless somebody does already or too many do."""
        cache = self._cache
        if cache.jobs.full:
            return
        flight, part = cache.flights.join(key, mark)
        if part == "follow":
            flight.leave()
            return
        if part == "look_again":  # somebody has just done it
            cache.flights.land(flight, CANCELLED)
            return
        trip = Trip(background_call(call), proceed, key, mark, options, None, "expired")

        def dropped() -> None:
            cache.flights.land(flight, CANCELLED)

        if not cache.jobs.start(lambda: self._refresh(flight, trip), dropped):
            dropped()

    async def _refresh(self, flight: Flight, trip: Trip) -> None:
        """A call of its own, with its own events: it costs what a call costs."""
        call = trip.call
        now = call.runtime.now
        current.set(call)
        if call.listeners:
            call.emit(CallStarted(call.started, call))
        outcome = Outcome("abandoned")
        try:
            reply = await self._lead(flight, trip)
            if reply.chunks is not None:
                async for _ in reply.chunks:
                    pass
            outcome = reply.outcome or outcome
        except Exception as error:
            outcome = Outcome("failed", error=error)
            if call.listeners:
                call.emit(CacheFailed(now(), call, "revalidate", error))
        finally:
            if call.listeners:
                call.emit(CallFinished(now(), call, outcome))

    # Telling

    def _told(self, call: Call, key: str, counter: str, result: Any, reason: str, age: float | None) -> None:
        self._cache.tally.add(counter)
        if call.listeners:
            call.emit(CacheLookup(call.runtime.now(), call, result, reason, key, age))

    def _failed(self, call: Call, operation: Any, error: Exception) -> None:
        self._cache.failed(operation, error)
        if call.listeners:
            call.emit(CacheFailed(call.runtime.now(), call, operation, error))


def _reply_of(call: Call, flight: Flight, landing: Landing) -> Reply:
    response = landing.value
    if not call.request.stream or not isinstance(call.request, ChatRequest):
        return Reply(response)
    log = landing.log if landing.log is not None else flight.log
    return play(log, lambda: response) if log else Recording(chunks_of(response), lambda: response).reply
