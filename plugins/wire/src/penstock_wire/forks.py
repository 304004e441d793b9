"""
A lock that does not outlive a fork.

A child of a fork has only the thread that forked. A lock that another thread of the parent held would be held
in the child for ever, so these are renewed there.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType
from weakref import WeakSet


class ProcessLock:
    """A lock that is free in a forked child, whoever held it in the parent."""

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._renew()
        _locks.add(self)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()


_locks: WeakSet[ProcessLock] = WeakSet()


def _after_fork() -> None:
    for lock in _locks:
        lock._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
