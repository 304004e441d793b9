"""
Errors by their meaning: each dialect knows the body its provider sends for every kind.

A kind is chosen by a status, or named where several share one status (a 429 may be a rate limit, a spent
quota or a request that never fits).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "authentication",
    "conflict",
    "content_filter",
    "context_length",
    "invalid_request",
    "method_not_allowed",
    "model_not_found",
    "not_found",
    "overloaded",
    "oversized_request",
    "permission",
    "quota",
    "rate_limit",
    "server_error",
    "timeout",
]
RetryAfterForm = Literal["seconds", "ms", "date"]

_KINDS: dict[int, Kind] = {
    400: "invalid_request",
    401: "authentication",
    402: "quota",
    403: "permission",
    404: "model_not_found",
    405: "method_not_allowed",
    408: "timeout",
    409: "conflict",
    413: "context_length",
    422: "invalid_request",
    429: "rate_limit",
    503: "overloaded",
    529: "overloaded",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """
    An error a provider answers with.

    Args:
        kind: what it means.
        status: HTTP status, None for the provider's usual one.
        message: the text, None for the provider's usual one.
        param: the parameter at fault.
        code: the provider's code, None for its usual one.
        retry_after: seconds the message tells the client to wait.
    """

    kind: Kind
    status: int | None = None
    message: str | None = None
    param: str | None = None
    code: str | None = None
    retry_after: float | None = None


def kind_of(status: int) -> Kind:
    """What a status means when nothing else is said."""
    return _KINDS.get(status, "server_error" if status >= 500 else "invalid_request")


def retry_after_headers(
    seconds: float | None, form: RetryAfterForm = "seconds", wall: float = 0.0
) -> dict[str, str]:
    """
    The headers that ask for a wait.

    Args:
        seconds: how long; None gives no header.
        form: `seconds` (fractions allowed), `ms` (`retry-after-ms` and `retry-after` together, as
            Azure sends them) or `date` (rounded up to a whole second).
        wall: seconds since the epoch, for `date`.
    """
    if seconds is None:
        return {}
    if form == "ms":
        return {"retry-after-ms": f"{seconds * 1000:g}", "retry-after": str(math.ceil(seconds))}
    if form == "date":
        from email.utils import formatdate

        return {"retry-after": formatdate(math.ceil(wall + seconds), usegmt=True)}
    return {"retry-after": f"{seconds:g}"}
