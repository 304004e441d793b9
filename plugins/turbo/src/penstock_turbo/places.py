"""
The async transport's connections: how many there may be, which are idle, and who waits.

Rules
1. A call holds a place from before it connects until its connection is idle or gone: at most `limit` in all,
   `limit_per_host` to an origin.
2. Who finds none waits in line for the origin. A free place goes to the first in line that may have it,
   origins in turn; it is handed over, so nobody who comes later takes it away.
3. One who leaves the line when the place was already his hands it on.
4. A connection that idled for `keepalive` seconds is closed by one timer for all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from penstock_turbo.failing import LimitReached

if TYPE_CHECKING:
    from penstock_turbo.connection import Connection
    from penstock_wire.deadlines import Deadlines


class _Turn:
    """Somebody in line; `expire` is called by the shared timer."""

    __slots__ = ("due", "granted")

    def __init__(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self.due = due
        self.granted: asyncio.Future[None] = loop.create_future()

    def expire(self) -> None:
        if not self.granted.done():
            self.granted.set_exception(LimitReached())


class Origin:
    """
    The connections to one origin.

    Attributes:
        name: of the origin.
        used: places that are held.
    """

    __slots__ = ("idle", "line", "name", "used")

    def __init__(self, name: str) -> None:
        self.name = name
        self.used = 0
        self.idle: deque[Connection] = deque()
        self.line: deque[_Turn] = deque()


class Places:
    """
    The places of one event loop.

    Args:
        loop: the loop.
        deadlines: ends waits that take too long.
        limit: places in all.
        per_origin: places for one origin; 0 is without limit.
        keepalive: seconds an idle connection is kept.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines,
        limit: int,
        per_origin: int,
        keepalive: float,
    ) -> None:
        self._loop = loop
        self._deadlines = deadlines
        self._limit = limit
        self._per_origin = per_origin or limit
        self._keepalive = keepalive
        self._used = 0
        self._origins: dict[str, Origin] = {}
        self._lines: dict[str, Origin] = {}
        self._sweep: asyncio.TimerHandle | None = None

    def take(self, name: str) -> Origin | None:
        """A place of an origin, or None when all are held."""
        origin = self._origins.get(name)
        if origin is None:
            origin = self._origins[name] = Origin(name)
        if self._used >= self._limit or origin.used >= self._per_origin:
            return None
        self._used += 1
        origin.used += 1
        return origin

    async def wait(self, name: str, due: float) -> Origin:
        """
        A place of an origin, in turn.

        Raises:
            LimitReached: none before the loop's time was `due`.
        """
        origin = self._origins.get(name)
        if origin is None:
            origin = self._origins[name] = Origin(name)
        turn = _Turn(self._loop, due)
        origin.line.append(turn)
        self._lines[name] = origin
        self._deadlines.add(turn)
        try:
            await turn.granted
        except BaseException:
            if turn.granted.done() and not turn.granted.cancelled() and turn.granted.exception() is None:
                self._free(origin)
            else:
                if turn in origin.line:  # else it was passed over when a place became free
                    origin.line.remove(turn)
                self._tidy(origin)
            raise
        finally:
            self._deadlines.remove(turn)
        return origin

    def idle(self, origin: Origin) -> Connection | None:
        """An idle connection of an origin, the one used last, or None."""
        idle = origin.idle
        while idle:
            connection = idle.pop()
            if connection.usable and self._loop.time() < connection.stale_at:
                return connection
            connection.abort()
        return None

    def give_back(self, origin: Origin, connection: Connection | None) -> None:
        """A place is free again; its connection is idle from now on, unless it is None."""
        if connection is not None:
            connection.stale_at = self._loop.time() + self._keepalive
            origin.idle.append(connection)
            if self._sweep is None:
                self._sweep = self._loop.call_at(connection.stale_at, self._close_stale)
        self._free(origin)

    def lost(self, origin: Origin, connection: Connection) -> None:
        """A connection is gone; it may have been idle."""
        if connection in origin.idle:
            origin.idle.remove(connection)
            self._tidy(origin)

    def close(self) -> None:
        """Stop the timer; who waits is told."""
        if self._sweep is not None:
            self._sweep.cancel()
        for origin in list(self._lines.values()):
            for turn in list(origin.line):
                if not turn.granted.done():
                    turn.granted.set_exception(LimitReached())

    def _free(self, origin: Origin) -> None:
        self._used -= 1
        origin.used -= 1
        if self._lines:
            self._hand_over()
        if not origin.used:
            self._tidy(origin)

    def _hand_over(self) -> None:
        """Give what is free to those in line, origins in turn."""
        for name, origin in list(self._lines.items()):
            if self._used >= self._limit:
                return
            if origin.used >= self._per_origin:
                continue
            del self._lines[name]
            line = origin.line
            while line:
                turn = line.popleft()
                if not turn.granted.done():
                    turn.granted.set_result(None)
                    self._used += 1
                    origin.used += 1
                    break
            if line:
                self._lines[name] = origin

    def _tidy(self, origin: Origin) -> None:
        # Who gives up late may find another origin of the same name, which is none of his business.
        name = origin.name
        if not origin.line:
            if self._lines.get(name) is origin:
                del self._lines[name]
            if not origin.used and not origin.idle and self._origins.get(name) is origin:
                del self._origins[name]

    def _close_stale(self) -> None:
        now = self._loop.time()
        soonest = None
        for origin in list(self._origins.values()):
            idle = origin.idle
            while idle and idle[0].stale_at <= now:
                idle.popleft().abort()
            if idle and (soonest is None or idle[0].stale_at < soonest):
                soonest = idle[0].stale_at
            self._tidy(origin)
        self._sweep = None if soonest is None else self._loop.call_at(soonest, self._close_stale)
