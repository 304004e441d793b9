"""Concurrency, fixed and found out, and the percentiles behind it."""

from __future__ import annotations

import random

from penstock_limiter.aimd import Concurrency
from penstock_limiter.forecast import Forecast
from penstock_limiter.percentile import SlidingPercentile


def busy_success(permits: Concurrency, now: float, held: float = 0.1) -> None:
    permits.in_use = permits.limit
    permits.release(now, "success", held)


def test_it_starts_at_eight_and_grows_by_one_per_limit_successes() -> None:
    permits = Concurrency(None, adaptive=True)
    assert permits.limit == 8
    for _ in range(7):
        busy_success(permits, 0.0)
    assert permits.limit == 8
    busy_success(permits, 0.0)
    assert permits.limit == 9


def test_an_idle_limit_proves_nothing() -> None:
    permits = Concurrency(None, adaptive=True)
    for _ in range(100):
        permits.in_use = 3
        permits.release(0.0, "success", 0.1)
    assert permits.limit == 8


def test_a_crowd_of_throttles_counts_once_a_second_or_once_a_median() -> None:
    permits = Concurrency(100, adaptive=True)
    permits.limit = 100
    for _ in range(20):
        permits.release(10.0, "throttled", 0.1)
    assert permits.limit == 70
    permits.release(11.0, "throttled", 0.1)
    assert permits.limit == 49
    for _ in range(64):
        permits.release(11.0, "success", 5.0)
    permits.release(13.0, "throttled", 0.1)
    assert permits.limit == 49
    permits.release(16.0, "throttled", 0.1)
    assert permits.limit == 34


def test_it_stays_between_one_and_its_ceiling() -> None:
    permits = Concurrency(10, adaptive=True)
    for _ in range(1000):
        busy_success(permits, 0.0)
    assert permits.limit == 10
    for second in range(20):
        permits.release(second * 10.0, "throttled", 0.1)
    assert permits.limit == 1


def test_other_failures_and_cancellations_say_nothing_about_the_limit() -> None:
    permits = Concurrency(None, adaptive=True)
    for kind in ("failure", "ignored", "cancelled"):
        permits.in_use = 8
        permits.release(0.0, kind, 0.1)
    assert permits.limit == 8


def test_a_fixed_number_does_not_move() -> None:
    permits = Concurrency(3)
    for _ in range(50):
        busy_success(permits, 0.0)
        permits.release(99.0, "throttled", 1.0)
    assert permits.limit == 3


def test_the_sliding_percentile_is_that_of_the_last_values() -> None:
    dice = random.Random(3)
    values = [dice.random() for _ in range(500)]
    sliding = SlidingPercentile(100)
    for value in values:
        sliding.add(value)
    assert len(sliding) == 100
    assert sliding.at(0.95) == sorted(values[-100:])[95]
    assert sliding.at(1.0) == max(values[-100:])


def test_a_forecast_is_the_95th_percentile_clamped_to_max_tokens() -> None:
    forecast = Forecast(500)
    assert forecast.output(None) == 500
    assert forecast.output(64) == 64.0
    for output in range(1, 101):
        forecast.observe(100, float(output))
    assert forecast.output(100) == 96.0
    assert forecast.output(70) == 70.0  # the same size class
    assert forecast.output(4000) == 4000.0  # another one, without experience
