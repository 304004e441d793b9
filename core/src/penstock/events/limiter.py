"""What the limiter stage decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from penstock.events.calls import CallEvent, Event
from penstock.frozen import dataclass

if TYPE_CHECKING:
    from penstock.errors import CallError


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
