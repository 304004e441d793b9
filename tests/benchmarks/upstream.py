"""
The upstream of all candidates: a loopback server that costs next to nothing.

A raw asyncio protocol that looks for the end of a request and writes bytes prepared beforehand; the first
part of the path says which: `plain`, `burst` (a stream in one write), `paced` (an event each 2 ms), `retry`
(a 503 for the first request of each prompt), `outage` (a 503 for all). `GET /control` tells what it has
received and what that cost. Run as a script it serves until its standard input closes, its first line of
output is its address; with `load ADDRESS` it is the client that finds the ceiling.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from typing import Any

from modes import EVENTS

PACE = 0.002
"""Seconds between two events of a paced stream."""
WORDS = ("The", " penstock", " feeds", " the", " turbine", " below", " with", " water", ".", " ")
TEXT = "A penstock is a gated pipe that carries water to a turbine; its gate decides how much may pass."
USAGE = {
    "prompt_tokens": 19,
    "completion_tokens": 24,
    "total_tokens": 43,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}
HEAD = {"created": 1790000000, "model": "gpt-4o-mini-2024-07-18", "system_fingerprint": "fp_8bda4d3a2c"}
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
PROMPT = re.compile(rb"call-\d+")


def streamed_text(path: str) -> str:
    """What a stream amounts to."""
    return "".join(WORDS[number % len(WORDS)] for number in range(EVENTS[path]))


def _answer(status: str, payload: Any, headers: str = "") -> bytes:
    body = json.dumps(payload).encode()
    return (
        f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        f"x-request-id: req_0123456789\r\n{headers}\r\n".encode()
        + body
    )


def _plain() -> bytes:
    message: dict[str, Any] = {"role": "assistant", "content": TEXT, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    payload = {"id": "chatcmpl-0123456789", "object": "chat.completion", **HEAD, "choices": [choice]}
    return _answer("200 OK", {**payload, "usage": USAGE, "service_tier": "default"})


def _event(delta: dict[str, Any], reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    payload = {"id": "chatcmpl-0123456789", "object": "chat.completion.chunk", **HEAD, "choices": [choice]}
    data = b"data: " + json.dumps({**payload, "usage": None, "obfuscation": "x0Y", **more}).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


def _events(path: str) -> list[bytes]:
    """The writes of a stream, one for each event; every event is an HTTP chunk of its own."""
    words = (WORDS[number % len(WORDS)] for number in range(EVENTS[path]))
    done = b"data: [DONE]\n\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return [
        head + _event({"role": "assistant", "content": "", "refusal": None}),
        *(_event({"content": word}) for word in words),
        _event({}, "stop")
        + _event({}, choices=[], usage=USAGE)
        + b"%x\r\n%s\r\n0\r\n\r\n" % (len(done), done),
    ]


class Prepared:
    """Everything the upstream can say, and what it has heard."""

    def __init__(self) -> None:
        self.plain = _plain()
        self.burst = b"".join(_events("burst"))
        self.paced = _events("paced")
        error = {"error": {"message": "The server is overloaded.", "type": "server_error", "code": None}}
        self.error = _answer("503 Service Unavailable", error, "retry-after-ms: 1\r\n")
        self.seen: set[bytes] = set()
        self.requests = 0


class Connection(asyncio.Protocol):
    """One connection, kept alive; a request may come in pieces, several may come at once."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(buffer, 0, end + 2)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(buffer) < size:
                break
            self._answer(buffer[:size])
            buffer = buffer[size:]
        self._buffer = buffer

    def _answer(self, request: bytes) -> None:
        prepared = self._prepared
        slash = request.find(b"/") + 1
        path = request[slash : request.find(b"/", slash)]
        if path == b"control HTTP":
            told = {"requests": prepared.requests, "cpu": time.process_time()}
            self._transport.write(_answer("200 OK", told))
            return
        prepared.requests += 1
        if path == b"plain":
            self._transport.write(prepared.plain)
        elif path == b"burst":
            self._transport.write(prepared.burst)
        elif path == b"paced":
            self._pace(0)
        elif path == b"retry":
            found = PROMPT.search(request)
            prompt = found[0] if found else b""
            self._transport.write(prepared.plain if prompt in prepared.seen else prepared.error)
            prepared.seen ^= {prompt}
        else:
            self._transport.write(prepared.error)

    def _pace(self, number: int) -> None:
        writes = self._prepared.paced
        self._transport.write(writes[number])
        if number + 1 < len(writes) and not self._transport.is_closing():
            asyncio.get_running_loop().call_later(PACE, self._pace, number + 1)


async def serve() -> None:
    """Serve on a free port until standard input closes."""
    prepared = Prepared()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(prepared), "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


class Caller(asyncio.Protocol):
    """Sends the next request as soon as the answer is there."""

    REQUEST = (
        b"POST /plain/v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 80\r\n\r\n"
        + b"x" * 80
    )

    def __init__(self, size: int, until: float) -> None:
        self._size, self._until = size, until
        self._left = size
        self.answers = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._transport.write(self.REQUEST)

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left <= 0:
            self.answers += 1
            self._left = self._size
            if time.perf_counter() < self._until:
                self._transport.write(self.REQUEST)
            else:
                self._transport.close()


async def load(address: str, seconds: float = 1.0, connections: int = 64) -> None:
    """Print how many answers a second the upstream gives."""
    host, _, port = address.removeprefix("http://").partition(":")
    begun = time.perf_counter()
    callers = [Caller(len(_plain()), begun + seconds) for _ in range(connections)]
    loop = asyncio.get_running_loop()
    left = iter(callers)
    for _ in callers:
        await loop.create_connection(lambda: next(left), host, int(port))
    await asyncio.sleep(begun + seconds - time.perf_counter())
    print(
        json.dumps(
            {"answers": sum(caller.answers for caller in callers), "seconds": time.perf_counter() - begun}
        )
    )


if __name__ == "__main__":
    asyncio.run(load(sys.argv[2]) if sys.argv[1:2] == ["load"] else serve())
