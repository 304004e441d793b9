"""
The upstream within the process: a transport that answers by itself, so that a million calls take minutes.

Codec, decoder, exchange and every stage do what they do with a server; only the socket is missing.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Awaitable, Callable, Iterator

from soaking.faults import ERROR, HEADS, MALFORMED, PLAIN, SLOW_SECONDS, Dice, Fate, pieces

from penstock.errors import TransferError
from penstock.http import HttpHead, HttpRequest, Limits


class InProcess:
    """
    A `penstock.http.Transport`, for any colour.

    Args:
        dice: decides what requests meet.
        pause: lets time pass; with 0 seconds it lets others run.

    Attributes:
        opened, closed: exchanges; equal when nothing leaked.
    """

    def __init__(self, dice: Dice, pause: Callable[[float], Awaitable[None]]) -> None:
        self.dice = dice
        self._pause = pause
        self.opened = itertools.count()
        self.closed = itertools.count()

    async def send(self, request: HttpRequest, limits: Limits) -> _Exchange:
        """Answer, or fail, as the dice say."""
        asked = json.loads(request.body or b"{}")
        streamed = bool(asked.get("stream"))
        fate = self.dice.throw(asked["model"], stream=streamed)
        await self._pause(SLOW_SECONDS if fate == "slow" else 0.0)
        if fate == "reset":
            raise TransferError("the connection was reset")
        next(self.opened)
        return _Exchange(self, fate, self._pause, streamed=streamed)

    async def close(self) -> None:
        """Nothing is open."""


class _Exchange:
    def __init__(
        self, transport: InProcess, fate: Fate, pause: Callable[[float], Awaitable[None]], *, streamed: bool
    ) -> None:
        self._transport = transport
        self._fate = fate
        self._pause = pause
        self._open = True
        status, wait = HEADS.get(fate, (200, ""))
        whole = status != 200 or not streamed
        headers = {"content-type": "application/json" if whole else "text/event-stream"}
        if wait:
            headers["retry-after-ms"] = wait
        self.head = HttpHead(status, headers, time.time())
        self._body = ERROR if status != 200 else MALFORMED if fate == "malformed" else PLAIN
        self._pieces: Iterator[bytes] = iter((self._body,) if whole else pieces(fate))

    async def read(self, due: float) -> bytes:
        await self._pause(0.0)
        piece = next(self._pieces, b"")
        if not piece and self._fate == "cut":
            raise TransferError("the connection was cut")
        return piece

    async def read_all(self, due: float) -> bytes:
        return self._body

    async def close(self, *, reuse: bool = False) -> None:
        if self._open:
            self._open = False
            next(self._transport.closed)


def count_of(counter: itertools.count[int]) -> int:
    """How far a counter has come; it is at rest."""
    return int(repr(counter).removeprefix("count(").removesuffix(")"))
