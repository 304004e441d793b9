"""
The decision after a failed attempt, as a function of values: no clock, no dice, no waiting.

Rules
1. What may be retried is a property of the error (`retryable`, `retry_limit`), not of a status code.
2. A server's hint is a floor: the delay is the hint plus a little jitter, never less.
3. Without a hint, full jitter over an exponential: `uniform(0, 1) * min(max_delay, base * 2^(n-1))` after
   the n-th attempt (AWS Architecture Blog, "Exponential Backoff And Jitter").
4. No wait is started that cannot end in an attempt: not after the last one, not past the deadline, not for a
   hint longer than `max_hint`.
5. The shared budget is asked last, so that a retry which will not happen takes nothing from it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from penstock.frozen import dataclass

Reason: TypeAlias = Literal["exhausted", "hint_too_long", "deadline"]


@dataclass(frozen=True, slots=True)
class Wait:
    """
    Try again.

    Args:
        delay: seconds to wait before.
        hint: seconds the server asked for, or None.
    """

    delay: float
    hint: float | None


@dataclass(frozen=True, slots=True)
class Stop:
    """Do not try again; None is the reason when the error is not one to retry at all."""

    reason: Reason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """
    How often, and how long to wait; the fields are those of `RetryConfig`, in seconds and attempts.
    """

    max_attempts: int = 3
    max_total_attempts: int = 6
    base: float = 0.5
    throttle_base: float = 2.0
    max_delay: float = 20.0
    max_hint: float = 60.0
    margin: float = 1.0

    def after(
        self,
        error: BaseException,
        *,
        attempts: int,
        total: int,
        alike: int,
        remaining: float,
        dice: float,
    ) -> Wait | Stop:
        """
        What to do after a failed attempt.

        Args:
            error: what it failed with; its class attributes say whether it may be retried.
            attempts: attempts made on this target.
            total: attempts made by the whole call.
            alike: how many of the target's failures had a `retry_limit`, this one included.
            remaining: seconds until the deadline, `inf` without one.
            dice: uniform in [0, 1).
        """
        if not getattr(error, "retryable", False):
            return Stop(None)
        limit: int | None = getattr(error, "retry_limit", None)
        if attempts >= self.max_attempts or total >= self.max_total_attempts:
            return Stop("exhausted")
        if limit is not None and alike > limit:
            return Stop("exhausted")
        hint: float | None = getattr(error, "retry_after", None)
        floor = max(hint or 0.0, getattr(error, "min_delay", 0.0))
        if floor > self.max_hint:
            return Stop("hint_too_long")
        if floor > 0:
            delay = floor + dice * min(1.0, floor / 10)
        else:
            # A hint of zero ("retry-after-ms: 0" beside "retry-after: 1" is real) says nothing: back off.
            base = self.throttle_base if getattr(error, "throttled", False) else self.base
            # The exponent is capped so that no number of attempts can overflow a float.
            delay = dice * min(self.max_delay, base * 2.0 ** min(attempts - 1, 64))
        if delay + self.margin > remaining:
            return Stop("deadline")
        return Wait(delay, hint)
