"""
Which fault meets which request.

Rules
1. A request takes the first remaining entry of its script that is meant for it; that entry is used up.
   Entries meant for others stay where they are.
2. A model with a script of its own follows that one and never the common one.
3. With `repeat` a script that has nothing left for a request is filled again, once, for that request.
4. A request that finds nothing in a script may meet a fault by rate. One number is drawn for every
   request, so what the n-th request would meet depends on the seed and n alone.
5. Otherwise nothing goes wrong.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock_testkit.faults import Fault
    from penstock_testkit.received import ReceivedRequest


class Script:
    """
    The faults of one simulator; the caller holds the lock.

    Raises:
        ValueError: rates outside 0..1, or more than 1 in all.
    """

    __slots__ = ("_by_model", "_common", "_dice", "_rates", "_repeat", "_seed")

    def __init__(
        self,
        faults: Sequence[Fault],
        by_model: Mapping[str, Sequence[Fault]],
        rates: Mapping[Fault, float],
        *,
        repeat: bool,
        seed: int,
    ) -> None:
        if any(not 0.0 <= rate <= 1.0 for rate in rates.values()) or sum(rates.values()) > 1.0 + 1e-9:
            raise ValueError(f"the rates {dict(rates)!r} must each be in 0..1 and sum up to at most 1")
        self._common = _Entries(faults)
        self._by_model = {model: _Entries(entries) for model, entries in by_model.items()}
        self._rates = tuple(rates.items())
        self._repeat = repeat
        self._seed = seed
        self._dice = random.Random(seed)

    def next(self, request: ReceivedRequest) -> Fault | None:
        """The fault that meets this request, None when nothing goes wrong."""
        drawn = self._dice.random() if self._rates else 1.0
        entries = self._by_model.get(request.model or "", self._common)
        fault = entries.take(request)
        if fault is None and self._repeat:
            entries.refill()
            fault = entries.take(request)
        if fault is None:
            for candidate, rate in self._rates:
                if drawn < rate:
                    return candidate if candidate.meets(request) else None
                drawn -= rate
        return fault

    def reset(self) -> None:
        """Begin again: every entry is there, the dice are as new."""
        self._common.refill()
        for entries in self._by_model.values():
            entries.refill()
        self._dice = random.Random(self._seed)

    def remaining(self) -> int:
        """Entries that nothing has met yet."""
        return sum(len(e.left) for e in (self._common, *self._by_model.values()))


class _Entries:
    __slots__ = ("all", "left")

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.all = tuple(faults)
        self.left = list(faults)

    def take(self, request: ReceivedRequest) -> Fault | None:
        for index, fault in enumerate(self.left):
            if fault.meets(request):
                return self.left.pop(index)
        return None

    def refill(self) -> None:
        self.left = list(self.all)
