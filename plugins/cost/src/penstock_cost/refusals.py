"""The errors of a call that no budget has room for, in words that name the budget and the way out."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING

from penstock.errors import BudgetExhausted

if TYPE_CHECKING:
    from penstock.call import Target
    from penstock_cost.accounts import Policy
    from penstock_cost.budget import Refusal


def exhausted(target: Target, refusal: Refusal, amount: Decimal, stage: str) -> BudgetExhausted:
    """A budget lacks dollars for a call; `retry_after` says when it will not, as far as time helps."""
    account = refusal.account
    wait = refusal.wait if refusal.wait < math.inf else None
    if amount > account.limit:
        when = "which is more than all of it"
    elif wait is None:
        when = "and it is not refilled"
    else:
        when = f"room in about {wait:.3g} s"
    error = BudgetExhausted(
        f"{target}: the budget {account.name!r} of ${account.limit} has no room for about ${amount:.6f}, "
        f"{when}",
        stage=stage,
        retry_after=wait,
    )
    error.target = target
    return error


def unpriced(target: Target, policy: Policy, stage: str) -> BudgetExhausted:
    """A budget cannot count a call; its tag is the budget's name."""
    error = BudgetExhausted(
        f"{target}: nobody knows its price, so the budget {policy.name!r} cannot count it; add "
        f'[cost.prices."{target}"], or set unpriced = "allow" in [cost.budgets.{policy.name}]',
        stage=stage,
    )
    error.target = target
    error.tag(policy.name)
    return error
