"""
What happens on the way of a call, as typed facts for listeners.

Events are made only when somebody listens. A listener is any callable that takes one event; it must not
block, and what it raises is logged and dropped. Every event of a call carries the call, so a listener can
read its id, target and attempts; it must not change them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from penstock.call import Attempt, Call, Outcome
    from penstock.errors import CallError


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
        reason: `exhausted` (attempts), `denied` (retry budget), `hint_too_long`, `deadline`.
    """

    error: CallError
    reason: Literal["exhausted", "denied", "hint_too_long", "deadline"]


Listener: TypeAlias = Callable[[Event], None]
