"""
The upstream's own rate limiter: two buckets that refill over a minute, read by the rate-limit headers.

Time is passed in. Unless `enforce` is set it only reports: it never refuses, and a bucket does not sink
below zero.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """
    What one key may use.

    Args:
        requests: per minute.
        tokens: per minute, prompt tokens by the simulator's count.
        enforce: answer 429 when a bucket is empty.
    """

    requests: int = 10_000
    tokens: int = 2_000_000
    enforce: bool = False


@dataclass(frozen=True, slots=True)
class RateReading:
    """
    The limiter after one request.

    Args:
        limits: what is allowed.
        requests, tokens: what is left.
        requests_reset, tokens_reset: seconds until the bucket is full again.
        wait: seconds until this request would have fitted, when it was refused; else None.
    """

    limits: RateLimits
    requests: int
    tokens: int
    requests_reset: float
    tokens_reset: float
    wait: float | None = None


class RateMeter:
    """The buckets of one simulator; the caller holds the lock."""

    __slots__ = ("_at", "_requests", "_tokens", "limits")

    def __init__(self, limits: RateLimits) -> None:
        self.limits = limits
        self._requests = float(limits.requests)
        self._tokens = float(limits.tokens)
        self._at: float | None = None

    def take(self, at: float, tokens: int) -> RateReading:
        """Count one request of so many tokens at clock reading `at` (seconds)."""
        limits = self.limits
        if self._at is not None and at > self._at:
            share = (at - self._at) / 60.0
            self._requests = min(limits.requests, self._requests + share * limits.requests)
            self._tokens = min(limits.tokens, self._tokens + share * limits.tokens)
        self._at = at
        wait = None
        if limits.enforce and (self._requests < 1.0 or self._tokens < tokens):
            wait = max(
                (1.0 - self._requests) * 60.0 / limits.requests,
                (tokens - self._tokens) * 60.0 / limits.tokens,
            )
        else:
            self._requests = max(0.0, self._requests - 1.0)
            self._tokens = max(0.0, self._tokens - tokens)
        return RateReading(
            limits,
            int(self._requests),
            int(self._tokens),
            (limits.requests - self._requests) * 60.0 / limits.requests,
            (limits.tokens - self._tokens) * 60.0 / limits.tokens,
            wait,
        )


def go_duration(seconds: float) -> str:
    """A duration as OpenAI's headers write it: `120ms`, `8.64s`, `6m0s`, `1h0m0s`."""
    if seconds < 1.0:
        milliseconds = round(seconds * 1000)
        if milliseconds < 1000:
            return f"{milliseconds}ms" if milliseconds else "0s"
    total = round(seconds, 3)
    hours, rest = divmod(total, 3600)
    minutes, rest = divmod(rest, 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{int(hours)}h{int(minutes)}m{text}"
    return f"{int(minutes)}m{text}" if minutes else text
