"""Plans as data: unrolling, lengths and what a client would receive."""

from __future__ import annotations

from itertools import islice

import pytest

from penstock_testkit.plan import (
    END,
    Close,
    Data,
    Head,
    Pause,
    Repeat,
    body_of,
    content_length,
    head_of,
    steps,
)


def test_a_repetition_is_unrolled_as_often_as_it_says() -> None:
    plan = (Head(200), Repeat((Data(b"a"), Pause(1.0)), 2), END)
    assert list(steps(plan)) == [Head(200), Data(b"a"), Pause(1.0), Data(b"a"), Pause(1.0), END]


def test_an_endless_plan_can_be_played_step_by_step() -> None:
    assert len(list(islice(steps((Repeat((Data(b"a"),)),)), 1000))) == 1000


def test_the_length_counts_what_a_cut_keeps_from_being_sent() -> None:
    plan = (Head(200), Data(b"half"), Close(), Data(b"rest"))
    assert content_length(plan) == 8
    assert body_of(plan) == b"half"


def test_an_endless_plan_has_no_length() -> None:
    with pytest.raises(ValueError, match="chunked"):
        content_length((Head(200), Repeat((Data(b"a"),))))


def test_a_plan_without_a_head_has_none() -> None:
    assert head_of((Close(),)) is None
