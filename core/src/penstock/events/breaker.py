"""What the breaker stage decides, and how its circuits change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from penstock.events.calls import CallEvent, Event
from penstock.frozen import dataclass

if TYPE_CHECKING:
    from penstock.call import Target


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
