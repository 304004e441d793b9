"""
The retry budget: how many extra attempts a provider may get from all calls together.

Shared by whoever makes extra attempts (retries, hedges), so that they cannot multiply under an outage.
The bound that holds in every window: extras <= capacity + per_call * first attempts + per_second * seconds.
"""

from __future__ import annotations

import threading

from penstock.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPolicy:
    """
    A bucket that successes of the past fill and extra attempts empty.

    Args:
        capacity: extra attempts a full bucket allows at once; it starts full.
        per_call: added by each first attempt (Finagle's default share of 20 %).
        per_second: added by time, so that a quiet client may retry at all.
    """

    capacity: float = 10.0
    per_call: float = 0.2
    per_second: float = 0.1


class RetryBudget:
    """A token bucket without I/O; time is passed in, one lock is held for arithmetic only."""

    __slots__ = ("_at", "_level", "_lock", "policy")

    def __init__(self, policy: BudgetPolicy | None = None, now: float = 0.0) -> None:
        self.policy = policy or BudgetPolicy()
        self._level = self.policy.capacity
        self._at = now
        self._lock = threading.Lock()

    def deposit(self, now: float) -> None:
        """Note a first attempt at clock reading `now` (seconds)."""
        if self._level == self.policy.capacity:
            return  # full, as nearly always; what takes at this very moment takes after us
        with self._lock:
            self._fill(now)
            self._level = min(self.policy.capacity, self._level + self.policy.per_call)

    def withdraw(self, now: float) -> bool:
        """Take one extra attempt at clock reading `now`; False when there is none. No refunds."""
        with self._lock:
            self._fill(now)
            if self._level < 1.0:
                return False
            self._level -= 1.0
            return True

    def level(self, now: float) -> float:
        """Extra attempts available at clock reading `now`."""
        with self._lock:
            self._fill(now)
            return self._level

    def _fill(self, now: float) -> None:
        if now > self._at:
            gained = (now - self._at) * self.policy.per_second
            self._level = min(self.policy.capacity, self._level + gained)
            self._at = now
