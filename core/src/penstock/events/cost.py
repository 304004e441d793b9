"""What the cost stage books."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from penstock.events.calls import CallEvent
from penstock.frozen import dataclass

if TYPE_CHECKING:
    from decimal import Decimal

    from penstock.call import Target
    from penstock.responses import Usage


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
