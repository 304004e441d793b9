"""
What a cache store must do; memory and SQLite are here, Redis is a plugin of its own.

A store holds bytes under keys and knows nothing of answers. Its methods are coroutines of no colour: they
suspend only through the runtime (`run_blocking`), or not at all. What they raise is a miss to the cache,
never an error to the caller.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple, Protocol


class StoreSize(NamedTuple):
    """
    What a store holds, as far as this process knows without asking.

    Args:
        entries: how many.
        bytes: keys, values and bookkeeping.
        evictions: entries this process dropped to keep the bounds.
    """

    entries: int
    bytes: int
    evictions: int


class Store(Protocol):
    """Keeps entries until they expire or room is needed; safe for threads."""

    def now(self) -> float:
        """
        Seconds on the clock that entries are dated with.

        Whoever shares the store shares this clock, so for more than one process it is the wall clock.
        """

    async def get(self, key: str) -> bytes | None:
        """The value, None when there is none or it has expired."""

    async def set(self, key: str, value: bytes, *, expires: float, names: tuple[str, ...]) -> None:
        """
        Keep a value, in place of the one before.

        Args:
            key: 32 hex digits.
            value: opaque.
            expires: the reading of `now()` from which it must not be returned.
            names: what `delete` may call it by besides its key: target and route.
        """

    async def delete(self, pattern: str) -> int:
        """Drop a key, or every entry one of whose names matches the glob; how many were dropped."""

    async def clear(self) -> int:
        """Drop everything; how many were dropped."""

    def size(self) -> StoreSize:
        """What it holds; does not wait."""

    async def close(self) -> None:
        """Let go of files and connections; never raises, may be called twice."""


def matches(pattern: str, key: str, names: tuple[str, ...]) -> bool:
    """Whether `delete(pattern)` means this entry."""
    return pattern == key or any(fnmatchcase(name, pattern) for name in names)
