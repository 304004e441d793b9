"""
The responses that arrive on one connection, parsed by llhttp as bytes come in; no I/O.

Rules
1. `feed` takes what has arrived, `take` gives what there is of the body and never waits for more: a stream's
   event must not sit in a buffer.
2. llhttp decides what is HTTP, strictly: two lengths, a length beside chunks, folded lines and chunk sizes
   such as `-5` are refused. Only bare line feeds and spaces behind a chunk's size are let through, as
   aiohttp does.
3. What it does not bound is bounded here: the head by `max_header_bytes`, informational (1xx) heads included,
   and everything between two pieces of a body (chunk extensions, trailers).
4. What is wrong behind good data is told after the data was taken.
5. A connection may be used again only when the response was complete, both sides want to, and not a byte
   came behind it (line breaks apart, which llhttp skips).
"""

from __future__ import annotations

from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from penstock_wire.failures import HEAD_TOO_LARGE
from penstock_wire.incoming import ProtocolError

_BETWEEN = 1 << 16
"""Bytes a body may have between two pieces of data."""
_WITHOUT_BODY = (204, 304)
_SWITCHED = "the server switched protocols unasked"


class Responses:
    """
    The incoming side of one connection.

    Args:
        max_header_bytes: bytes the head of a response may have.

    Attributes:
        status: HTTP status code.
        headers: names in lower case, repeated ones joined with ", ".
        begun: a good head is there; `status` and `headers` may be read.
        complete: the body has arrived to its end; pieces of it may be left to take.
        failure: what is wrong, or None; told by `take` when nothing is left.
        size: bytes of the body that wait to be taken.
        unasked: bytes came while nothing was asked; what follows them belongs to nobody's request.
    """

    __slots__ = (
        "_between",
        "_early",
        "_fields",
        "_max_header_bytes",
        "_parser",
        "_persistent",
        "_pieces",
        "_unread",
        "_until_closed",
        "begun",
        "complete",
        "failure",
        "headers",
        "size",
        "status",
        "unasked",
    )

    def __init__(self, max_header_bytes: int) -> None:
        self._max_header_bytes = max_header_bytes
        self._pieces: list[bytes] = []
        self.expect()
        self.complete = True  # nothing is asked so far
        self.unasked = False
        self.failure: Exception | None = None
        parser: Any = HttpResponseParser(self)
        parser.set_dangerous_leniencies(
            lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._parser = parser

    def expect(self) -> None:
        """A request is about to be written: get ready for its response."""
        self.begun = self.complete = self._persistent = self._until_closed = self._early = False
        self._unread = self._max_header_bytes
        self._between = _BETWEEN
        self._fields: list[tuple[bytes, bytes]] = []
        self._pieces.clear()
        self.size = 0

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another request."""
        return self.complete and self._persistent and self.failure is None

    def feed(self, data: bytes | memoryview) -> None:
        """Take bytes that arrived; what is wrong with them becomes `failure`."""
        if self.failure is not None:
            return
        if self.complete:
            self._persistent = False
            self.unasked = True
            return
        size, begun = self.size, self.begun
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self.failure = ProtocolError(_SWITCHED)
        except HttpParserError as error:
            if self.complete:
                self._persistent = False  # bytes behind the response that are none
            elif self.failure is None:
                # llhttp's texts are fixed ones; nothing of the response is in them.
                self.failure = ProtocolError(f"the response is no valid HTTP: {error}")
        if not begun:
            self._unread -= len(data)
            if self._unread < 0 and (not self.begun or self._head_size() > self._max_header_bytes):
                self.failure = ProtocolError(HEAD_TOO_LARGE)
                self.begun = False
        elif self.size == size and not self.complete:
            self._between -= len(data)
            if self._between < 0:
                self.failure = ProtocolError("too many bytes between two pieces of the body")
        else:
            self._between = _BETWEEN

    def end(self) -> None:
        """The peer has closed its side."""
        self._persistent = False
        if self.complete or self.failure is not None:
            return
        if not self.begun:
            what = "response began" if self._unread == self._max_header_bytes else "end of the head"
            self.failure = ProtocolError(f"the connection was closed before the {what}")
        elif self._until_closed:
            self.complete = True
        else:
            self.failure = ProtocolError("the body ended too early")

    def take(self) -> bytes:
        """
        What has arrived of the body, b"" when nothing has.

        Raises:
            Exception: the failure, when nothing is left before it.
        """
        pieces = self._pieces
        if not pieces:
            if self.failure is not None and not self.complete:
                raise self.failure
            return b""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.size = 0
        return data

    def spoil(self) -> None:
        """The connection may not carry another request, whatever the response says."""
        self._persistent = False

    def release(self) -> None:
        """The connection is gone: let go of the parser, which refers back to this."""
        self._parser = None
        self._persistent = False

    def _head_size(self) -> int:
        return sum(len(name) + len(value) + 4 for name, value in self._fields)

    # What llhttp calls, in this order

    def on_message_begin(self) -> None:
        if self.complete:
            self._persistent = False  # the beginning of a response nobody asked for
        self._early = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.begun:
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        parser = self._parser
        status = parser.get_status_code()
        if status < 200:
            if not 100 <= status != 101:
                self.failure = ProtocolError(_SWITCHED if status == 101 else "the response has no status")
            self._early = True
            self._fields.clear()
            return
        headers: dict[str, str] = {}
        for raw, value in self._fields:
            name = raw.decode("latin-1").lower()
            text = value.decode("latin-1").strip()
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
        coding = headers.get("transfer-encoding")
        if coding is not None and coding.lower() != "chunked":
            self.failure = ProtocolError("the response has a transfer encoding that was not asked for")
            return
        self._until_closed = (
            coding is None and "content-length" not in headers and status not in _WITHOUT_BODY
        )
        self._persistent = parser.should_keep_alive()
        self.status = status
        self.headers = headers
        self.begun = True

    def on_body(self, data: bytes) -> None:
        if self.failure is None and not self.complete:
            self._pieces.append(data)
            self.size += len(data)

    def on_message_complete(self) -> None:
        if not self._early:
            self.complete = True
