"""
What happens on the way of a call, as typed facts for listeners.

Events are made only when somebody listens. A listener is any callable that takes one event; it must not
block, and what it raises is logged and dropped. Every event of a call carries the call, so a listener can
read its id, target and attempts; it must not change them.
"""

from __future__ import annotations

from penstock.events.breaker import (
    BreakerExtended,
    BreakerProbesLost,
    BreakerReason,
    BreakerRejected,
    BreakerState,
    BreakerTransition,
    CredentialRested,
    CredentialResumed,
)
from penstock.events.cache import CacheFailed, CacheLookup, CacheNotStored, CacheStored
from penstock.events.calls import (
    AttemptCommitted,
    AttemptFinished,
    AttemptStarted,
    CallEvent,
    CallFinished,
    CallStarted,
    Event,
    Listener,
)
from penstock.events.cost import CostRecorded, CostRejected
from penstock.events.guard import GuardFetched, GuardFound, GuardRejected
from penstock.events.limiter import (
    LimiterAdapted,
    LimiterAdmitted,
    LimiterCancelled,
    LimiterConfigured,
    LimiterPaused,
    LimiterQueued,
    LimiterRejected,
)
from penstock.events.retries import RetryScheduled, RetryStopped
from penstock.events.routing import (
    Failover,
    HedgeDenied,
    HedgeFinished,
    HedgeStarted,
    StreamLost,
    StreamRecovered,
    TargetsDrained,
    TargetSkipped,
)

__all__ = [
    "AttemptCommitted",
    "AttemptFinished",
    "AttemptStarted",
    "BreakerExtended",
    "BreakerProbesLost",
    "BreakerReason",
    "BreakerRejected",
    "BreakerState",
    "BreakerTransition",
    "CacheFailed",
    "CacheLookup",
    "CacheNotStored",
    "CacheStored",
    "CallEvent",
    "CallFinished",
    "CallStarted",
    "CostRecorded",
    "CostRejected",
    "CredentialRested",
    "CredentialResumed",
    "Event",
    "Failover",
    "GuardFetched",
    "GuardFound",
    "GuardRejected",
    "HedgeDenied",
    "HedgeFinished",
    "HedgeStarted",
    "LimiterAdapted",
    "LimiterAdmitted",
    "LimiterCancelled",
    "LimiterConfigured",
    "LimiterPaused",
    "LimiterQueued",
    "LimiterRejected",
    "Listener",
    "RetryScheduled",
    "RetryStopped",
    "StreamLost",
    "StreamRecovered",
    "TargetSkipped",
    "TargetsDrained",
]
