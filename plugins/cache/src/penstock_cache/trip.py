"""What one call carries through the cache, and what the cache says about it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from penstock.call import Call, Target
from penstock.frozen import dataclass

if TYPE_CHECKING:
    from penstock.specs import Proceed
    from penstock_cache.config import CallOptions
    from penstock_cache.entry import Entry

FREE = Decimal(0)


@dataclass(frozen=True, slots=True)
class Trip:
    """
    A call that the store had no fresh answer for.

    Args:
        call: as it came.
        proceed: asks upstream.
        key: of its request.
        mark: from before the store was asked.
        options: what the call said to the cache.
        entry: the expired answer there is, or None.
        why: what the store had: `absent`, `expired`, `refresh` (not asked) or `store` (failed).
    """

    call: Call
    proceed: Proceed
    key: str
    mark: int
    options: CallOptions
    entry: Entry | None
    why: str


def note(call: Call, target: Target, age: float) -> None:
    """Tell the client, through the call's facts, that its answer is an old one."""
    facts = call.facts
    facts["cached"] = True
    facts["age"] = age
    facts["target"] = target
    facts["cost"] = FREE


def background_call(call: Call) -> Call:
    """A call for the same request that outlives the one that asked for it."""
    now, timeouts = call.runtime.now(), call.timeouts
    return Call(
        id=f"{call.id[:120]}-revalidate"[:128],
        request=call.request,
        target=call.target,
        route=call.route,
        runtime=call.runtime,
        timeouts=timeouts,
        started=now,
        deadline=now + timeouts.total,
        stream_deadline=now + timeouts.total,
        options=call.options,
        without=call.without,
        listeners=call.listeners,
    )
