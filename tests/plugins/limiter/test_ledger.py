"""The token ledger against an exact log of what was spent when."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_limiter.ledger import LedgerSlot, TokenLedger

LIMIT = 100.0


def most_in_a_window(log: list[list[float]], window: float = 60.0) -> float:
    """The most that any window of the log holds; it suffices to look at those that begin with an entry."""
    return max(
        (sum(cost for at, cost in log if start <= at < start + window) for start, _ in log), default=0.0
    )


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.floats(0, 40),
            st.integers(1, 100),
            st.one_of(st.none(), st.floats(0, 1)),
            st.integers(0, 3),
        ),
        max_size=50,
    )
)
def test_what_was_settled_is_within_the_limit_in_every_window(
    steps: list[tuple[float, int, float | None, int]],
) -> None:
    ledger, now = TokenLedger(LIMIT), 0.0
    log: list[list[float]] = []
    open_: list[tuple[LedgerSlot, int, list[float], float]] = []
    for gap, cost, share, delay in steps:
        now += gap
        if ledger.wait(now, cost) == 0.0:
            entry = [now, float(cost)]
            log.append(entry)
            if share is not None:
                open_.append((ledger.take(now, cost), cost, entry, share))
            else:
                ledger.take(now, cost)
        while len(open_) > delay:
            slot, reserved, entry, share = open_.pop(0)
            ledger.settle(slot, reserved * share - reserved)
            entry[1] = reserved * share
        assert most_in_a_window(log) <= LIMIT + 1e-6
        assert ledger.used >= -1e-6


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(st.tuples(st.floats(0, 90), st.integers(1, 100)), min_size=1, max_size=40))
def test_the_wait_it_predicts_is_enough_and_never_a_slot_too_long(steps: list[tuple[float, int]]) -> None:
    ledger, now = TokenLedger(LIMIT), 0.0
    for gap, cost in steps:
        now += gap
        wait = ledger.wait(now, cost)
        if wait > 0.0:
            assert ledger.wait(now + wait - 1.01, cost) > 0.0 or wait < 1.01
            now += wait
            assert ledger.wait(now, cost) == 0.0
        ledger.take(now, cost)


def test_refunds_never_let_a_window_hold_more_than_the_limit() -> None:
    """A plain bucket would let the 90 refunded at 59 s be spent beside the 100 of the fresh minute."""
    ledger = TokenLedger(LIMIT)
    slot = ledger.take(0.0, 100.0)
    spent = [[0.0, 100.0]]
    ledger.settle(slot, -90.0)
    spent[0][1] = 10.0
    for now in (59.0, 60.0, 60.5, 61.0, 61.5):
        room = ledger.available(now)
        if room > 0.0:
            ledger.take(now, room)
            spent.append([now, room])
    assert most_in_a_window(spent) <= LIMIT
    assert sum(cost for _, cost in spent) == 110.0


def test_a_settlement_goes_to_the_slot_of_its_reservation() -> None:
    ledger = TokenLedger(LIMIT)
    slot = ledger.take(0.5, 100.0)
    ledger.settle(slot, -20.0)
    assert ledger.available(30.0) == 20.0
    assert ledger.available(60.9) == 20.0
    assert ledger.available(61.0) == 100.0


def test_a_settlement_after_its_slot_has_aged_out_changes_nothing() -> None:
    ledger = TokenLedger(LIMIT)
    slot = ledger.take(0.0, 100.0)
    assert ledger.available(100.0) == 100.0
    ledger.settle(slot, -100.0)
    assert ledger.available(100.0) == 100.0


def test_what_was_underestimated_is_booked_and_delays_what_comes_later() -> None:
    ledger = TokenLedger(LIMIT)
    slot = ledger.take(0.0, 10.0)
    ledger.settle(slot, 140.0)
    assert ledger.available(30.0) == 0.0
    assert 30.9 < ledger.wait(30.0, 1.0) < 31.1


def test_more_than_the_limit_never_fits() -> None:
    assert TokenLedger(LIMIT).wait(0.0, 101.0) == math.inf


def test_who_is_far_behind_waits_whole_windows() -> None:
    ledger = TokenLedger(LIMIT)
    ledger.take(0.0, 100.0)
    assert 61.0 < ledger.wait(0.0, 50.0, ahead=300.0) < 61.0 * 5


def test_another_limit_keeps_what_was_used() -> None:
    ledger = TokenLedger(LIMIT)
    ledger.take(0.0, 80.0)
    ledger.change(1.0, 200.0, 60.0)
    assert ledger.available(1.0) == 120.0
    ledger.change(1.0, 50.0, 1.0)
    assert ledger.available(1.0) == 0.0
    assert ledger.available(2.1) == 50.0


def test_a_clock_reading_that_is_a_little_late_is_booked_in_the_slot_that_is_open() -> None:
    ledger = TokenLedger(LIMIT)
    ledger.take(5.01, 10.0)
    ledger.take(4.99, 10.0)
    assert ledger.available(65.5) == 80.0
