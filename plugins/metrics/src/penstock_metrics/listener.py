"""
The listener: from events to numbers.

It runs inside every call, so an event costs a lookup by type and a few additions under one lock. The SDK's
own instruments would cost about 7 us for each number, so it is used only for what leaves the process; see
`exporting`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from penstock.call import Target
from penstock.events import (
    AttemptFinished,
    BreakerRejected,
    BreakerTransition,
    CacheLookup,
    CallFinished,
    CostRecorded,
    Failover,
    LimiterAdmitted,
    LimiterCancelled,
    LimiterQueued,
    LimiterRejected,
    RetryScheduled,
    RetryStopped,
)
from penstock.messages import ChatRequest, EmbedRequest, ModelsRequest
from penstock.spans import error_type
from penstock_metrics import instruments
from penstock_metrics.book import Book
from penstock_metrics.config import MetricsConfig
from penstock_metrics.exposition import exposition
from penstock_metrics.publishing import Publisher
from penstock_metrics.snapshot import Snapshot, summarise

if TYPE_CHECKING:
    from penstock.call import Call
    from penstock.events import Event
    from penstock.specs import Services

CANCELLED = "cancelled"
"""The `error.type` of what the caller gave up: no error, so no rule counts it as one."""
_CACHE = "metrics.cache"
_STATES = ("closed", "open", "half_open", "forced_open", "disabled")
_OPERATIONS = {ChatRequest: "chat", EmbedRequest: "embeddings", ModelsRequest: "models"}


class Metrics:
    """
    Counts and measures what the calls of one client do.

    Args:
        config: the values in force.
        services: brings the redactor, and the runtime that waits for the last export.
        wall: seconds since the epoch, replaceable for tests.

    Raises:
        ConfigError: an exporter is not installed.
    """

    def __init__(
        self, config: MetricsConfig, services: Services, wall: Callable[[], float] = time.time
    ) -> None:
        self._runtime = services.runtime
        self._publisher = Publisher(config, self.collect, services.redactor) if config.pushed else None
        self._wall = wall
        self._book = Book(
            max_targets=config.max_targets,
            redactor=services.redactor,
            opened=self._publisher.start if self._publisher is not None else _nothing,
            wall=wall,
        )
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            AttemptFinished: self._attempt_finished,
            BreakerRejected: self._breaker_rejected,
            BreakerTransition: self._breaker_changed,
            CacheLookup: self._cache_looked_up,
            CallFinished: self._call_finished,
            CostRecorded: self._cost_recorded,
            Failover: self._failed_over,
            LimiterAdmitted: self._limiter_admitted,
            LimiterCancelled: self._limiter_cancelled,
            LimiterQueued: self._limiter_queued,
            LimiterRejected: self._limiter_rejected,
            RetryScheduled: self._retry_scheduled,
            RetryStopped: self._retry_stopped,
        }

    def __call__(self, event: Event) -> None:
        handle = self._handlers.get(type(event))
        if handle is not None:
            handle(event)

    def collect(self) -> Any:
        """Every number as it is now, and the time the counting began, for exporters."""
        return self._book.collect(), self._book.since, self._wall()

    def exposition(self) -> str:
        """Every number as Prometheus' text format, version 0.0.4."""
        return exposition(self._book.collect())

    def snapshot(self) -> Snapshot:
        """What happened so far, for people."""
        return summarise(self._book.pages(), self._book.since)

    async def close(self) -> None:
        """Send the numbers a last time; a second call does nothing."""
        if self._publisher is not None:
            await self._runtime.run_blocking(self._publisher.close)

    # Calls and attempts

    def _call_finished(self, event: CallFinished) -> None:
        call, outcome = event.call, event.outcome
        facts = call.facts
        target = _answered_by(call)
        page = self._book.page(target)
        failure = "" if outcome.error is None else _word(outcome.error)
        cached = facts.get("cached", False)
        usage = None if cached or outcome.response is None else outcome.response.usage
        looked_up = facts.pop(_CACHE, None)
        with self._book.lock:
            operation = _OPERATIONS.get(type(call.request), "chat")
            page.record(instruments.CALL_DURATION, event.at - call.started, operation, failure)
            if call.request.stream and not cached:
                committed = _committed(call, target)
                if committed is not None:
                    page.record(instruments.FIRST_CHUNK, committed - call.started)
            if usage is not None:
                if usage.input_tokens is not None:
                    page.record(instruments.TOKEN_USAGE, usage.input_tokens, "input")
                if usage.output_tokens is not None:
                    page.record(instruments.TOKEN_USAGE, usage.output_tokens, "output")
            if looked_up is not None:
                page.add(instruments.CACHE_REQUESTS, looked_up)

    def _attempt_finished(self, event: AttemptFinished) -> None:
        attempt = event.attempt
        page = self._book.page(attempt.target)
        cancelled = event.kind == "cancelled"
        failure = "" if attempt.error is None else CANCELLED if cancelled else _word(attempt.error)
        with self._book.lock:
            page.record(instruments.ATTEMPT_DURATION, event.at - attempt.started, failure)
            if failure and failure != CANCELLED:
                page.add(instruments.ATTEMPT_ERRORS, failure)

    # Stages

    def _retry_scheduled(self, event: RetryScheduled) -> None:
        self._count(event.call, instruments.RETRY_ATTEMPTS, "scheduled")

    def _retry_stopped(self, event: RetryStopped) -> None:
        self._count(event.call, instruments.RETRY_ATTEMPTS, event.reason)

    def _failed_over(self, event: Failover) -> None:
        book = self._book
        page, before, after = book.page(event.before), book.name(event.before), book.name(event.after)
        with book.lock:
            page.add(instruments.FAILOVERS, before, after, event.reason)

    def _breaker_changed(self, event: BreakerTransition) -> None:
        page = self._book.page(event.target)
        with self._book.lock:
            page.add(instruments.BREAKER_TRANSITIONS, event.after)
            # Threads may tell of two changes in the wrong order; and no state is that of many models.
            if event.generation < page.generation or page.shared:
                return
            page.generation = event.generation
            for state in _STATES:
                page.set(instruments.BREAKER_STATE, state, amount=float(state == event.after))

    def _breaker_rejected(self, event: BreakerRejected) -> None:
        page = self._book.page(event.target)
        with self._book.lock:
            page.add(instruments.BREAKER_REJECTIONS, event.reason)

    def _limiter_admitted(self, event: LimiterAdmitted) -> None:
        self._count(event.call, instruments.LIMITER_REQUESTS, "acquired", event.waited, event.queued)

    def _limiter_queued(self, event: LimiterQueued) -> None:
        self._count(event.call, instruments.LIMITER_REQUESTS, "queued")

    def _limiter_rejected(self, event: LimiterRejected) -> None:
        self._count(event.call, instruments.LIMITER_REQUESTS, "rejected", event.waited, event.waited > 0.0)

    def _limiter_cancelled(self, event: LimiterCancelled) -> None:
        self._count(event.call, instruments.LIMITER_REQUESTS, "cancelled", event.waited, True)

    def _cost_recorded(self, event: CostRecorded) -> None:
        if event.usd is None:
            return
        page = self._book.page(event.target)
        with self._book.lock:
            page.add(instruments.COST, event.source, amount=float(event.usd))

    def _cache_looked_up(self, event: CacheLookup) -> None:
        # Counted when the call is over: above the routes nobody knows yet whose answer it will be.
        event.call.facts[_CACHE] = event.result

    def _count(
        self,
        call: Call,
        instrument: instruments.Instrument,
        value: str,
        waited: float = 0.0,
        queued: bool = False,
    ) -> None:
        page = self._book.page(_target_of(call))
        with self._book.lock:
            page.add(instrument, value)
            if queued:
                page.record(instruments.QUEUE_TIME, waited)


def _nothing() -> None:
    """Nobody waits for the first page."""


def _word(error: BaseException) -> str:
    if not isinstance(error, Exception):
        return CANCELLED
    return error_type(error) or ""


def _target_of(call: Call) -> Target:
    return call.target or Target("", call.route or call.request.model)


def _answered_by(call: Call) -> Target:
    told: Target | None = call.facts.get("target")  # where the last attempt is not the one that answered
    if told is not None:
        return told
    return call.attempts[-1].target if call.attempts else _target_of(call)


def _committed(call: Call, target: Target) -> float | None:
    """When the stream that the caller saw began."""
    for attempt in call.attempts:
        if attempt.committed is not None and attempt.target == target:
            return attempt.committed
    return None
