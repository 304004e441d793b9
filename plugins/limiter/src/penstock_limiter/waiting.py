"""Waiting for a permit, in any colour: the only place where the limiter awaits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_limiter.admission import Pause, Permit, Refusal
from penstock_limiter.limit import Settlement

if TYPE_CHECKING:
    from penstock.runtime import Runtime
    from penstock_limiter.admission import Ticket
    from penstock_limiter.gate import Gate

NOTHING = Settlement("cancelled", tokens=0.0, request=False)
"""What becomes of a permit whose work was never begun."""


async def obtain(runtime: Runtime, gate: Gate, ticket: Ticket) -> Permit | Refusal:
    """
    Wait in the queue until admitted or refused.

    Whatever is raised at the waiting, cancellation above all, leaves the queue as though the ticket had
    never been in it.
    """
    try:
        while True:
            event = runtime.event()
            now = runtime.now()
            answer = gate.look(now, ticket, event)
            if not isinstance(answer, Pause):
                return answer
            if answer.asleep:
                await runtime.sleep(answer.due - now)
            else:
                await event.wait(answer.due)
    except BaseException:
        gate.leave(runtime.now(), ticket, NOTHING)
        raise
