"""Which budgets a call counts for: policies of the configuration, and an account for each key."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

from penstock.frozen import dataclass
from penstock_cost.budget import Account, Budgets
from penstock_cost.calendar import Calendar, Period, zone

if TYPE_CHECKING:
    from penstock.call import Target
    from penstock_cost.config import BudgetConfig

Each = Literal["all", "provider", "model", "route", "key"]
MAX_ACCOUNTS = 10_000
"""Accounts of one policy; keys beyond share one, so that a stream of made-up keys finds no new money."""
OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class Policy:
    """
    One budget of the configuration.

    Args:
        name: its key there.
        limit: US dollars in the window or period.
        window: seconds, None for ever.
        per: the period of the calendar instead of a window, or None.
        timezone: whose calendar.
        each: what it is split by.
        targets: patterns of those that count.
        unpriced: whether a call of unknown price may pass.
    """

    name: str
    limit: Decimal
    window: float | None
    per: Period | None
    timezone: str
    each: Each
    targets: tuple[str, ...]
    unpriced: Literal["refuse", "allow"]

    @classmethod
    def of(cls, name: str, config: BudgetConfig) -> Policy:
        """The policy a configuration describes."""
        window = config.window if config.window is not None and config.window < math.inf else None
        return cls(
            name=name,
            limit=config.limit,
            window=window,
            per=config.per,
            timezone=config.timezone,
            each=config.each,
            targets=config.targets,
            unpriced=config.unpriced,
        )

    def counts(self, target: Target) -> bool:
        """Whether calls to a target count for it."""
        return any(fnmatchcase(str(target), pattern) for pattern in self.targets)

    def key(self, target: Target, name: str, key: str) -> str:
        """Which account of it a call takes from; `name` is what the caller asked for."""
        if self.each == "provider":
            return target.provider
        if self.each == "model":
            return str(target)
        if self.each == "route":
            return name
        return key if self.each == "key" else ""


class AccountBook:
    """
    The accounts of one client.

    Args:
        wall: seconds since the epoch, for budgets of the calendar.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self.budgets = Budgets(wall)
        self._lock = threading.Lock()
        self._accounts: dict[Policy, dict[str, Account]] = {}

    def account(self, policy: Policy, key: str) -> Account:
        """The account of a key, made when it is first needed."""
        accounts = self._accounts.get(policy)
        account = accounts.get(key) if accounts is not None else None
        return account if account is not None else self._open(policy, key)

    def each(self, name: str = "*", key: str = "*") -> Iterator[tuple[Policy, str, Account]]:
        """Every account whose budget and key match the patterns."""
        with self._lock:
            there = [
                (policy, each, account)
                for policy, accounts in self._accounts.items()
                if fnmatchcase(policy.name, name)
                for each, account in accounts.items()
                if fnmatchcase(each, key)
            ]
        yield from there

    def stats(self, now: float) -> dict[str, dict[str, dict[str, Any]]]:
        """Limit, what is left now, and what was spent in all, in dollars, by budget and key."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for policy, key, account in self.each():
            found.setdefault(policy.name, {})[key] = {
                "limit": account.limit,
                "left": self.budgets.left(now, account),
                "spent": account.spent,
            }
        return found

    def _open(self, policy: Policy, key: str) -> Account:
        with self._lock:
            accounts = self._accounts.setdefault(policy, {})
            if key not in accounts and len(accounts) >= MAX_ACCOUNTS:
                key = OTHERS
            if key not in accounts:
                name = f"{policy.name}[{key}]" if key else policy.name
                calendar = Calendar(policy.per, zone(policy.timezone)) if policy.per is not None else None
                accounts[key] = Account(name, policy.limit, policy.window, calendar)
            return accounts[key]


def policies_of(configs: Mapping[str, BudgetConfig], target: Target) -> tuple[Policy, ...]:
    """The budgets a target counts for."""
    policies = (Policy.of(name, config) for name, config in configs.items())
    return tuple(policy for policy in policies if policy.counts(target))
