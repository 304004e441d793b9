"""What every call goes through: its start and end, and its attempts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

from penstock.frozen import dataclass

if TYPE_CHECKING:
    from penstock.call import Attempt, Call, Outcome


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


Listener: TypeAlias = Callable[[Event], None]
