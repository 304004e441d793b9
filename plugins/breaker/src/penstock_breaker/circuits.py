"""
Every circuit of a client, by whom it is about, and what was decided by hand.

Rules
1. A circuit is that of (provider, base_url, model), and of the policy in force there: a route with numbers of
   its own has circuits of its own.
2. A circuit that a place of the pipeline holds is found here, always. Of the others, the `kept` most
   recent are: model names come from outside, so their number has no other bound.
3. What is decided by hand for a pattern holds for the circuits there are and for those still to come; of
   several patterns that match, the latest counts.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias
from weakref import WeakValueDictionary

from penstock_breaker.circuit import Circuit

if TYPE_CHECKING:
    from penstock.call import Target
    from penstock.events import BreakerState
    from penstock_breaker.policy import BreakerPolicy
    from penstock_breaker.reports import Note

Manual: TypeAlias = Literal["reset", "force_open", "disable"]


class Key(NamedTuple):
    """Whose circuit it is."""

    target: Target
    base_url: str
    policy: BreakerPolicy


class Circuits:
    """
    Circuits by key.

    Args:
        random: uniform in [0, 1).
        notify: told what happened to whose circuit.
        kept: circuits remembered though no place of the pipeline holds them.
    """

    def __init__(
        self, random: Callable[[], float], notify: Callable[[Target, Note], None], kept: int = 1024
    ) -> None:
        self._random = random
        self._notify = notify
        self._kept = kept
        self._lock = threading.Lock()
        self._known: WeakValueDictionary[Key, Circuit] = WeakValueDictionary()
        self._recent: OrderedDict[Key, Circuit] = OrderedDict()
        self._manual: dict[str, Manual] = {}

    def get(self, target: Target, base_url: str, policy: BreakerPolicy, now: float) -> Circuit:
        """The circuit of a key, made at clock reading `now` (seconds) if there is none."""
        key = Key(target, base_url, policy)
        with self._lock:
            circuit = self._known.get(key)
            if circuit is None:
                circuit = Circuit(policy, self._random, partial(self._notify, target))
                self._known[key] = circuit
                made = True
            else:
                made = False
            self._recent[key] = circuit
            self._recent.move_to_end(key)
            if len(self._recent) > self._kept:
                self._recent.popitem(last=False)
            manual = self._decided(str(target)) if made else None
        if manual is not None:
            _apply(circuit, manual, now)
        return circuit

    def decide(self, pattern: str, manual: Manual, now: float) -> None:
        """Do something by hand to all that match, now and later, at clock reading `now` (seconds)."""
        with self._lock:
            # Earlier decisions for what this pattern covers have no effect any more.
            for earlier in [earlier for earlier in self._manual if _covers(pattern, earlier)]:
                del self._manual[earlier]
            if manual != "reset" or self._manual:
                self._manual[pattern] = manual
        for _, circuit in self.matching(pattern):
            _apply(circuit, manual, now)

    def matching(self, pattern: str = "*") -> list[tuple[Key, Circuit]]:
        """Those whose `provider/model` matches a pattern such as `openai/*`, in the order of their names."""
        with self._lock:
            known = list(self._known.items())
        return sorted((item for item in known if fnmatchcase(str(item[0].target), pattern)), key=_name)

    def state(self, target: str) -> BreakerState:
        """The state of a target; of several circuits, one that is not closed; of none, what was decided."""
        states = [circuit.state for key, circuit in self.matching() if str(key.target) == target]
        if not states:
            with self._lock:
                manual = self._decided(target)
            return _STATES[manual] if manual is not None else "closed"
        return next((state for state in states if state != "closed"), "closed")

    def _decided(self, target: str) -> Manual | None:
        for pattern in reversed(self._manual):
            if fnmatchcase(target, pattern):
                return self._manual[pattern]
        return None


_WILD = frozenset("*?[")
_STATES: dict[Manual, BreakerState] = {
    "reset": "closed",
    "force_open": "forced_open",
    "disable": "disabled",
}


def _covers(pattern: str, other: str) -> bool:
    """Whether all that `other` matches is matched by `pattern`; False also when that is hard to say."""
    if not _WILD.intersection(other):
        return fnmatchcase(other, pattern)
    prefix = pattern.removesuffix("*")
    return other == pattern or (
        prefix != pattern and not _WILD.intersection(prefix) and other.startswith(prefix)
    )


def _apply(circuit: Circuit, manual: Manual, now: float) -> None:
    getattr(circuit, manual)(now)


def _name(item: tuple[Key, Circuit]) -> str:
    return str(item[0].target)
