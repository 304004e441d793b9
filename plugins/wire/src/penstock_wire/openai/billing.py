"""
What an answer costs by its server's own word, where the usage says so.

It becomes `extra["cost_usd"]` of the response: US dollars as a float, whose shortest text is the number the
server wrote. Nothing here trusts a type.
"""

from __future__ import annotations

import math
from typing import Any

COST = "cost_usd"
_TICKS = 10_000_000_000
"""xAI's ticks of a dollar."""


def cost_of(usage: Any) -> float | None:
    """
    US dollars in the usage of an answer; None when the server does not say.

    OpenRouter writes a number, and beside it what the upstream took from the user's own account; Perplexity
    an object with a sum; xAI ticks. A sum of zero is told by OpenRouter for models that are free; of the
    others it stands for "not filled in".
    """
    if not isinstance(usage, dict):
        return None
    cost = usage.get("cost")
    if isinstance(cost, dict):
        return _amount(cost.get("total_cost")) or None
    if cost is None:
        ticks = _amount(usage.get("cost_in_usd_ticks"))
        return ticks / _TICKS if ticks else None
    total = _amount(cost)
    details = usage.get("cost_details")
    if total is not None and usage.get("is_byok") is True and isinstance(details, dict):
        total += _amount(details.get("upstream_inference_cost")) or 0.0
    return total


def _amount(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return None
    try:
        return float(value)
    except OverflowError:
        return None
