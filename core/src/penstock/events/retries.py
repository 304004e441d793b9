"""What the retry stage decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from penstock.events.calls import CallEvent
from penstock.frozen import dataclass

if TYPE_CHECKING:
    from penstock.errors import CallError


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
