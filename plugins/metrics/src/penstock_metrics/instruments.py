"""
Every instrument there is: its name, type, unit, description, attributes and buckets, in one table.

The provider and the model are attributes of all of them; `attributes` lists those beyond. The names are
OpenTelemetry's, for Prometheus they are translated as its own exporter does, so that the alert rules and the
dashboard fit either way.
"""

from __future__ import annotations

from typing import Literal

from penstock import semconv
from penstock.frozen import dataclass

TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105  # tokens of text
OUTCOME = "outcome"
FROM = "from"
TO = "to"
REASON = "reason"
STATE = "state"
RESULT = "result"
SOURCE = "source"

DURATIONS = tuple(0.01 * 2**power for power in range(14))
"""Seconds: 10 ms to 82 s, doubling."""
FINE_DURATIONS = tuple(0.01 * 2 ** (eighth / 8) for eighth in range(-56, 137))
"""The same with eight steps to a doubling and further at both ends, so that percentiles are within 5 %."""
TOKENS = tuple(4.0**power for power in range(14))
"""Tokens: powers of 4."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """
    One thing that is measured.

    Args:
        name: as in OpenTelemetry.
        kind: how its values add up.
        unit: in OpenTelemetry's notation; what is in braces is for people only.
        description: one line.
        attributes: names beyond provider and model.
        bounds: the upper bounds of a histogram's buckets, as they are exported.
        fine: those it is recorded with, `bounds` among them.
    """

    name: str
    kind: Literal["histogram", "counter", "gauge"]
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    fine: tuple[float, ...] = ()

    @property
    def prometheus_name(self) -> str:
        """The name with Prometheus' alphabet and suffixes; those of single series are added to it."""
        name = self.name.replace(".", "_")
        if self.unit == "s":
            name += "_seconds"
        return name + "_total" if self.kind == "counter" else name


def _duration(name: str, description: str, *attributes: str) -> Instrument:
    return Instrument(name, "histogram", "s", description, attributes, DURATIONS, FINE_DURATIONS)


def _counter(name: str, unit: str, description: str, *attributes: str) -> Instrument:
    return Instrument(name, "counter", unit, description, attributes)


CALL_DURATION = _duration(
    "gen_ai.client.operation.duration",
    "Time of whole calls, with their queueing, retries and streams.",
    semconv.OPERATION,
    semconv.ERROR_TYPE,
)
FIRST_CHUNK = _duration(
    "gen_ai.client.operation.time_to_first_chunk",
    "Time from the start of a streamed call to its first content.",
)
TOKEN_USAGE = Instrument(
    "gen_ai.client.token.usage",
    "histogram",
    "{token}",
    "Tokens of answered calls as the provider counted them; none for answers of the local cache.",
    (TOKEN_TYPE,),
    TOKENS,
    TOKENS,
)
ATTEMPT_DURATION = _duration(
    "penstock.attempt.duration",
    "Time of single requests to a provider, with their streams.",
    semconv.ERROR_TYPE,
)
ATTEMPT_ERRORS = _counter(
    "penstock.attempt.errors", "{error}", "Requests to a provider that failed.", semconv.ERROR_TYPE
)
RETRY_ATTEMPTS = _counter(
    "penstock.retry.attempts",
    "{attempt}",
    "Retries that were scheduled, and failures that were not retried though they could have been.",
    OUTCOME,
)
FAILOVERS = _counter(
    "penstock.failovers", "{failover}", "Turns of a route from a failed target to another.", FROM, TO, REASON
)
BREAKER_STATE = Instrument(
    "penstock.circuit_breaker.state",
    "gauge",
    "{state}",
    "1 for the state a circuit breaker is in, 0 for its other states; from its first transition on.",
    (STATE,),
)
BREAKER_TRANSITIONS = _counter(
    "penstock.circuit_breaker.transitions",
    "{transition}",
    "Changes of a circuit breaker's state, by the state it changed to.",
    STATE,
)
BREAKER_REJECTIONS = _counter(
    "penstock.circuit_breaker.rejections", "{request}", "Requests a circuit breaker refused.", REASON
)
LIMITER_REQUESTS = _counter(
    "penstock.rate_limiter.requests",
    "{request}",
    "Requests at the rate limiter; those that queued are counted once more when they leave the queue.",
    RESULT,
)
QUEUE_TIME = _duration(
    "penstock.rate_limiter.queue_time", "Time in the rate limiter's queue, of those that queued."
)
CACHE_REQUESTS = _counter(
    "penstock.cache.requests", "{request}", "Calls that passed the cache, by what it had for them.", RESULT
)
COST = _counter("penstock.cost.usd", "{USD}", "Cost of answered calls in US dollars.", SOURCE)

INSTRUMENTS: tuple[Instrument, ...] = (
    CALL_DURATION,
    FIRST_CHUNK,
    TOKEN_USAGE,
    ATTEMPT_DURATION,
    ATTEMPT_ERRORS,
    RETRY_ATTEMPTS,
    FAILOVERS,
    BREAKER_STATE,
    BREAKER_TRANSITIONS,
    BREAKER_REJECTIONS,
    LIMITER_REQUESTS,
    QUEUE_TIME,
    CACHE_REQUESTS,
    COST,
)
