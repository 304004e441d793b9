"""
Server-sent events from bytes, however the network splits them.

Rules
1. Only CR, LF and CRLF end a line, a pair cut by a read included; U+2028 and its kin are text.
2. The bytes are UTF-8 and are decoded one whole event at a time, so a character may be cut anywhere.
   Bytes that are no UTF-8 become U+FFFD. One byte order mark at the very start is dropped.
3. An event is dispatched by a blank line if it had a `data` field, even an empty one. Comments, `id`,
   `retry` and unknown fields do nothing; several data lines are joined by LF.
4. Every byte is looked at a fixed number of times: an unfinished line is kept as a list of pieces and
   joined once, when its end arrives, so a large event read in small pieces stays linear.

The fast path is a read that holds whole events of one data line each: split, cut, decode.
"""

from __future__ import annotations

from typing import NamedTuple

from penstock.errors import MalformedResponse

MAX_EVENT_BYTES = 8 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class ServerEvent(NamedTuple):
    """One event: its data, and its type when the server named one."""

    data: str
    event: str | None = None


class SSEDecoder:
    """
    An incremental decoder of one stream.

    Args:
        max_event_bytes: how large the data of one event (or one line) may be.
        flush: whether `close` returns an event whose final blank line never came. The standard drops
            it; model servers do end streams that way.
    """

    __slots__ = ("_after_cr", "_data", "_event", "_flush", "_head", "_max", "_size", "_tail", "_tail_size")

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES, flush: bool = False) -> None:
        self._max = max_event_bytes
        self._flush = flush
        self._head: bytes | None = b""  # what may still become a BOM; None once that is settled
        self._after_cr = False
        self._tail: list[bytes] = []  # the unfinished line
        self._tail_size = 0
        self._data: list[bytes] | None = None  # data lines of the open event
        self._event: str | None = None
        self._size = 0

    def feed(self, data: bytes) -> list[ServerEvent]:
        """
        The events these bytes complete.

        Raises:
            MalformedResponse: an event is larger than allowed; the decoder is of no use afterwards.
        """
        if self._head is not None:
            data = self._skip_bom(data)
        if self._after_cr and data:
            self._after_cr = False
            if data[0] == 10:
                data = data[1:]
        if b"\r" in data:
            self._after_cr = data[-1] == 13
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        end = data.rfind(b"\n") + 1
        if not end:
            self._keep(data)
            return []
        rest = data[end:]
        if rest:
            data = data[:end]
        if self._tail:
            self._tail.append(data)
            data = b"".join(self._tail)
            self._tail.clear()
            self._tail_size = 0
        events: list[ServerEvent] = []
        blocks = data.split(b"\n\n")
        unfinished = blocks.pop()
        for block in blocks:
            if block[:5] == b"data:" and self._data is None and self._event is None and b"\n" not in block:
                if len(block) > self._max:
                    raise self._too_large()
                text = block[6:] if block[5:6] == b" " else block[5:]
                events.append(ServerEvent(text.decode("utf-8", "replace")))
            else:
                for line in block.split(b"\n"):
                    self._line(line, events)
                self._line(b"", events)
        if unfinished:
            for line in unfinished[:-1].split(b"\n"):
                self._line(line, events)
        if rest:
            self._keep(rest)
        return events

    def close(self) -> list[ServerEvent]:
        """The event that the end of the bytes completes, if this decoder was told to keep it."""
        events: list[ServerEvent] = []
        if self._head:
            self._keep(self._head)
        self._head = None
        if self._flush:
            self._line(b"".join(self._tail), events)
            self._line(b"", events)
        self._tail.clear()
        self._tail_size = 0
        self._data = None
        return events

    def _skip_bom(self, data: bytes) -> bytes:
        head = (self._head or b"") + data
        if len(head) < 3 and _BOM.startswith(head):
            self._head = head
            return b""
        self._head = None
        return head.removeprefix(_BOM)

    def _keep(self, piece: bytes) -> None:
        self._tail_size += len(piece)
        if self._size + self._tail_size > self._max:
            raise self._too_large()
        self._tail.append(piece)

    def _line(self, line: bytes, events: list[ServerEvent]) -> None:
        if not line:
            if self._data is not None:
                text = b"\n".join(self._data).decode("utf-8", "replace")
                events.append(ServerEvent(text, self._event))
                self._data = None
                self._size = 0
            self._event = None
            return
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            self._size += len(line)
            if self._size > self._max:
                raise self._too_large()
            if self._data is None:
                self._data = [value]
            else:
                self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")

    def _too_large(self) -> MalformedResponse:
        return MalformedResponse(
            f"an event of the stream is larger than {self._max} bytes", code="event_too_large"
        )
