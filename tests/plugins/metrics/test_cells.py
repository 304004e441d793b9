"""Distributions against plain lists of values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_metrics.cells import Distribution, merged
from penstock_metrics.instruments import DURATIONS, FINE_DURATIONS, INSTRUMENTS, TOKENS

VALUES = st.lists(st.floats(1e-4, 1000.0), min_size=1, max_size=200)


def of(values: list[float]) -> Distribution:
    distribution = Distribution(FINE_DURATIONS)
    for value in values:
        distribution.record(value)
    return distribution


def test_the_buckets_are_those_of_the_specification() -> None:
    doubled = ".01 .02 .04 .08 .16 .32 .64 1.28 2.56 5.12 10.24 20.48 40.96 81.92"
    assert list(DURATIONS) == [float(bound) for bound in doubled.split()]
    assert list(TOKENS) == [4**power for power in range(14)]
    assert all(set(each.bounds) <= set(each.fine) for each in INSTRUMENTS)


@given(VALUES)
def test_a_bucket_holds_the_values_up_to_and_with_its_bound(values: list[float]) -> None:
    below = of(values).cumulated(DURATIONS)
    assert below == [sum(value <= bound for value in values) for bound in DURATIONS]


def test_a_value_on_a_bound_is_below_it() -> None:
    assert of([0.04]).cumulated(DURATIONS) == [0, 0, *[1] * 12]


@given(VALUES, st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0]))
def test_a_percentile_is_within_a_tenth_of_the_exact_one(values: list[float], share: float) -> None:
    exact = sorted(values)[math.ceil(share * len(values)) - 1]
    assert of(values).percentile(share) == pytest.approx(exact, rel=0.1, abs=1e-4)


def test_there_is_no_percentile_of_nothing() -> None:
    assert of([]).percentile(0.5) is None


def test_a_percentile_never_leaves_the_values_there_were() -> None:
    assert of([3.0]).percentile(0.01) == of([3.0]).percentile(0.99) == 3.0
    assert of([5000.0, 9000.0]).percentile(0.99) <= 9000.0  # type: ignore[operator]


def test_time_that_ran_backwards_counts_as_none() -> None:
    distribution = of([-1.0])
    assert (distribution.count, distribution.total) == (1, 0.0)


@given(VALUES, VALUES)
def test_merging_is_as_recording_into_one(one: list[float], other: list[float]) -> None:
    whole, both = merged([of(one), of(other)], FINE_DURATIONS), of(one + other)
    assert (whole.counts, whole.lowest, whole.highest) == (both.counts, both.lowest, both.highest)
    assert whole.total == pytest.approx(both.total)


def test_a_copy_does_not_change_any_more() -> None:
    original = of([1.0])
    copy = original.copy()
    original.record(2.0)
    assert (copy.count, copy.total, original.count) == (1, 1.0, 2)
