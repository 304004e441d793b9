"""Errors that would only repeat, remembered for a moment; in memory only, off by default."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from penstock_cache.store import matches
from penstock_cache.streams import copy_of

if TYPE_CHECKING:
    from penstock.errors import CallError


class Negative:
    """Remembers errors for their `negative_ttl`; the oldest leave first."""

    MAX = 1000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._errors: OrderedDict[str, tuple[BaseException, float, tuple[str, ...]]] = OrderedDict()

    def remember(self, key: str, names: tuple[str, ...], error: CallError, now: float) -> None:
        """Keep an error from the clock reading `now` on."""
        kept = copy_of(error)
        kept.__cause__ = None  # its traceback would hold whole calls
        with self._lock:
            self._errors.pop(key, None)
            self._errors[key] = (kept, now + error.negative_ttl, names)
            if len(self._errors) > self.MAX:
                self._errors.popitem(last=False)

    def recall(self, key: str, now: float) -> BaseException | None:
        """The error of a key, None when there is none any more."""
        with self._lock:
            found = self._errors.get(key)
            if found is None:
                return None
            if now >= found[1]:
                del self._errors[key]
                return None
            return found[0]

    def forget(self, pattern: str | None) -> None:
        """Drop those that a store would drop; all for None."""
        with self._lock:
            for key in [
                k
                for k, (_, _, names) in self._errors.items()
                if pattern is None or matches(pattern, k, names)
            ]:
                del self._errors[key]
