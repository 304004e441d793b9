"""
aiohttp's connector, with limits of its own for waiting and for connecting.

aiohttp bounds both together and rounds limits above five seconds up to whole ones. Here the phase an
attempt is in is known (`Progress`, carried by a context variable, because aiohttp passes nothing of ours
through), so that the pool limit, the connect limit (resolution, TCP, TLS and the proxy's tunnel together)
and the attempt's own are told apart. None of this runs for a connection that is taken from the pool.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from penstock.http import Limits
    from penstock_wire.public import PublicOnly


class Progress:
    """
    How far one request has come, and whether its time is over.

    `expire` does what `asyncio.timeout_at` does: it cancels the task, and `was_ours` tells that
    cancellation from one of the caller's.

    Attributes:
        limits: its limits.
        due: `limits.due` on the loop's clock.
        phase: `read`, or what is being waited for before: `pool` or `connect`.
    """

    __slots__ = ("_cancelling", "_expired", "_task", "due", "limits", "phase")

    def __init__(self, limits: Limits, due: float, task: asyncio.Task[Any]) -> None:
        self.limits = limits
        self.due = due
        self.phase = "read"
        self._task = task
        self._cancelling = task.cancelling()
        self._expired = False

    def expire(self) -> None:
        """The time is over: wake the task with a cancellation."""
        self._expired = True
        self._task.cancel()

    def was_ours(self, error: BaseException) -> bool:
        """Whether an error is our own expiry; must be asked once for every way out."""
        if not self._expired:
            return False
        remaining = self._task.uncancel()
        return remaining <= self._cancelling and isinstance(error, asyncio.CancelledError)


class LimitReached(Exception):
    """The pool or connect limit of a request was reached; no TimeoutError, which aiohttp would rewrite."""


progress: ContextVar[Progress] = ContextVar("penstock_wire.progress")


class Connector(aiohttp.TCPConnector):
    """
    A connector whose phases keep the limits of the request they serve.

    Args:
        permit: what every address must pass, or None.
        options: as for aiohttp's `TCPConnector`.
    """

    def __init__(self, *, permit: PublicOnly | None = None, **options: Any) -> None:
        # The factory sees addresses that were written in the URL too, which no resolver does.
        super().__init__(socket_factory=None if permit is None else permit.socket, **options)
        self._permit = permit

    async def _resolve_host(self, host: str, port: int, traces: Any = None) -> Any:
        answers = await super()._resolve_host(host, port, traces)
        if self._permit is not None:
            self._permit.check(answer["host"] for answer in answers)
        return answers

    async def _wait_for_available_connection(self, key: Any, traces: Any) -> None:
        current = progress.get()
        current.phase = "pool"
        try:
            async with asyncio.timeout_at(self._until(current, current.limits.pool)):
                await super()._wait_for_available_connection(key, traces)
        except BaseException as error:
            # A waiter that was just woken takes the place with it: hand it on, or others wait in vain.
            self._release_waiter()
            if isinstance(error, TimeoutError):
                raise LimitReached from None
            raise
        current.phase = "read"

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109
        current = progress.get()
        current.phase = "connect"
        try:
            async with asyncio.timeout_at(self._until(current, current.limits.connect)):
                protocol = await super()._create_connection(req, traces, timeout)
        except TimeoutError as error:
            if error.errno is not None:
                raise
            raise LimitReached from None
        current.phase = "read"
        return protocol

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        if should_close or protocol.should_close:
            # A polite end waits for a peer that may be why we are leaving: up to 30 s for its TLS
            # farewell, or for ever to take what is still to be written.
            protocol.abort()
        super()._release(key, protocol, should_close=should_close)

    def _until(self, current: Progress, seconds: float) -> float | None:
        until = min(self._loop.time() + seconds, current.due)
        return until if until != float("inf") else None
