"""
Decompression that no bomb can beat.

A few kilobytes of gzip can stand for gigabytes. Compressed input is therefore unpacked in pieces of
bounded size, each counted against the response's limit before the next one is made, and only the encodings
we ask for are understood: gzip and deflate.
"""

from __future__ import annotations

import zlib

PIECE = 1 << 18
"""Bytes one `take` returns at most."""
_GZIP_MAGIC = b"\x1f\x8b"


class MalformedBody(Exception):
    """The body is not what its headers promise; the text is fit for messages."""


def inflater(encoding: str) -> Inflater | None:
    """What undoes a Content-Encoding; None when there is nothing to undo."""
    encoding = encoding.strip().lower()
    return None if encoding in ("", "identity") else Inflater(encoding)


class Inflater:
    """
    Unpacks one body.

    An unknown encoding fails with the first bytes, not before: the status of a response is worth having
    even when its body cannot be read.
    """

    __slots__ = ("_encoding", "_engine", "_full", "_pending")

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._engine: zlib._Decompress | None = None
        self._pending = b""
        self._full = False

    def feed(self, data: bytes) -> None:
        """
        Add compressed bytes.

        Raises:
            MalformedBody: the encoding is none we asked for.
        """
        if self._encoding not in ("gzip", "x-gzip", "deflate"):
            raise MalformedBody(f"the body has the encoding {self._encoding[:40]!r}, which was not asked for")
        self._pending += data

    def take(self) -> bytes:
        """
        The next piece, b"" when more input is needed.

        Raises:
            MalformedBody: the input is not compressed, or damaged.
        """
        while self._pending or self._full:
            engine = self._engine
            if engine is None:
                engine = self._start()
                if engine is None:
                    return b""
            elif engine.eof:
                if not self._next_member():
                    return b""
                continue
            try:
                data = engine.decompress(self._pending, PIECE)
            except zlib.error:
                raise MalformedBody(f"the body is no valid {self._encoding}") from None
            self._pending = engine.unused_data if engine.eof else engine.unconsumed_tail
            # A full piece may leave output inside the engine even when all input is consumed.
            self._full = len(data) == PIECE and not engine.eof
            if data:
                return data
        return b""

    def finish(self) -> None:
        """
        The input is over.

        Raises:
            MalformedBody: in the middle of the compressed data.
        """
        if not self._engine.eof if self._engine is not None else self._pending:
            raise MalformedBody(f"the {self._encoding} body ends too early")

    def _start(self) -> zlib._Decompress | None:
        """Choose the format; deflate is sent with and without its zlib header, two bytes tell."""
        bits = 16 + zlib.MAX_WBITS
        if self._encoding == "deflate":
            if len(self._pending) < 2:
                return None
            first, second = self._pending[:2]
            wrapped = first & 0x0F == 8 and (first << 8 | second) % 31 == 0
            bits = zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS
        self._engine = zlib.decompressobj(bits)
        return self._engine

    def _next_member(self) -> bool:
        """gzip may have several members; anything else behind the end is padding and dropped."""
        if self._encoding != "deflate" and self._pending.startswith(_GZIP_MAGIC):
            self._engine = zlib.decompressobj(16 + zlib.MAX_WBITS)
            return True
        if self._pending != _GZIP_MAGIC[:1]:  # a lone first byte may still become a member
            self._pending = b""
        return False
