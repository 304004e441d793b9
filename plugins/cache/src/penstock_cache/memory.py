"""The store of one process: least recently used entries leave first, bounded by number and by bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from penstock_cache.store import StoreSize, matches

if TYPE_CHECKING:
    from penstock_cache.entry import Entry

Value: TypeAlias = "bytes | Entry"
"""What is kept: bytes, or an object whose `len` is the bytes it takes."""
ENTRY_BYTES = 400
"""Bookkeeping counted for each entry: key, tuple, link of the order; measured on CPython 3.11, rounded up."""


class _Held(NamedTuple):
    value: Value
    expires: float
    names: tuple[str, ...]
    size: int


class MemoryStore:
    """
    A store in memory.

    Args:
        clock: seconds; any zero.
        max_entries: entries at most.
        max_bytes: bytes at most, bookkeeping included; a larger value is not kept.
    """

    def __init__(
        self, clock: Callable[[], float], *, max_entries: int = 1000, max_bytes: int = 64 * 2**20
    ) -> None:
        self.now = clock
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._bytes = 0
        self._evictions = 0
        self._lock = threading.Lock()

    async def get(self, key: str) -> Any:
        with self._lock:
            held = self._held.get(key)
            if held is None:
                return None
            if self.now() >= held.expires:
                self._drop(key)
                return None
            self._held.move_to_end(key)
            return held.value

    async def set(self, key: str, value: Value, *, expires: float, names: tuple[str, ...]) -> None:
        size = len(value) + ENTRY_BYTES
        with self._lock:
            if key in self._held:
                self._drop(key)
            if size > self._max_bytes:
                return
            self._held[key] = _Held(value, expires, names, size)
            self._bytes += size
            while len(self._held) > self._max_entries or self._bytes > self._max_bytes:
                self._bytes -= self._held.popitem(last=False)[1].size
                self._evictions += 1

    async def delete(self, pattern: str) -> int:
        with self._lock:
            if pattern in self._held:  # a key, as events tell it; nothing else needs to be looked at
                self._drop(pattern)
                return 1
            keys = [key for key, held in self._held.items() if matches(pattern, key, held.names)]
            for key in keys:
                self._drop(key)
            return len(keys)

    async def clear(self) -> int:
        with self._lock:
            count = len(self._held)
            self._held.clear()
            self._bytes = 0
            return count

    def size(self) -> StoreSize:
        with self._lock:
            return StoreSize(len(self._held), self._bytes, self._evictions)

    async def close(self) -> None:
        await self.clear()

    def _drop(self, key: str) -> None:
        self._bytes -= self._held.pop(key).size
