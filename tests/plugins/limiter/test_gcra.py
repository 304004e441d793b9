"""The request rate against an exact log of what was admitted."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_limiter.gcra import Gcra

STEPS = st.lists(st.tuples(st.sampled_from(["take", "refund", "change"]), st.floats(0, 5)), max_size=60)


def most_in_a_window(times: list[float], rate: float, burst: float) -> float:
    """How far the fullest window exceeds burst + rate * seconds."""
    return max(
        (
            j - i + 1 - burst - rate * (times[j] - times[i])
            for i in range(len(times))
            for j in range(i, len(times))
        ),
        default=0.0,
    )


def test_the_burst_comes_at_once_and_then_one_at_a_time() -> None:
    gcra = Gcra(2.0, 3)
    for _ in range(3):
        assert gcra.wait(10.0) == 0.0
        gcra.take(10.0)
    assert abs(gcra.wait(10.0) - 0.5) < 1e-6
    assert abs(gcra.wait(10.0, ahead=2) - 1.5) < 1e-6
    assert gcra.wait(10.5) == 0.0


@settings(max_examples=300, deadline=None)
@given(steps=STEPS, rate=st.floats(0.1, 50), burst=st.integers(1, 8))
def test_no_window_holds_more_than_burst_and_rate_also_with_refunds(
    steps: list[tuple[str, float]], rate: float, burst: int
) -> None:
    gcra, now = Gcra(rate, burst), 0.0
    sent: list[tuple[float, tuple[float]]] = []
    for step, amount in steps:
        now += amount / rate if step != "refund" else 0.0
        if step == "refund":
            if sent:
                _, take = sent.pop(int(amount * 1000) % len(sent))
                gcra.refund(take)
        elif gcra.wait(now) == 0.0:
            sent.append((now, gcra.take(now)))
        assert most_in_a_window([at for at, _ in sent], rate, burst) <= 1e-3


@settings(max_examples=200, deadline=None)
@given(data=st.data(), burst=st.integers(1, 6))
def test_a_refund_is_as_though_the_request_had_never_come(data: st.DataObject, burst: int) -> None:
    times = sorted(data.draw(st.lists(st.floats(0, 10), min_size=1, max_size=20)))
    gcra, takes = Gcra(1.0, burst), []
    for at in times:
        if gcra.wait(at) == 0.0:
            takes.append((at, gcra.take(at)))  # noqa: PERF401  # each depends on those before
    gone = data.draw(st.integers(0, len(takes) - 1))
    gcra.refund(takes[gone][1])
    naive = Gcra(1.0, burst)
    for index, (at, _) in enumerate(takes):
        if index != gone:
            naive.take(at)
    later = times[-1]
    assert abs(gcra.wait(later, ahead=burst) - naive.wait(later, ahead=burst)) < 1e-9


def test_a_refund_into_a_bucket_that_has_refilled_gives_nothing() -> None:
    gcra = Gcra(1.0, 1)
    early = gcra.take(0.0)
    gcra.take(10.0)
    gcra.refund(early)
    assert gcra.wait(10.0) > 0.9


def test_a_refund_twice_counts_once() -> None:
    gcra = Gcra(1.0, 3)
    takes = [gcra.take(0.0) for _ in range(3)]
    gcra.refund(takes[0])
    gcra.refund(takes[0])
    assert gcra.available(0.0) == 1.0


def test_another_rate_keeps_what_is_owed() -> None:
    gcra = Gcra(1.0, 4)
    for _ in range(4):
        gcra.take(0.0)
    gcra.change(0.0, rate=2.0, burst=4)
    assert abs(gcra.wait(0.0) - 0.5) < 1e-6
    assert abs(gcra.available(1.0) - 2.0) < 1e-6


def test_a_long_busy_period_needs_bounded_memory() -> None:
    gcra, now = Gcra(100.0, 5), 0.0
    for _ in range(5000):
        now += gcra.wait(now)
        gcra.take(now)
    assert len(gcra._busy) <= 512
    assert now > 49.0
