"""
One connection of the async transport: a protocol that feeds the parser and wakes who waits.

One task at most waits for it. What ends a wait: bytes, the end of the connection, or `expire`, called by the
shared timer (see `penstock_wire.deadlines`); whichever is first, so bytes that came together with a limit
are let through. Cancelling the task leaves nothing behind but the connection, which its owner aborts.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from penstock_turbo.failing import LimitReached
from penstock_turbo.response import Responses
from penstock_wire.incoming import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_wire.deadlines import Deadlines

_HIGH = 1 << 18
"""Bytes that may wait to be taken before reading pauses."""


class Connection(asyncio.BufferedProtocol):
    """
    An open connection.

    Args:
        loop: the loop it belongs to.
        deadlines: ends waits that take too long.
        buffer: where bytes are received into; shared, because they are parsed before others come.
        max_header_bytes: bytes the head of a response may have.
        lost: called once, when the connection is gone.

    Attributes:
        responses: what it brings.
        stale_at: the loop's time from which on it is too old to be used again.
        due: the loop's time at which the present wait ends.
    """

    __slots__ = (
        "_buffer",
        "_deadlines",
        "_loop",
        "_lost",
        "_paused",
        "_transport",
        "_waiter",
        "due",
        "responses",
        "stale_at",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines,
        buffer: memoryview,
        max_header_bytes: int,
        lost: Callable[[Connection], None],
    ) -> None:
        self._loop = loop
        self._deadlines = deadlines
        self._buffer = buffer
        self._lost = lost
        self._transport: Any = None
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self.responses = Responses(max_header_bytes)
        self.stale_at = self.due = 0.0

    # What the owner does

    @property
    def usable(self) -> bool:
        """Whether it is open on both sides, everything was sent, and nothing came unasked."""
        transport = self._transport
        return (
            self.responses.reusable and not transport.is_closing() and not transport.get_write_buffer_size()
        )

    def write(self, head: bytes, body: bytes) -> None:
        """
        Send a request; what the socket does not take at once is sent behind.

        Raises:
            ProtocolError: the peer has closed the connection, or spoken, before anything was sent.
        """
        if self._transport.is_closing():
            raise ProtocolError("the server closed the connection before the request was sent")
        if self.responses.unasked:
            raise ProtocolError("the server spoke before it was asked")
        self.responses.expect()
        self._transport.write(head)
        if body:
            self._transport.write(body)

    async def wait(self, due: float) -> None:
        """
        Until something has arrived or the connection is gone.

        Raises:
            LimitReached: neither before the loop's time was `due`.
        """
        self.resume()
        waiter = self._waiter = self._loop.create_future()
        self.due = due
        self._deadlines.add(self)
        try:
            await waiter
        finally:
            self._deadlines.remove(self)
            self._waiter = None

    def resume(self) -> None:
        """Go on receiving, if that was paused because too much waited to be taken."""
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def expire(self) -> None:
        """The wait has taken too long."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(LimitReached())

    def abort(self) -> None:
        """
        Close it without a farewell.

        A polite end waits for a peer that may be why we are leaving: for its TLS farewell, or until it has
        taken what is still to be written.
        """
        self._transport.abort()

    # What the loop does

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        responses = self.responses
        responses.feed(self._buffer[:nbytes])
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        # Also when somebody was woken: a loop may receive several times before it runs him.
        if responses.size > _HIGH and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> None:
        self.responses.end()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        responses = self.responses
        if exc is not None and not responses.complete and responses.failure is None:
            responses.failure = exc
        responses.end()
        responses.release()
        self._wake()
        self._lost(self)

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
