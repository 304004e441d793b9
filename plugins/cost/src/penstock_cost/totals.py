"""What was spent so far, by target."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import TYPE_CHECKING

from penstock_cost.rates import FREE

if TYPE_CHECKING:
    from penstock.call import Target
    from penstock.responses import Usage

MAX_TARGETS = 1024
"""Targets counted apart; names come from outside, so their number has no other bound."""
OTHERS = "(others)"


class Total:
    """
    What one target cost; safe for threads.

    Attributes:
        usd: US dollars, those of unknown cost left out.
        answers: how many were given.
        unknown: how many of them have no known cost.
        input_tokens, output_tokens: as counted.
    """

    __slots__ = ("_lock", "answers", "input_tokens", "output_tokens", "unknown", "usd")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.usd = FREE
        self.answers = 0
        self.unknown = 0
        self.input_tokens = 0
        self.output_tokens = 0

    def add(self, usd: Decimal | None, usage: Usage) -> None:
        """Count an answer."""
        with self._lock:
            self.answers += 1
            if usd is None:
                self.unknown += 1
            else:
                self.usd += usd
            self.input_tokens += usage.input_tokens or 0
            self.output_tokens += usage.output_tokens or 0

    def copy(self) -> Total:
        """The counts as they are now."""
        other = Total()
        with self._lock:
            for name in Total.__slots__:
                if name != "_lock":
                    setattr(other, name, getattr(self, name))
        return other


class Totals:
    """The totals of one client, and how many calls were refused."""

    __slots__ = ("_by_target", "_lock", "refused")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_target: dict[str, Total] = {}
        self.refused = 0

    def of(self, target: Target) -> Total:
        """The total of a target, looked up once for each place."""
        name = str(target)
        with self._lock:
            if name not in self._by_target and len(self._by_target) >= MAX_TARGETS:
                name = OTHERS
            return self._by_target.setdefault(name, Total())

    def refuse(self) -> None:
        """Count a refused call."""
        with self._lock:
            self.refused += 1

    def snapshot(self) -> dict[str, Total]:
        """A copy, by target; only those that answered."""
        with self._lock:
            totals = list(self._by_target.items())
        return {name: total.copy() for name, total in totals if total.answers}
