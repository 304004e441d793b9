"""What the simulator received: one request, with its secrets kept out of every repr."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

_SECRET = frozenset({"api-key", "authorization", "cookie", "proxy-authorization", "x-api-key"})


class ReceivedHeaders(dict[str, str]):
    """Headers by name in lower case; the repr masks those that carry credentials."""

    def __repr__(self) -> str:
        return repr({name: "***" if name in _SECRET else value for name, value in self.items()})


class ReceivedRequest:
    """
    One request as it arrived.

    Args:
        number: from 1, in the order of arrival.
        at: the clock's reading in seconds when it was whole.
        method: in upper case.
        target: path and query.
        headers: names in lower case.
        body: the raw bytes.
        connection: which connection brought it, from 1; 0 without one.

    Attributes:
        path: the decoded path without the query.
        query: what stood behind `?`.
        json: the parsed body, None when it is no JSON.
        model: the model the body names, or None.
        stream: whether the body asks for a stream.
    """

    __slots__ = (
        "at",
        "body",
        "connection",
        "headers",
        "json",
        "method",
        "model",
        "number",
        "path",
        "query",
        "stream",
    )

    def __init__(
        self,
        *,
        number: int,
        at: float,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        connection: int = 0,
    ) -> None:
        self.number = number
        self.at = at
        self.method = method
        path, _, self.query = target.partition("?")
        self.path = unquote(path) if "%" in path else path
        self.headers = ReceivedHeaders(headers)
        self.body = body
        self.connection = connection
        self.json: Any = None
        if body:
            try:
                self.json = json.loads(body)
            except (ValueError, RecursionError):
                self.json = None
        fields = self.json if isinstance(self.json, dict) else {}
        model = fields.get("model")
        self.model: str | None = model if isinstance(model, str) else None
        self.stream = fields.get("stream") is True

    def __repr__(self) -> str:
        return (
            f"<ReceivedRequest {self.number} {self.method} {self.path} model={self.model!r} "
            f"stream={self.stream} at={self.at:.3f} headers={self.headers!r} body of {len(self.body)} bytes>"
        )
