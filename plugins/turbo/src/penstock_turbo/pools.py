"""
The blocking transport's connections: leased by threads, used by one at a time, given back.

Rules
1. An origin has at most `pool_maxsize` connections; who finds none waits, at most for its pool limit.
2. The one given back last is leased first. One that idled for `keepalive` seconds, or whose peer has closed
   it or spoken unasked, is never leased.
3. At most `pool_connections` origins are kept; the one unused for longest makes room. Its connections
   are closed, those in use when they come back.
"""

from __future__ import annotations

import select
import threading
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

from penstock_turbo.response import Responses

if TYPE_CHECKING:
    from collections.abc import Callable


class PoolLimit(Exception):
    """No connection became free in time."""


class Connection:
    """
    An open connection.

    Args:
        sock: what is read and written.
        limited: the socket whose `due` bounds that.
        max_header_bytes: bytes the head of a response may have.

    Attributes:
        responses: what it brings.
        stale_at: the clock's reading from which on it is too old to be leased.
    """

    __slots__ = ("_watch", "limited", "responses", "sock", "stale_at")

    def __init__(self, sock: Any, limited: Any, max_header_bytes: int) -> None:
        self.sock = sock
        self.limited = limited
        self.responses = Responses(max_header_bytes)
        self.stale_at = 0.0
        self._watch = _watch(sock.fileno())

    def silent(self) -> bool:
        """Whether nothing has come while it was idle, neither bytes nor an end."""
        return not self._watch()

    def close(self) -> None:
        """Close it at once."""
        self.responses.release()
        self.sock.close()


def _watch(descriptor: int) -> Callable[[], Any]:
    """Something to call that is true when the descriptor can be read."""
    if not hasattr(select, "poll"):  # Windows
        return lambda: select.select([descriptor], [], [], 0)[0]
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    ready = poll.poll
    return lambda: ready(0)


class Origin:
    """The connections to one origin."""

    __slots__ = ("_changed", "_closed", "_idle", "_places", "_waiting")

    def __init__(self, size: int) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._idle: deque[Connection] = deque()
        self._places = size
        self._waiting = 0
        self._closed = False

    def lease(self, seconds: float, clock: Callable[[], float]) -> Connection | None:
        """
        An idle connection, or None: the place for a new one. Either is given back once.

        Raises:
            PoolLimit: neither within so many seconds.
        """
        with self._changed:
            if not self._places:
                self._wait(seconds, clock)
            self._places -= 1
            idle = self._idle
            while idle:
                connection = idle.pop()
                if clock() < connection.stale_at and connection.silent():
                    return connection
                connection.close()
            return None

    def give_back(self, connection: Connection | None, now: float) -> None:
        """The place is free again; its connection is idle from now on, unless it is None."""
        old: list[Connection] = []
        with self._changed:
            self._places += 1
            idle = self._idle
            while idle and idle[0].stale_at <= now:
                old.append(idle.popleft())
            if connection is not None:
                (old if self._closed else idle).append(connection)
            if self._waiting:
                self._changed.notify()
        for closed in old:
            closed.close()

    def close(self) -> None:
        """Close the idle connections, and those in use when they come back."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, deque()
        for connection in idle:
            connection.close()

    def _wait(self, seconds: float, clock: Callable[[], float]) -> None:
        until = clock() + seconds
        self._waiting += 1
        try:
            while not self._places:
                remaining = until - clock()
                if remaining <= 0:
                    raise PoolLimit
                self._changed.wait(min(remaining, threading.TIMEOUT_MAX))
        finally:
            self._waiting -= 1


class Pools:
    """
    The connections of one process.

    Args:
        origins: how many are kept.
        size: connections to each.
    """

    def __init__(self, origins: int, size: int) -> None:
        self._limit = origins
        self._size = size
        self._lock = threading.Lock()
        self._origins: OrderedDict[str, Origin] = OrderedDict()
        self._last: tuple[str, Origin] | None = None

    def origin(self, name: str) -> Origin:
        """The origin of a name."""
        last = self._last
        if last is not None and last[0] == name:
            return last[1]
        evicted = None
        with self._lock:
            origin = self._origins.get(name)
            if origin is None:
                origin = self._origins[name] = Origin(self._size)
                if len(self._origins) > self._limit:
                    _, evicted = self._origins.popitem(last=False)
            else:
                self._origins.move_to_end(name)
            self._last = name, origin
        if evicted is not None:
            evicted.close()
        return origin

    def close(self) -> None:
        """Close every idle connection now, every other one when it comes back."""
        with self._lock:
            origins = list(self._origins.values())
        for origin in origins:
            origin.close()
