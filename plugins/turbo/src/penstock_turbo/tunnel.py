"""What a proxy says to CONNECT, read as it arrives; no I/O."""

from __future__ import annotations

import re

from penstock_wire.incoming import ProtocolError

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?\r?\n")
_END = re.compile(rb"\r?\n\r?\n")


class TunnelRefused(Exception):
    """
    The proxy would not connect us through.

    Args:
        status: what it said.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class TunnelAnswer:
    """
    The answer of a proxy.

    Args:
        max_bytes: bytes its head may have.

    Attributes:
        complete: the tunnel is open; what the server says comes next.
    """

    __slots__ = ("_head", "_max_bytes", "complete")

    def __init__(self, max_bytes: int) -> None:
        self._head = b""
        self._max_bytes = max_bytes
        self.complete = False

    def feed(self, data: bytes) -> None:
        """
        Take bytes that arrived, b"" for the end.

        Raises:
            TunnelRefused: the status is none of success.
            ProtocolError: no HTTP, too long, ended too early, or bytes behind the head.
        """
        if not data:
            raise ProtocolError("the proxy closed the connection")
        # Where the end may begin, in what was searched before.
        start = max(0, len(self._head) - 3)
        self._head += data
        end = _END.search(self._head, start)
        if end is None:
            if len(self._head) > self._max_bytes:
                raise ProtocolError("the proxy's answer is too long")
            return
        status = _STATUS.match(self._head)
        if status is None:
            raise ProtocolError("the proxy's answer is no valid HTTP")
        if not 200 <= int(status[1]) < 300:
            raise TunnelRefused(int(status[1]))
        if end.end() != len(self._head):
            # A TLS server waits for us, so these bytes are none of its own.
            raise ProtocolError("the proxy sent bytes behind its answer")
        self.complete = True
