"""The decision after a failed attempt, case by case and as properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import (
    AttemptTimeout,
    AuthenticationError,
    CallError,
    ConnectError,
    ModelLoadingError,
    OverloadedError,
    RateLimited,
    RateLimitError,
    ServerError,
)
from penstock_retry import RetryPolicy
from penstock_retry.policy import Stop, Wait

INF = float("inf")


def decide(
    error: BaseException,
    *,
    policy: RetryPolicy | None = None,
    attempts: int = 1,
    total: int = 1,
    alike: int = 1,
    remaining: float = INF,
    dice: float = 0.5,
) -> Wait | Stop:
    return (policy or RetryPolicy()).after(
        error, attempts=attempts, total=total, alike=alike, remaining=remaining, dice=dice
    )


@given(st.integers(1, 5000), st.floats(0, 1, exclude_max=True))
def test_without_a_hint_the_delay_is_full_jitter_under_the_cap(attempts: int, dice: float) -> None:
    policy = RetryPolicy(max_attempts=10_000, max_total_attempts=10_000)
    decision = decide(ServerError("x"), policy=policy, attempts=attempts, dice=dice)
    assert decision == Wait(pytest.approx(dice * min(20.0, 0.5 * 2.0 ** min(attempts - 1, 64))), None)


@given(st.floats(0.001, 60), st.floats(0, 1, exclude_max=True))
def test_a_hint_is_a_floor_with_at_most_a_tenth_and_one_second_on_top(hint: float, dice: float) -> None:
    decision = decide(RateLimitError("x", retry_after=hint), dice=dice)
    assert isinstance(decision, Wait)
    assert hint <= decision.delay <= hint + min(1.0, hint / 10)


def test_a_busy_server_is_given_the_longer_base() -> None:
    assert decide(OverloadedError("x")) == Wait(1.0, None)
    assert decide(ServerError("x")) == Wait(0.25, None)


def test_a_loading_model_is_given_at_least_five_seconds() -> None:
    decision = decide(ModelLoadingError("x", retry_after=1.0), dice=0.0)
    assert decision == Wait(5.0, 1.0)


def test_a_hint_of_zero_says_nothing() -> None:
    assert decide(RateLimitError("x", retry_after=0.0), dice=0.5) == Wait(1.0, 0.0)


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        (decide(ServerError("x"), attempts=3), "exhausted"),
        (decide(ServerError("x"), total=6), "exhausted"),
        (decide(AttemptTimeout("x", phase="attempt"), alike=2), "exhausted"),
        (decide(RateLimitError("x", retry_after=60.1)), "hint_too_long"),
        (decide(RateLimitError("x", retry_after=5.0), remaining=6.0), "deadline"),
        (decide(ServerError("x"), remaining=1.2), "deadline"),
        (decide(AuthenticationError("x")), None),
        (decide(RateLimited("x", stage="limiter", retry_after=1.0)), None),
        (decide(CallError("x")), None),
        (decide(ValueError("x")), None),
    ],
)
def test_it_stops_with_a_reason(decision: Wait | Stop, reason: str | None) -> None:
    assert decision == Stop(reason)  # type: ignore[arg-type]


def test_a_timeout_may_be_repeated_once() -> None:
    assert isinstance(decide(AttemptTimeout("x", phase="attempt"), alike=1), Wait)


def test_the_word_of_the_server_overrides_the_kind() -> None:
    error = ConnectError("x")
    error.retryable = False
    assert decide(error) == Stop(None)
