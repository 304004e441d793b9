"""What heads and 429s teach, and that it only ever tightens."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_limiter.learnt import GRACE, LearntLimit
from penstock_limiter.limit import Settlement


def heads(**values: Any) -> Any:
    names = (
        "limit_requests",
        "remaining_requests",
        "reset_requests",
        "limit_tokens",
        "remaining_tokens",
        "reset_tokens",
    )
    return (
        SimpleNamespace(**dict.fromkeys(names))
        if not values
        else SimpleNamespace(**{**dict.fromkeys(names), **values})
    )


def test_nothing_known_is_nothing_limited() -> None:
    limit = LearntLimit("m")
    assert limit.quiet
    assert limit.wait(0.0, 1e9) == 0.0


def test_what_remains_is_spent_until_the_reset() -> None:
    limit = LearntLimit("m")
    limit.hear(0.0, limit.stamp(), 0.0, heads(remaining_requests=2, reset_requests=30.0))
    for _ in range(2):
        assert limit.wait(1.0, 0.0) == 0.0
        limit.take(1.0, 0.0)
    assert limit.wait(1.0, 0.0) == 29.0 + GRACE
    assert limit.wait(30.0 + GRACE, 0.0) == 0.0
    assert limit.quiet


def test_tokens_that_remain_are_spent_too() -> None:
    limit = LearntLimit("m")
    limit.hear(0.0, limit.stamp(), 0.0, heads(remaining_tokens=100, reset_tokens=10.0))
    assert limit.counts_tokens
    limit.take(0.0, 80.0)
    assert limit.wait(0.0, 20.0) == 0.0
    assert limit.wait(0.0, 21.0) == 10.0 + GRACE


def test_requests_admitted_after_the_one_that_was_answered_are_subtracted() -> None:
    limit = LearntLimit("m")
    answered = limit.stamp()
    for _ in range(3):
        limit.stamp()
    limit.hear(0.0, answered, 0.0, heads(remaining_requests=3, reset_requests=5.0))
    assert limit.wait(0.0, 0.0) == 5.0 + GRACE


def test_a_straggler_can_only_lower_what_a_younger_head_said() -> None:
    limit = LearntLimit("m")
    old, young = limit.stamp(), limit.stamp()
    limit.hear(0.0, young, 0.0, heads(remaining_requests=5, reset_requests=9.0))
    limit.hear(0.0, old, 0.0, heads(remaining_requests=90, reset_requests=9.0))
    assert limit.requests.left == 5
    limit.hear(0.0, old, 0.0, heads(remaining_requests=2, reset_requests=1.0))
    assert limit.requests.left == 1  # two, and one came after it
    assert limit.requests.until == 9.0 + GRACE


def test_a_fixed_window_is_waited_for_to_its_end() -> None:
    limit = LearntLimit("m")
    for used, reset in ((10, 50.0), (50, 30.0), (100, 10.0)):
        limit.hear(
            60.0 - reset,
            limit.stamp(),
            0.0,
            heads(limit_requests=100, remaining_requests=100 - used, reset_requests=reset),
        )
    assert abs(limit.wait(50.0, 0.0) - 10.0 - GRACE) < 1e-9


def test_a_crowd_that_waited_for_the_reset_does_not_overrun_the_fresh_window() -> None:
    limit = LearntLimit("m")
    old = limit.take(0.0, 0.0)
    known = heads(limit_requests=3, remaining_requests=0, reset_requests=10.0)
    limit.hear(0.0, limit.stamp(), 0.0, known)
    for _ in range(3):
        assert limit.wait(11.0, 0.0) == 0.0
        limit.take(11.0, 0.0)
    assert limit.wait(11.0, 0.0) > 0.0
    limit.hear(11.0, old, 0.0, known)  # what an old request was told is about the old window
    assert limit.requests.left == 0.0
    assert limit.wait(25.0, 0.0) == 0.0
    assert limit.quiet


def test_a_bucket_that_shows_itself_refills_the_allowance() -> None:
    """OpenAI says how long until the bucket is full: a minute, while the next request fits in 0.12 s."""
    limit = LearntLimit("m")
    for used in (100, 150, 250, 350, 500):
        limit.hear(
            0.0,
            limit.stamp(),
            0.0,
            heads(limit_requests=500, remaining_requests=500 - used, reset_requests=used * 0.12),
        )
    assert 0.12 < limit.wait(0.0, 0.0) < 0.13
    assert limit.wait(0.13, 0.0) == 0.0


def test_a_429_pauses_until_the_hint_and_a_little_jitter() -> None:
    limit = LearntLimit("m")
    assert limit.pause(10.0, limit.stamp(), 20.0, 0.5) == 20.5
    assert limit.wait(10.0, 0.0) == 20.5
    assert limit.wait(30.5, 0.0) == 0.0


def test_a_shorter_hint_does_not_shorten_a_pause() -> None:
    limit = LearntLimit("m")
    limit.pause(0.0, limit.stamp(), 20.0, 0.0)
    limit.pause(1.0, limit.stamp(), 2.0, 0.0)
    assert limit.wait(1.0, 0.0) == 19.0


def test_without_a_hint_the_pause_doubles_with_each_429_but_once_for_a_crowd() -> None:
    limit = LearntLimit("m")
    crowd = [limit.stamp() for _ in range(5)]
    for stamp in crowd:
        assert limit.pause(0.0, stamp, None, 0.0) == 1.0
    assert limit.pause(1.0, limit.stamp(), None, 0.0) == 2.0
    assert limit.pause(3.0, limit.stamp(), None, 0.0) == 4.0
    limit.settle(limit.take(7.0, 0.0), 7.0, 0.0, 0.0, Settlement("success"))
    assert limit.pause(8.0, limit.stamp(), None, 0.0) == 1.0


def test_what_was_never_sent_did_not_use_what_remains() -> None:
    limit = LearntLimit("m")
    before = limit.take(0.0, 0.0)
    limit.hear(0.0, limit.stamp(), 0.0, heads(remaining_requests=1, reset_requests=9.0))
    limit.settle(before, 0.0, 0.0, 0.0, Settlement("ignored", 0.0, request=False))
    assert limit.requests.left == 1  # the server had not counted that one anyway
    after = limit.take(0.0, 0.0)
    limit.settle(after, 0.0, 0.0, 0.0, Settlement("ignored", 0.0, request=False))
    assert limit.requests.left == 1


@settings(max_examples=200, deadline=None)
@given(
    told=st.lists(
        st.tuples(
            st.floats(0, 30),
            st.one_of(st.none(), st.integers(0, 2000)),
            st.one_of(st.none(), st.floats(0, 200)),
            st.one_of(st.none(), st.integers(0, 1000)),
        ),
        max_size=20,
    )
)
def test_no_head_ever_makes_the_wait_shorter_than_nothing(told: list[Any]) -> None:
    limit, now = LearntLimit("m"), itertools.count()
    for gap, remaining, reset, most in told:
        at = next(now) + gap
        limit.hear(
            at,
            limit.stamp(),
            0.0,
            heads(remaining_requests=remaining, reset_requests=reset, limit_requests=most),
        )
        assert limit.wait(at, 10.0) >= 0.0
        assert limit.predict(at, 10.0) >= 0.0
