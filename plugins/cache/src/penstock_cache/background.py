"""Work beside the calls: revalidations and shared streams, all of it stopped when the cache is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.runtime import Background, Event, Runtime

GRACE_SECONDS = 1.0
"""How long closing waits for work that was cancelled; a thread cannot be cancelled, it is left behind."""


class Jobs:
    """
    The background work of one cache.

    Args:
        runtime: runs it.
    """

    MAX = 16
    """Revalidations at the same time; each is a thread in the blocking client."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._lock = threading.Lock()
        self._jobs: dict[_Job, None] = {}
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether what can wait should."""
        return self._closed or len(self._jobs) >= self.MAX

    def start(self, work: Callable[[], Coroutine[Any, Any, None]], dropped: Callable[[], None]) -> bool:
        """
        Run some work.

        Args:
            work: makes the coroutine; it handles its own errors, cancellation included.
            dropped: called when the cache is closed before the work has begun or ended; may be called twice.

        Returns:
            False when it cannot be started; `dropped` was not called.
        """
        job = _Job(self._runtime.event(), dropped)
        with self._lock:
            if self._closed:
                return False
            self._jobs[job] = None
        try:
            job.handle = self._runtime.spawn(self._run(job, work))
        except RuntimeError:  # no thread, or no loop any more
            self._jobs.pop(job, None)
            return False
        return True

    async def _run(self, job: _Job, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        job.begun = True
        try:
            if not self._closed:
                await work()
        finally:
            self._jobs.pop(job, None)
            job.ended.set()

    async def close(self) -> None:
        """Cancel everything and wait a moment for it; a second call does nothing."""
        with self._lock:
            self._closed = True
            jobs = [*self._jobs]
        for job in jobs:
            if job.handle is not None:
                job.handle.cancel()
        due = self._runtime.now() + GRACE_SECONDS
        for job in jobs:
            # Cancelled before its first step, a coroutine runs no line of its own.
            if job.begun:
                await job.ended.wait(due)
            job.dropped()
            self._jobs.pop(job, None)


class _Job:
    __slots__ = ("begun", "dropped", "ended", "handle")

    def __init__(self, ended: Event, dropped: Callable[[], None]) -> None:
        self.begun = False
        self.ended = ended
        self.dropped = dropped
        self.handle: Background | None = None
