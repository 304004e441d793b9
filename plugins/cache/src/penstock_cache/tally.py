"""What a cache has done so far, in numbers."""

from __future__ import annotations

import threading
from dataclasses import fields

from penstock.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """
    Numbers since the client was built; calls unless said otherwise.

    Args:
        hits: answered from the store while fresh.
        stale: answered with an expired answer, while revalidating or instead of an error.
        coalesced: answered by another call that was under way.
        misses: asked upstream.
        bypasses: nothing to do with the cache, by mode or kind.
        errors: times the store failed.
        stores: answers that were kept.
        evictions: entries dropped by this process to keep the bounds.
        entries: now in the store.
        bytes: now in the store.
    """

    hits: int
    stale: int
    coalesced: int
    misses: int
    bypasses: int
    errors: int
    stores: int
    evictions: int
    entries: int
    bytes: int

    @property
    def hit_rate(self) -> float:
        """The share of looked up calls that did not go upstream, 0 to 1; 0 when there were none."""
        saved = self.hits + self.stale + self.coalesced
        return saved / (saved + self.misses) if saved + self.misses else 0.0


class Tally:
    """Counters; safe for threads."""

    __slots__ = ("_counts", "_lock")

    def __init__(self) -> None:
        self._counts = dict.fromkeys((field.name for field in fields(CacheStats)), 0)
        self._lock = threading.Lock()

    def add(self, name: str) -> None:
        """Count one, by the name of a field of `CacheStats`."""
        with self._lock:
            self._counts[name] += 1

    def __getitem__(self, name: str) -> int:
        return self._counts[name]
