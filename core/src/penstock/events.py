"""
What happens on the way of a call, as typed facts for listeners.

Events are made only when somebody listens. A listener is any callable that takes one event; it must not
block, and what it raises is logged and dropped. Every event of a call carries the call, so a listener can
read its id, target and attempts; it must not change them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from decimal import Decimal

    from penstock.call import Attempt, Call, Outcome, Target
    from penstock.errors import CallError
    from penstock.responses import Usage


@dataclass(frozen=True, slots=True)
class Event:
    """
    Something that happened.

    Args:
        at: the clock's reading in seconds.
    """

    at: float


@dataclass(frozen=True, slots=True)
class CallEvent(Event):
    """Something that happened to one call."""

    call: Call


@dataclass(frozen=True, slots=True)
class CallStarted(CallEvent):
    """A logical call entered the pipeline."""


@dataclass(frozen=True, slots=True)
class CallFinished(CallEvent):
    """
    A logical call is over, its stream included.

    Args:
        outcome: how it ended; `failed` carries the error the caller sees.
    """

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class AttemptStarted(CallEvent):
    """A request is about to be sent."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class AttemptCommitted(CallEvent):
    """The first content event of a stream arrived: the attempt can no longer be repeated."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class AttemptFinished(CallEvent):
    """
    An attempt is over, its stream included; `attempt.error` says what broke it.

    Args:
        kind: as in `Outcome`, or `cancelled` when it was cut off before it was committed.
    """

    attempt: Attempt
    kind: Literal["ok", "failed", "abandoned", "cancelled"]


@dataclass(frozen=True, slots=True)
class RetryScheduled(CallEvent):
    """
    The same target will be tried again.

    Args:
        error: what the last attempt ended with.
        delay: seconds until the next attempt.
        hint: seconds the server asked for, or None.
    """

    error: CallError
    delay: float
    hint: float | None


@dataclass(frozen=True, slots=True)
class RetryStopped(CallEvent):
    """
    The same target will not be tried again, though the error could have been retried.

    Args:
        error: the error that is passed on.
        reason: `exhausted` (attempts), `denied` (retry budget), `hint_too_long`, `deadline`, `breaker_open`
            (the failures so far opened it for longer than the wait).
    """

    error: CallError
    reason: Literal["exhausted", "denied", "hint_too_long", "deadline", "breaker_open"]


# The breaker stage

BreakerState: TypeAlias = Literal["closed", "open", "half_open", "forced_open", "disabled"]
BreakerReason: TypeAlias = Literal[
    "consecutive_failures",
    "failure_rate",
    "slow_rate",
    "rest_over",
    "probe_failed",
    "probe_slow",
    "probes_succeeded",
    "reset",
    "forced",
    "disabled",
]


@dataclass(frozen=True, slots=True)
class BreakerTransition(Event):
    """
    A circuit breaker changed its state.

    Args:
        target: whose breaker it is.
        before, after: the states.
        reason: the rule that opened it, `rest_over` (a probe was let through), how the probes went, or what
            was done by hand.
        generation: the one that begins; outcomes of attempts admitted in an older one change nothing.
        open_for: seconds until probes are let through, or None when it did not open.
    """

    target: Target
    before: BreakerState
    after: BreakerState
    reason: BreakerReason
    generation: int
    open_for: float | None


@dataclass(frozen=True, slots=True)
class BreakerExtended(Event):
    """
    A server's hint made the rest of an open breaker longer.

    Args:
        target: whose breaker it is.
        open_for: seconds from now until probes are let through.
    """

    target: Target
    open_for: float


@dataclass(frozen=True, slots=True)
class BreakerProbesLost(Event):
    """
    Probes of a half-open breaker were not heard of within their lease; their places are free again.

    Args:
        target: whose breaker it is.
        count: how many.
    """

    target: Target
    count: int


@dataclass(frozen=True, slots=True)
class BreakerRejected(CallEvent):
    """
    An attempt was refused; nothing was sent.

    Args:
        target: who would have been asked.
        reason: `open`, `probing` (half open, all probes under way), `forced_open` or `credential_rests`.
        retry_after: seconds after which asking again may help.
    """

    target: Target
    reason: Literal["open", "probing", "forced_open", "credential_rests"]
    retry_after: float


@dataclass(frozen=True, slots=True)
class CredentialRested(Event):
    """
    A provider's credential is not used for a while: it was refused, or its quota is spent.

    Args:
        provider: the provider's instance name.
        reason: the name of the error that said so.
        rest_for: seconds.
    """

    provider: str
    reason: str
    rest_for: float


@dataclass(frozen=True, slots=True)
class CredentialResumed(Event):
    """
    A provider's credential may be used again.

    Args:
        provider: the provider's instance name.
        reason: `rest_over` or `reset`.
    """

    provider: str
    reason: Literal["rest_over", "reset"]


@dataclass(frozen=True, slots=True)
class LimiterAdmitted(CallEvent):
    """
    An attempt may be sent.

    Args:
        waited: seconds in the queue.
        queued: whether it had to queue at all.
    """

    waited: float
    queued: bool


@dataclass(frozen=True, slots=True)
class LimiterQueued(CallEvent):
    """
    An attempt waits for room.

    Args:
        reason: what lacks: `rate`, `tokens`, `concurrency`, `remaining` (by the server's word), `paused`
            (after a 429) or `queue` (others were first).
        limit: the name of the limit that lacks it.
        predicted: seconds the wait will probably take.
    """

    reason: str
    limit: str
    predicted: float


@dataclass(frozen=True, slots=True)
class LimiterRejected(CallEvent):
    """
    An attempt was refused; nothing was sent and nothing taken.

    Args:
        error: what the caller sees; its `retry_after` is the predicted wait.
        reason: as in `LimiterQueued`, or `quota`, `full` (the queue), `too_large`, `deadline`.
        waited: seconds in the queue.
    """

    error: CallError
    reason: str
    waited: float


@dataclass(frozen=True, slots=True)
class LimiterCancelled(CallEvent):
    """
    A call was cancelled while it queued; the queue is as though it had never been there.

    Args:
        waited: seconds in the queue.
    """

    waited: float


@dataclass(frozen=True, slots=True)
class LimiterPaused(CallEvent):
    """
    A 429 paused everything that counts for the same key.

    Args:
        limit: the key's name.
        seconds: how long, jitter included.
        reason: `throttled`, or `quota` when it is so long that nobody queues for it.
    """

    limit: str
    seconds: float
    reason: Literal["throttled", "quota"]


@dataclass(frozen=True, slots=True)
class LimiterAdapted(CallEvent):
    """
    The adaptive concurrency changed, for the better after successes or the worse after a throttle.

    Args:
        limit: the name of the limit.
        before, after: calls at once.
    """

    limit: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class LimiterConfigured(Event):
    """
    A limit was changed by hand.

    Args:
        target: the target or pattern it was changed for.
        values: what was said, by name.
    """

    target: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class CacheLookup(CallEvent):
    """
    What the cache had for a call; once for every call that passes it.

    Args:
        result: `hit`, `stale` (an expired answer was given), `miss` (upstream is asked), `bypass` (the cache
            has nothing to do with the call) or `error` (the store failed; upstream is asked).
        reason: of a hit `fresh`, `coalesced` (another call's answer) or `negative` (a remembered error); of a
            stale one `revalidating` or `error`; of a miss `absent`, `expired` or `refresh`; of a bypass
            `sampled`, `not_selected`, `kind` or `unhashable`; of an error `store`.
        key: a hash, "" for a bypass.
        age: seconds since the answer was given, None without one.
    """

    result: Literal["hit", "stale", "miss", "bypass", "error"]
    reason: str
    key: str
    age: float | None


@dataclass(frozen=True, slots=True)
class CacheStored(CallEvent):
    """
    An answer was kept.

    Args:
        key: a hash.
        ttl: seconds it is fresh.
        size: bytes as stored.
    """

    key: str
    ttl: float
    size: int


@dataclass(frozen=True, slots=True)
class CacheNotStored(CallEvent):
    """
    An answer that was looked up is not kept.

    Args:
        key: a hash.
        reason: `incomplete` (cut, broken or left early), `empty`, `error` (inside the answer), `ttl` (the
            call said 0), `invalidated` (cleared meanwhile) or `unstorable`.
    """

    key: str
    reason: Literal["incomplete", "empty", "error", "ttl", "invalidated", "unstorable"]


@dataclass(frozen=True, slots=True)
class CacheFailed(CallEvent):
    """
    Something of the cache failed; the call did not.

    Args:
        operation: `get` or `set` of the store, `decode` of what it gave back, `ttl_rule`, or `revalidate`.
        error: what it failed with.
    """

    operation: Literal["get", "set", "decode", "ttl_rule", "revalidate"]
    error: Exception


# The routing stage


@dataclass(frozen=True, slots=True)
class TargetSkipped(CallEvent):
    """
    A route passed over a target; nothing was sent and no attempt counted.

    Args:
        target: who was not asked.
        reason: the `error.type` of a refusal (`circuit_open`, `rate_limited_local`), the capability it
            lacks, `context_length`, `prefill` (it cannot continue a text) or `drained` (by hand).
        error: what asking it would have ended with.
    """

    target: Target
    reason: str
    error: CallError


@dataclass(frozen=True, slots=True)
class Failover(CallEvent):
    """
    A route turns to another target.

    Args:
        before: the target that failed.
        after: the one that is asked next.
        reason: the `error.type` of the failure.
        error: the failure.
    """

    before: Target
    after: Target
    reason: str
    error: CallError


@dataclass(frozen=True, slots=True)
class StreamRecovered(CallEvent):
    """
    Another target took a broken stream over; what it writes comes next.

    Args:
        before: the target whose stream broke.
        after: the one that took over.
        mode: `restart` (a reset event comes first) or `continue`.
        error: what broke the stream.
    """

    before: Target
    after: Target
    mode: Literal["restart", "continue"]
    error: CallError


@dataclass(frozen=True, slots=True)
class StreamLost(CallEvent):
    """
    A broken stream that should have been taken over was not; its error is raised.

    Args:
        target: whose stream broke.
        reason: `final` (no other target would help), `complete` (only its end was missing), `not_text`
            (tool calls, several choices or unfinished reasoning cannot be continued) or `exhausted`.
        error: what broke it.
    """

    target: Target
    reason: Literal["final", "complete", "not_text", "exhausted"]
    error: CallError


@dataclass(frozen=True, slots=True)
class HedgeStarted(CallEvent):
    """
    A second target is asked, because the first is slow.

    Args:
        first, second: the targets.
        delay: seconds the first had been given.
    """

    first: Target
    second: Target
    delay: float


@dataclass(frozen=True, slots=True)
class HedgeDenied(CallEvent):
    """
    A slow call got no second target.

    Args:
        first: the slow target.
        reason: `share` (of calls), `budget` (retry budget), `breaker` (not closed at one of them),
            `attempts` (of the call) or `no_target`.
    """

    first: Target
    reason: Literal["share", "budget", "breaker", "attempts", "no_target"]


@dataclass(frozen=True, slots=True)
class HedgeFinished(CallEvent):
    """
    A hedged call has its answer, or neither target gave one.

    Args:
        first, second: the targets.
        winner: who answered; the other was cut off. None when both failed or the call was cancelled.
    """

    first: Target
    second: Target
    winner: Target | None


@dataclass(frozen=True, slots=True)
class TargetsDrained(Event):
    """
    Routes were told by hand to leave targets out, or to use them again.

    Args:
        pattern: which, as `provider/model` with wildcards.
        drained: False when they may be used again.
    """

    pattern: str
    drained: bool



# The cost stage


@dataclass(frozen=True, slots=True)
class CostRecorded(CallEvent):
    """
    What one target's answer to a call costs; once for each answer, streams at their end.

    Args:
        target: who answered.
        usd: US dollars; None when no price is known, 0 for local models.
        source: `reported` (by the provider), `calculated` (the provider's count, a known price) or
            `estimated` (a count of ours, because the provider gave none).
        price: where the price is from: `table` (the configuration), `catalogue` (genai-prices), `local` (the
            model runs on this machine), None when it is reported or unknown.
        usage: the tokens that were counted; estimated ones when the provider gave none.
    """

    target: Target
    usd: Decimal | None
    source: Literal["reported", "calculated", "estimated"]
    price: Literal["table", "catalogue", "local"] | None
    usage: Usage


@dataclass(frozen=True, slots=True)
class CostRejected(CallEvent):
    """
    A call was refused before anything was sent.

    Args:
        target: who would have been asked.
        budget: the name of the budget that has no room, "" for the context window.
        reason: `spent`, `unpriced` (no price is known, so nothing can be reserved) or `window` (the request
            is larger than the model's context window).
        needed: US dollars the call would probably cost, None when unknown.
        retry_after: seconds after which there is room, None when time alone brings none.
    """

    target: Target
    budget: str
    reason: Literal["spent", "unpriced", "window"]
    needed: Decimal | None
    retry_after: float | None


# The guard stage


@dataclass(frozen=True, slots=True)
class GuardRejected(CallEvent):
    """
    The guard refused a call, or its answer.

    Args:
        param: the parameter at fault, None when a scan found something.
        error: what the caller sees.
    """

    param: str | None
    error: CallError


@dataclass(frozen=True, slots=True)
class GuardFetched(CallEvent):
    """
    An image of a request was fetched.

    Args:
        url: scheme, host and path.
        size: bytes.
        seconds: how long it took.
    """

    url: str
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class GuardFound(CallEvent):
    """
    A scan found private data or a secret; the find itself is nowhere in the event.

    Args:
        where: `prompt` or `answer`.
        action: what was done: `log`, `mask` or `reject`.
        found: how often, by the pattern's name.
    """

    where: Literal["prompt", "answer"]
    action: Literal["log", "mask", "reject"]
    found: Mapping[str, int]


Listener: TypeAlias = Callable[[Event], None]
