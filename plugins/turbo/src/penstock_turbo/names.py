"""
Host names turned into addresses, remembered for a while, looked up once for all who ask together.

A lookup runs in a worker thread of the loop. One that was given up ends there when the C library lets go.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, TypeAlias

Answers: TypeAlias = "list[tuple[Any, Any, int, str, Any]]"
"""What `getaddrinfo` returns."""

_NAMES = 256
"""Names remembered; a client uses a handful."""


class Names:
    """
    The names one loop has asked for.

    Args:
        loop: whose worker threads are used.
        ttl: seconds an answer is remembered; 0 remembers none.
    """

    __slots__ = ("_asked", "_known", "_loop", "_ttl")

    def __init__(self, loop: asyncio.AbstractEventLoop, ttl: float) -> None:
        self._loop = loop
        self._ttl = ttl
        self._known: dict[tuple[str, int], tuple[float, Answers]] = {}
        self._asked: dict[tuple[str, int], asyncio.Future[Answers]] = {}

    async def resolve(self, host: str, port: int) -> Answers:
        """
        The addresses of a host, never none.

        Raises:
            OSError: it has none, or the lookup failed.
        """
        try:
            # Addresses, in every form the C library takes, need no thread.
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except OSError:
            pass
        key = host, port
        known = self._known.get(key)
        if known is not None and known[0] > self._loop.time():
            return known[1]
        asked = self._asked.get(key)
        if asked is None:
            asked = self._loop.run_in_executor(None, _look_up, host, port)
            self._asked[key] = asked
            asked.add_done_callback(lambda done: self._answered(key, done))
        return await asyncio.shield(asked)

    def _answered(self, key: tuple[str, int], done: asyncio.Future[Answers]) -> None:
        del self._asked[key]
        # Asking for the exception keeps asyncio from reporting one that nobody waits for any more.
        if done.cancelled() or done.exception() is not None or not self._ttl:
            return
        if len(self._known) >= _NAMES:
            self._known.clear()
        self._known[key] = self._loop.time() + self._ttl, done.result()


def _look_up(host: str, port: int) -> Answers:
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not answers:
        raise OSError("the host has no address")
    return answers
