"""
The upstream behind sockets: a process of its own that answers, refuses, dawdles, cuts and resets.

Run as a script it serves until its standard input closes; the first line of its output is its address, and
`GET /control` tells how many requests it has read in whole, by what they met.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys

from soaking.faults import ERROR, HEADS, MALFORMED, PLAIN, SLOW_SECONDS, Dice, Fate, pieces
from upstream import LENGTH

MODEL = re.compile(rb'"model": ?"([^"]+)"')
STREAMED = re.compile(rb'"stream": ?true')
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def whole(status: int, body: bytes, headers: str = "") -> bytes:
    """A response in one piece."""
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return f"{head}{headers}\r\n".encode() + body


class Connection(asyncio.Protocol):
    """One connection; requests come one after the other."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(buffer, 0, end + 2)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(buffer) < size:
                break
            self._received(buffer[:size])
            buffer = buffer[size:]
        self._buffer = buffer

    def _received(self, request: bytes) -> None:
        if request.startswith(b"GET /control"):
            told = {"requests": self._dice.requests, "fates": self._dice.fates}
            self._transport.write(whole(200, json.dumps(told).encode()))
            return
        model = MODEL.search(request)
        streamed = STREAMED.search(request) is not None
        fate = self._dice.throw(model[1].decode() if model else "", stream=streamed)
        if fate == "slow":
            asyncio.get_running_loop().call_later(SLOW_SECONDS, self._answer, fate, streamed)
        else:
            self._answer(fate, streamed)

    def _answer(self, fate: Fate, streamed: bool) -> None:
        transport = self._transport
        if fate == "reset":
            transport.abort()
        elif fate in HEADS:
            status, wait = HEADS[fate]
            transport.write(whole(status, ERROR, f"retry-after-ms: {wait}\r\n" if wait else ""))
        elif streamed:
            self._stream(fate)
        else:
            transport.write(whole(200, MALFORMED if fate == "malformed" else PLAIN))

    def _stream(self, fate: Fate) -> None:
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces(fate))
        self._transport.write(STREAM_HEAD + body)
        if fate == "cut":
            self._transport.close()
        else:
            self._transport.write(b"0\r\n\r\n")


async def serve() -> None:
    """Serve on a free port until standard input closes."""
    dice = Dice(seed=3)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(dice), "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
