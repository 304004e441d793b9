"""What both colours know of a response's body: its encoding, and how much of it may come."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from penstock.http import HttpHead
from penstock_wire.failures import too_large
from penstock_wire.inflate import inflater

if TYPE_CHECKING:
    from penstock_turbo.response import Responses


class Body:
    """
    A response whose head has arrived; the colours add how bytes are waited for.

    Args:
        responses: what the connection brings.
        shown: the URL, fit for messages.
        max_bytes: decompressed bytes the body may have.

    Attributes:
        head: status and headers.
    """

    __slots__ = ("_inflater", "_left", "_max_bytes", "_responses", "_shown", "_sound", "head")

    def __init__(self, responses: Responses, shown: str, max_bytes: int) -> None:
        headers = responses.headers
        self.head = HttpHead(responses.status, headers, time.time())
        self._responses = responses
        self._shown = shown
        self._left = self._max_bytes = max_bytes
        self._inflater = inflater(headers["content-encoding"]) if "content-encoding" in headers else None
        self._sound = True

    def _counted(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            self._sound = False
            raise too_large(self._shown, self._max_bytes)
        return data

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.head.status} of {self._shown}>"
