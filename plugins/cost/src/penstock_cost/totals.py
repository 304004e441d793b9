"""What was spent so far, by target."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from penstock_cost.rates import FREE

if TYPE_CHECKING:
    from penstock.call import Target
    from penstock.responses import Usage

MAX_TARGETS = 1024
"""Targets counted apart; names come from outside, so their number has no other bound."""
OTHERS = "(others)"


@dataclass(slots=True)
class Total:
    """
    What one target cost.

    Args:
        usd: US dollars, those of unknown cost left out.
        answers: how many were given.
        unknown: how many of them have no known cost.
        input_tokens, output_tokens: as counted.
    """

    usd: Decimal = FREE
    answers: int = 0
    unknown: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class Totals:
    """Counts, safe for threads."""

    __slots__ = ("_by_target", "_lock", "refused")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_target: dict[Target | str, Total] = {}
        self.refused = 0

    def add(self, target: Target, usd: Decimal | None, usage: Usage) -> None:
        """Count an answer."""
        with self._lock:
            total = self._by_target.get(target)
            if total is None:
                name: Target | str = target if len(self._by_target) < MAX_TARGETS else OTHERS
                total = self._by_target.setdefault(name, Total())
            total.answers += 1
            if usd is None:
                total.unknown += 1
            else:
                total.usd += usd
            total.input_tokens += usage.input_tokens or 0
            total.output_tokens += usage.output_tokens or 0

    def refuse(self) -> None:
        """Count a refused call."""
        with self._lock:
            self.refused += 1

    def snapshot(self) -> dict[str, Total]:
        """A copy, by target."""
        with self._lock:
            return {
                str(target): Total(
                    total.usd, total.answers, total.unknown, total.input_tokens, total.output_tokens
                )
                for target, total in self._by_target.items()
            }
