"""Reads HTTP/1.1 requests out of a byte stream, however it is split; no I/O."""

from __future__ import annotations

from typing import NamedTuple


class RawRequest(NamedTuple):
    """One request; header names in lower case, repeated ones joined by a comma."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool


class BadRequest(Exception):
    """What came is no HTTP request that this server takes; `status` says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class RequestParser:
    """
    Feed it bytes, take requests out.

    Args:
        max_head: bytes a request line with its headers may have.
        max_body: bytes a body may have.

    Attributes:
        expects_continue: the client waits for `100 Continue` before it sends the body; clear it when
            it was sent.
    """

    __slots__ = ("_body", "_buffer", "_head", "_max_body", "_max_head", "_remaining", "expects_continue")

    def __init__(self, *, max_head: int = 64 * 1024, max_body: int = 256 * 1024 * 1024) -> None:
        self._buffer = bytearray()
        self._head: tuple[str, str, str, dict[str, str]] | None = None
        self._remaining: int | None = 0
        self._body: list[bytes] = []
        self._max_head = max_head
        self._max_body = max_body
        self.expects_continue = False

    def feed(self, data: bytes) -> None:
        """Take bytes from the connection."""
        self._buffer += data

    def request(self) -> RawRequest | None:
        """
        The next request, None until it is whole.

        Raises:
            BadRequest: nothing more can be read from this connection.
        """
        if self._head is None and not self._read_head():
            return None
        body = self._chunked_body() if self._remaining is None else self._sized_body(self._remaining)
        if body is None or self._head is None:
            return None
        method, target, version, headers = self._head
        connection = headers.get("connection", "").lower()
        keep_alive = "close" not in connection and (version != "HTTP/1.0" or "keep-alive" in connection)
        self._head = None
        self.expects_continue = False
        return RawRequest(method, target, headers, body, keep_alive)

    def _read_head(self) -> bool:
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):  # RFC 9112 2.2: empty lines before a request are ignored
            del buffer[:2]
        end = buffer.find(b"\r\n\r\n")
        if end < 0 or end > self._max_head:
            if len(buffer) > self._max_head:
                raise BadRequest(431, "the head of the request is too long")
            return False
        first, *lines = buffer[:end].decode("latin-1").split("\r\n")
        del buffer[: end + 4]
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise BadRequest(400, "the request line is not HTTP/1.x")
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise BadRequest(400, "a header line has no name")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self._head = (words[0], words[1], words[2], headers)
        self._body = []
        if "chunked" in headers.get("transfer-encoding", "").lower():
            self._remaining = None
        else:
            length = headers.get("content-length", "0")
            if not (length.isascii() and length.isdigit()):
                raise BadRequest(400, "the content-length is no number")
            self._remaining = int(length)
            self._check_size(self._remaining)
        self.expects_continue = "100-continue" in headers.get("expect", "").lower()
        return True

    def _sized_body(self, length: int) -> bytes | None:
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def _chunked_body(self) -> bytes | None:
        buffer = self._buffer
        while True:
            end = buffer.find(b"\r\n")
            if end < 0:
                return None
            try:
                size = int(bytes(buffer[:end]).split(b";")[0], 16)
            except ValueError:
                raise BadRequest(400, "a chunk has no size") from None
            if size == 0:
                trailer = buffer.find(b"\r\n\r\n", end)
                if trailer < 0:
                    return None
                del buffer[: trailer + 4]
                return b"".join(self._body)
            self._check_size(size + sum(map(len, self._body)))
            if len(buffer) < end + 2 + size + 2:
                return None
            self._body.append(bytes(buffer[end + 2 : end + 2 + size]))
            del buffer[: end + 2 + size + 2]

    def _check_size(self, size: int) -> None:
        if size > self._max_body:
            raise BadRequest(413, "the body is too long")
