"""
One HTTP/1.1 response, read from a blocking socket.

Rules
1. The head is read up to its empty line and may have `max_header_bytes`, informational (1xx) heads
   included. What does not look like HTTP/1.x is refused; nothing is guessed.
2. `read` returns what has arrived as soon as there is something, and never waits for more: a stream's
   event must not sit in a buffer. Chunks that are complete come together.
3. The body ends where its framing says: chunked, else Content-Length, else the end of the connection.
   Anything short of that is an error, never an end.
4. The connection may be used again only when the body was read to its end, both sides want to, and not
   a byte came behind it.

Why not `http.client`: it builds an `email.Message` for every head (60 us), has no limit on the head as a
whole, accepts chunk sizes such as `-5` and `1_0`, and cannot say what has already arrived.
"""

from __future__ import annotations

import re
import socket
from typing import Protocol

from penstock_wire.failures import HEAD_TOO_LARGE

_READ = 1 << 16
_CHUNK_LINE = 4096
"""Bytes of a chunk's size line with its extensions, or of one trailer line."""
_TRAILER_BYTES = 1 << 16
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: .*)?", re.DOTALL)
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_LENGTH = re.compile(r"[0-9]{1,18}").fullmatch
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}[ \t]*(?:;.*)?", re.DOTALL).fullmatch
_SIZE, _DATA, _DATA_END, _TRAILER = range(4)
"""What a chunked body has next: a size line, data, the line end behind data, trailer lines."""


class ProtocolError(Exception):
    """The peer spoke no HTTP, or stopped in the middle; the text is fit for messages."""


class Source(Protocol):
    """What a response is read from."""

    def recv(self, size: int, /) -> bytes: ...


class Incoming:
    """
    A response whose head has been read.

    Args:
        source: a socket; what its `recv` raises passes through.
        max_header_bytes: bytes the head may have.

    Attributes:
        status: HTTP status code.
        headers: names in lower case, repeated ones joined with ", ".
        complete: the body has been read to its end.
        persistent: both sides allow another request on the connection.

    Raises:
        ProtocolError: there is no valid head.
    """

    __slots__ = (
        "_buffer",
        "_chunked",
        "_left",
        "_source",
        "_stage",
        "_trailer",
        "complete",
        "headers",
        "persistent",
        "status",
    )

    def __init__(self, source: Source | socket.socket, max_header_bytes: int) -> None:
        self._source = source
        self._buffer = b""
        self._left: int | None = None
        self.complete = False
        allowed = max_header_bytes
        while True:
            head = self._take_head(allowed)
            allowed -= len(head)
            version = self._read_head(head)
            if self.status >= 200:
                break
            if self.status == 101:
                raise ProtocolError("the server switched protocols unasked")
        self._frame(version)

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another request."""
        return self.complete and self.persistent and not self._buffer

    def read(self) -> bytes:
        """
        The next bytes of the body as they came, b"" at its end.

        Raises:
            ProtocolError: the body ended too early, or its chunks are none.
        """
        if self.complete:
            return b""
        if self._chunked:
            return self._read_chunks()
        left = self._left
        if self._buffer:
            data = self._buffer if left is None else self._buffer[:left]
            self._buffer = self._buffer[len(data) :]
        else:
            data = self._source.recv(_READ if left is None else min(left, _READ))
        if left is None:
            self.complete = not data
        elif not data:
            raise ProtocolError(f"the body ended {left} bytes too early")
        else:
            self._left = left - len(data)
            self.complete = self._left == 0
        return data

    def _fill(self, what: str) -> None:
        data = self._source.recv(_READ)
        if not data:
            raise ProtocolError(f"the connection was closed before the {what}")
        self._buffer += data

    def _take_head(self, allowed: int) -> bytes:
        searched = 0
        while True:
            # The empty line may have begun in what was searched before.
            start = max(0, searched - 3)
            end = self._buffer.find(b"\r\n\r\n", start)
            size = 4
            if end < 0 and (match := _END_OF_HEAD.search(self._buffer, start)) is not None:
                end, size = match.start(), match.end() - match.start()
            if (end if end >= 0 else len(self._buffer)) > allowed:
                raise ProtocolError(HEAD_TOO_LARGE)
            if end >= 0:
                head, self._buffer = self._buffer[:end], self._buffer[end + size :]
                return head
            searched = len(self._buffer)
            self._fill("end of the head" if searched else "response began")

    def _read_head(self, head: bytes) -> int:
        lines = head.decode("latin-1").split("\n")
        match = _STATUS_LINE.fullmatch(head[: len(lines[0])].rstrip(b"\r"))
        if match is None:
            raise ProtocolError("the response does not begin like HTTP/1.1")
        self.status = int(match[2])
        headers: dict[str, str] = {}
        name = ""
        for line in lines[1:]:
            if line[:1] in (" ", "\t"):
                # Obsolete line folding: still a part of the value before it.
                if not name:
                    raise ProtocolError("the head has a folded line without a header")
                headers[name] = f"{headers[name]} {line.strip()}".strip()
                continue
            name, colon, value = line.partition(":")
            if not colon or _NAME(name) is None:
                raise ProtocolError("the head has a line that is no header")
            name = name.lower()
            value = value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self.headers = headers
        return int(match[1])

    def _frame(self, version: int) -> None:
        headers = self.headers
        connection = headers.get("connection", "").lower()
        self.persistent = "close" not in connection and (version == 1 or "keep-alive" in connection)
        self._chunked = False
        coding = headers.get("transfer-encoding")
        length = headers.get("content-length")
        if self.status in (204, 304):
            self._left = 0
        elif coding is not None:
            if coding.lower() != "chunked":
                raise ProtocolError("the response has a transfer encoding that was not asked for")
            self._chunked = True
            self._left = self._trailer = 0
            self._stage = _SIZE
            if length is not None:  # chunked wins, but such a connection is not to be trusted
                self.persistent = False
        elif length is not None:
            lengths = {part.strip() for part in length.split(",")}
            value = lengths.pop()
            if lengths or _LENGTH(value) is None:
                raise ProtocolError("the response has no valid Content-Length")
            self._left = int(value)
        else:
            self.persistent = False
        self.complete = self._left == 0 and not self._chunked

    def _read_chunks(self) -> bytes:
        pieces: list[bytes] = []
        while True:
            self._take_chunks(pieces)
            if pieces or self.complete:
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            self._fill("end of the body")

    def _take_chunks(self, pieces: list[bytes]) -> None:
        """
        Move the chunk data that has arrived from the buffer to `pieces`.

        What is wrong behind good data is found by the next call: the data is worth having first.
        """
        buffer, position, left, stage = self._buffer, 0, self._left or 0, self._stage
        while True:
            if stage == _DATA:
                piece = buffer[position : position + left]
                if piece:
                    pieces.append(piece)
                    position += len(piece)
                    left -= len(piece)
                if left:
                    break
                stage = _DATA_END
            end = buffer.find(b"\r\n", position)
            if end < 0 and len(buffer) - position <= _CHUNK_LINE:
                break
            line = buffer[position:end] if end >= 0 else None
            if stage == _TRAILER and line is not None:
                self._trailer += len(line) + 2
                if self._trailer > _TRAILER_BYTES:
                    line = None
            problem = _chunk_problem(stage, line)
            if problem is not None or line is None:
                if pieces:
                    break
                raise ProtocolError(problem or "a line of the chunked body is too long")
            position = end + 2
            if stage == _DATA_END:
                stage = _SIZE
            elif stage == _SIZE:
                left = int(line.partition(b";")[0], 16)
                stage = _DATA if left else _TRAILER
            elif not line:
                self.complete = True
                break
        self._buffer, self._left, self._stage = buffer[position:], left, stage


def _chunk_problem(stage: int, line: bytes | None) -> str | None:
    if line is None:
        return "a line of the chunked body is too long"
    if stage == _DATA_END and line:
        return "a chunk is longer than its size"
    if stage == _SIZE and _CHUNK_SIZE(line) is None:
        return "a chunk has no valid size"
    return None
