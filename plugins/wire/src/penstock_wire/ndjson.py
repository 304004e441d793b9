"""
Lines of JSON from bytes, however the network splits them.

Only LF ends a line (a CR before it is dropped): U+2028 and its kin are text. The last line may lack its
LF. Lines are decoded whole, so a character may be cut anywhere, and an unfinished line is kept as
pieces, so that a long line read in small pieces stays linear.
"""

from __future__ import annotations

from penstock.errors import MalformedResponse

MAX_LINE_BYTES = 8 * 1024 * 1024


class NDJSONDecoder:
    """
    An incremental decoder of one stream.

    Args:
        max_line_bytes: how long one line may be.
    """

    __slots__ = ("_max", "_size", "_start", "_tail")

    def __init__(self, *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max = max_line_bytes
        self._tail: list[bytes] = []
        self._size = 0
        self._start = True

    def feed(self, data: bytes) -> list[str]:
        """
        The lines these bytes complete, blank ones left out.

        Raises:
            MalformedResponse: a line is longer than allowed; the decoder is of no use afterwards.
        """
        head, newline, rest = data.rpartition(b"\n")
        if not newline:
            self._keep(data)
            return []
        if self._tail:
            self._tail.append(head)
            head = b"".join(self._tail)
            self._tail.clear()
            self._size = 0
        lines = [self._text(line) for line in head.split(b"\n") if line and not line.isspace()]
        if rest:
            self._keep(rest)
        return lines

    def close(self) -> list[str]:
        """The last line, when its LF never came."""
        line = b"".join(self._tail)
        self._tail.clear()
        self._size = 0
        return [self._text(line)] if line and not line.isspace() else []

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._max:
            raise self._too_long()
        self._tail.append(piece)

    def _text(self, line: bytes) -> str:
        if len(line) > self._max:
            raise self._too_long()
        if self._start:
            self._start = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        return line.rstrip(b"\r").decode("utf-8", "replace")

    def _too_long(self) -> MalformedResponse:
        return MalformedResponse(
            f"a line of the stream is longer than {self._max} bytes", code="line_too_long"
        )
