"""
How long to wait and how much is left, from the headers of a response.

Every vendor writes these differently: Go durations (`1m19.156s`), bare seconds, seconds or milliseconds
since the epoch, RFC 3339, HTTP dates, structured fields (`"api";r=0;t=55`). Nothing here raises,
whatever the server sent: what cannot be read is None. Names are expected in lower case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from penstock.frozen import dataclass

_NUMBER = re.compile(r"[0-9]*\.?[0-9]+")
_DURATION = re.compile(r"(?:[0-9]*\.?[0-9]+(?:ns|us|µs|μs|ms|s|m|h|d))+")
_DURATION_PIECE = re.compile(r"([0-9]*\.?[0-9]+)(ns|us|µs|μs|ms|s|m|h|d)")
_FIELD = re.compile(r";\s*([a-z]+)\s*=\s*([0-9.]+)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_UNITS["d"] = 86400.0
_LONGEST = 64
"""No honest value is longer; dates parse in more than linear time and ints have a digit limit."""
_EPOCH_SECONDS = 1e9
_EPOCH_MILLISECONDS = 1e11
_UNLIMITED = 1 << 62
"""Some servers write "unlimited" as a number near or above int64."""


@dataclass(frozen=True, slots=True)
class RateLimits:
    """
    What a server said about its limits; None is unknown.

    Args:
        limit_requests, remaining_requests: requests of the window, and what is left of them.
        reset_requests: seconds, from the response on, until the window is fresh.
        limit_tokens, remaining_tokens, reset_tokens: the same for tokens.
    """

    limit_requests: int | None = None
    remaining_requests: int | None = None
    reset_requests: float | None = None
    limit_tokens: int | None = None
    remaining_tokens: int | None = None
    reset_tokens: float | None = None


def duration(text: str) -> float | None:
    """Seconds in a Go duration such as `14m24s`, `120ms` or `0s`; None for anything else."""
    if len(text) > _LONGEST or _DURATION.fullmatch(text) is None:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PIECE.findall(text))


def wait(text: str, received: float) -> float | None:
    """
    Seconds from `received` on that a header value stands for, never negative.

    Args:
        text: a number of seconds, a Go duration, an epoch in seconds or milliseconds, an RFC 3339 time
            or an HTTP date.
        received: seconds since the epoch when the response arrived.
    """
    text = text.strip()
    if not text or len(text) > _LONGEST:
        return None
    if _NUMBER.fullmatch(text) is not None:
        seconds = float(text)
        if seconds < _EPOCH_SECONDS:
            return seconds
        moment: float | None = seconds / 1000.0 if seconds >= _EPOCH_MILLISECONDS else seconds
    else:
        seconds_of_duration = duration(text)
        if seconds_of_duration is not None:
            return seconds_of_duration
        moment = _moment(text)
    return None if moment is None else max(0.0, moment - received)


def _moment(text: str) -> float | None:
    """Seconds since the epoch of an RFC 3339 time or an HTTP date."""
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            date = parse(text)
            if date.tzinfo is None:
                date = date.replace(tzinfo=UTC)
            return date.timestamp()
        except (ValueError, TypeError, IndexError, OverflowError, AttributeError):
            continue
    return None


def retry_after(headers: Mapping[str, str], received: float) -> float | None:
    """
    Seconds the server asked us to wait: `retry-after-ms`, else `retry-after`.

    A zero in milliseconds yields to a longer `retry-after`: Azure sends `0` beside `1`.

    Args:
        headers: names in lower case.
        received: seconds since the epoch when the response arrived; HTTP dates are relative to it.
    """
    milliseconds = headers.get("retry-after-ms", "").strip()
    hint: float | None = None
    if len(milliseconds) <= _LONGEST and _NUMBER.fullmatch(milliseconds) is not None:
        hint = float(milliseconds) / 1000.0
        if hint > 0.0:
            return hint
    text = headers.get("retry-after")
    if text is None:
        return hint
    seconds = wait(text, received)
    return hint if seconds is None else seconds


# The first name that is present wins; `{}` stands for limit, remaining or reset.
_REQUESTS = (
    "x-ratelimit-{}-requests",
    "x-ratelimit-{}-req-minute",
    "x-ratelimit-{}-requests-minute",
    "anthropic-ratelimit-requests-{}",
    "x-ratelimit-{}",
    "ratelimit-{}",
    "x-ratelimit-{}-requests-day",
)
_TOKENS = (
    "x-ratelimit-{}-tokens",
    "x-ratelimit-{}-tokens-minute",
    "anthropic-ratelimit-tokens-{}",
    "x-tokenlimit-{}",
    "x-ratelimitbysize-{}-minute",
    "ratelimitbysize-{}",
)
_NAMES = tuple(
    tuple(name.format(word) for name in names)
    for names in (_REQUESTS, _TOKENS)
    for word in ("limit", "remaining", "reset")
)


def rate_limits(headers: Mapping[str, str], received: float) -> RateLimits | None:
    """
    What the headers say about the limits, None when they say nothing.

    Args:
        headers: names in lower case.
        received: seconds since the epoch when the response arrived.
    """
    values: list[str | None] = [
        next((headers[name] for name in names if name in headers), None) for names in _NAMES
    ]
    if values == [None] * 6:
        return _structured(headers)
    limits = RateLimits(
        _count(values[0]),
        _count(values[1]),
        None if values[2] is None else wait(values[2], received),
        _count(values[3]),
        _count(values[4]),
        None if values[5] is None else wait(values[5], received),
    )
    return None if limits == RateLimits() else limits


def exhausted_for(limits: RateLimits | None) -> float | None:
    """
    Seconds until a dimension with nothing left is fresh; the longer of two.

    A reset is a wait only then: servers send it on every response.
    """
    if limits is None:
        return None
    waits = [
        reset
        for remaining, reset in (
            (limits.remaining_requests, limits.reset_requests),
            (limits.remaining_tokens, limits.reset_tokens),
        )
        if remaining == 0 and reset is not None
    ]
    return max(waits, default=None)


def _structured(headers: Mapping[str, str]) -> RateLimits | None:
    """`ratelimit: "api";r=0;t=55` with `ratelimit-policy: "fixed window";"api";q=500;w=300`."""
    field = headers.get("ratelimit")
    if field is None or len(field) > 4 * _LONGEST:
        return None
    values = dict(_FIELD.findall(field))
    policy = headers.get("ratelimit-policy", "")
    quota = dict(_FIELD.findall(policy)) if len(policy) <= 4 * _LONGEST else {}
    limits = RateLimits(
        limit_requests=_count(quota.get("q")),
        remaining_requests=_count(values.get("r")),
        reset_requests=wait(values.get("t", ""), 0.0),
    )
    return None if limits == RateLimits() else limits


def _count(text: str | None) -> int | None:
    if text is None or len(text) > _LONGEST or _NUMBER.fullmatch(text.strip()) is None:
        return None
    count = int(float(text)) if "." in text else int(text)
    return count if count < _UNLIMITED else None
