"""The circuit's rules, one by one, and the known failures of other breakers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from penstock_breaker import BreakerPolicy, Circuit, Permit, Refusal, Transition
from penstock_breaker.reports import Extension, LostProbes
from penstock_breaker.window import Window


def middle() -> float:
    """Dice that make the jitter exactly nothing."""
    return 0.5


class Watched:
    """A circuit, and all it has told."""

    def __init__(self, dice: Callable[[], float] = middle, **numbers: Any) -> None:
        self.notes: list[Any] = []
        self.circuit = Circuit(BreakerPolicy(**numbers), dice, self.notes.append)

    def acquire(self, now: float, lease: float = float("inf")) -> Permit:
        permit = self.circuit.acquire(now, lease)
        assert isinstance(permit, Permit)
        return permit

    def refusal(self, now: float) -> Refusal:
        refusal = self.circuit.acquire(now)
        assert isinstance(refusal, Refusal)
        return refusal

    def run(self, outcome: Any, now: float, **more: Any) -> None:
        self.circuit.settle(self.acquire(now), outcome, now, **more)

    def trip(self, now: float, *, hint: float | None = None) -> None:
        while self.circuit.state == "closed":
            self.run("failure", now, hint=hint)

    @property
    def reasons(self) -> list[str]:
        return [note.reason for note in self.notes if isinstance(note, Transition)]


# Opening


def test_five_failures_in_a_row_open_it() -> None:
    watched = Watched()
    for _ in range(4):
        watched.run("failure", 0.0)
    assert watched.circuit.state == "closed"
    watched.run("failure", 1.0)
    assert watched.notes == [Transition(1.0, "closed", "open", "consecutive_failures", 1, 15.0)]


def test_a_success_ends_the_row() -> None:
    watched = Watched(failure_rate=0.0)
    for _ in range(20):
        for _ in range(4):
            watched.run("failure", 0.0)
        watched.run("success", 0.0)
    assert watched.circuit.state == "closed"


def test_ignored_and_cancelled_attempts_neither_end_the_row_nor_lengthen_it() -> None:
    watched = Watched(failure_rate=0.0)
    for _ in range(4):
        watched.run("failure", 0.0)
        watched.run("ignored", 0.0)
        watched.run("cancelled", 0.0)
    assert watched.circuit.state == "closed"
    watched.run("failure", 0.0)
    assert watched.circuit.state == "open"


def test_half_of_ten_calls_open_it() -> None:
    watched = Watched()
    for _ in range(4):
        watched.run("success", 0.0)
        watched.run("failure", 0.0)
    watched.run("success", 0.0)
    assert watched.circuit.state == "closed"
    watched.run("failure", 0.0)
    assert watched.reasons == ["failure_rate"]


def test_failures_older_than_the_window_do_not_count() -> None:
    watched = Watched(consecutive_failures=0)
    for _ in range(9):
        watched.run("failure", 0.0)
    watched.run("failure", 60.0)
    assert watched.circuit.state == "closed"
    assert watched.circuit.stats(60.0).window_calls == 1


def test_slow_calls_open_it_when_the_rule_is_on() -> None:
    watched = Watched(slow_rate=0.5)
    for _ in range(5):
        watched.run("success", 0.0, waited=30.0)
        watched.run("success", 0.0, waited=30.1)
    assert watched.reasons == ["slow_rate"]


def test_slow_calls_are_nothing_when_the_rule_is_off() -> None:
    watched = Watched()
    for _ in range(50):
        watched.run("success", 0.0, waited=1000.0)
    assert watched.circuit.state == "closed"
    assert watched.circuit.stats(0.0).slow == 0


def test_rules_of_zero_are_off() -> None:
    watched = Watched(consecutive_failures=0, failure_rate=0.0)
    for _ in range(100):
        watched.run("failure", 0.0)
    assert watched.circuit.state == "closed"


# How long


def test_rests_double_up_to_the_limit() -> None:
    watched = Watched()
    now, rests = 0.0, []
    watched.trip(now)
    for _ in range(6):
        rests.append(watched.refusal(now).retry_after)
        now += rests[-1]
        watched.run("failure", now)
    assert rests == [15.0, 30.0, 60.0, 120.0, 120.0, 120.0]


def test_closing_begins_again_with_the_first_rest() -> None:
    watched = Watched()
    watched.trip(0.0)
    watched.run("failure", 15.0)
    watched.run("success", 45.0)
    watched.run("success", 45.0)
    watched.trip(50.0)
    assert watched.refusal(50.0).retry_after == 15.0


@pytest.mark.parametrize(("dice", "rest"), [(0.0, 13.5), (1.0, 16.5)])
def test_a_rest_varies_by_a_tenth(dice: float, rest: float) -> None:
    watched = Watched(dice=lambda: dice)
    watched.trip(0.0)
    assert watched.refusal(0.0).retry_after == pytest.approx(rest)


@pytest.mark.parametrize(("hint", "rest"), [(3.0, 15.0), (100.0, 100.0), (300.0, 300.0), (3600.0, 300.0)])
def test_a_longer_hint_of_the_server_extends_the_rest(hint: float, rest: float) -> None:
    watched = Watched()
    watched.trip(0.0, hint=hint)
    assert watched.refusal(0.0).retry_after == rest


def test_a_hint_extends_the_rest_also_while_it_is_open_and_changes_nothing_else() -> None:
    watched = Watched()
    late = watched.acquire(0.0)
    watched.trip(0.0)
    watched.circuit.settle(late, "failure", 5.0, hint=60.0)
    assert watched.notes[1:] == [Extension(5.0, 60.0)]
    assert watched.refusal(5.0).retry_after == 60.0
    assert watched.circuit.stats(5.0).generation == 1


def test_a_shorter_hint_never_shortens_the_rest() -> None:
    watched = Watched()
    late = watched.acquire(0.0)
    watched.trip(0.0)
    watched.circuit.settle(late, "failure", 5.0, hint=1.0)
    assert watched.refusal(5.0).retry_after == 10.0


def test_many_opens_in_a_row_overflow_nothing() -> None:
    assert BreakerPolicy().rest(10_000, 0.5, None) == 120.0


# Half open


def test_the_rest_ends_with_one_probe_and_two_successes_close_it() -> None:
    watched = Watched()
    watched.trip(0.0)
    assert watched.refusal(14.9).reason == "open"
    watched.run("success", 15.0)
    assert watched.circuit.state == "half_open"
    watched.run("success", 16.0)
    assert watched.reasons == ["consecutive_failures", "rest_over", "probes_succeeded"]


def test_n_waiting_callers_never_probe_at_once() -> None:
    watched = Watched()
    watched.trip(0.0)
    answers = [watched.circuit.acquire(15.0) for _ in range(100)]
    assert sum(isinstance(answer, Permit) for answer in answers) == 1
    assert {answer.reason for answer in answers[1:] if isinstance(answer, Refusal)} == {"probing"}


def test_looking_takes_no_probe_and_changes_nothing() -> None:
    watched = Watched()
    watched.trip(0.0)
    assert [watched.circuit.refusal(15.0) for _ in range(10)] == [None] * 10
    assert watched.circuit.state == "open"
    watched.acquire(15.0)


def test_a_failed_probe_opens_it_again() -> None:
    watched = Watched()
    watched.trip(0.0)
    watched.run("success", 15.0)
    watched.run("failure", 15.0)
    assert watched.reasons[-1] == "probe_failed"
    assert watched.refusal(15.0).retry_after == 30.0


def test_successes_of_an_earlier_half_open_spell_do_not_count() -> None:
    watched = Watched()
    watched.trip(0.0)
    watched.run("success", 15.0)
    watched.run("failure", 15.0)
    watched.run("success", 45.0)
    assert watched.circuit.state == "half_open"


def test_a_slow_probe_does_not_close_what_was_opened_for_slowness() -> None:
    watched = Watched(slow_rate=0.5)
    for _ in range(10):
        watched.run("success", 0.0, waited=31.0)
    watched.run("success", 15.0, waited=31.0)
    assert watched.reasons == ["slow_rate", "rest_over", "probe_slow"]


@pytest.mark.parametrize("outcome", ["ignored", "cancelled"])
def test_an_ignored_or_cancelled_probe_frees_its_place_and_closes_nothing(outcome: Any) -> None:
    watched = Watched()
    watched.trip(0.0)
    for _ in range(10):
        watched.run(outcome, 15.0)
    assert watched.circuit.state == "half_open"
    assert watched.circuit.stats(15.0).probes == 0


def test_a_lost_probe_cannot_keep_it_half_open_for_ever() -> None:
    watched = Watched()
    watched.trip(0.0)
    lost = watched.acquire(15.0, lease=20.0)
    assert watched.refusal(34.9).reason == "probing"
    watched.run("success", 35.0)
    assert watched.notes[-1] == LostProbes(35.0, 1)
    watched.circuit.settle(lost, "success", 36.0)
    assert watched.circuit.state == "half_open"
    assert watched.circuit.stats(36.0).stale == 1


def test_a_probe_that_comes_back_after_its_lease_counts_as_lost() -> None:
    watched = Watched()
    watched.trip(0.0)
    lost = watched.acquire(15.0, lease=20.0)
    watched.circuit.settle(lost, "failure", 35.0)
    assert watched.circuit.state == "half_open"
    assert watched.notes[-1] == LostProbes(35.0, 1)


def test_a_lease_is_never_longer_than_the_policy_says() -> None:
    watched = Watched(probe_lease=60.0)
    watched.trip(0.0)
    assert watched.acquire(15.0).due == 75.0
    watched.acquire(75.0)


def test_when_one_of_several_probes_fails_the_others_are_stale() -> None:
    watched = Watched(probes=3)
    watched.trip(0.0)
    probes = [watched.acquire(15.0) for _ in range(3)]
    assert watched.refusal(15.0).reason == "probing"
    watched.circuit.settle(probes[0], "failure", 16.0)
    for probe in probes[1:]:
        watched.circuit.settle(probe, "success", 17.0)
    assert watched.circuit.state == "open"
    assert watched.circuit.stats(17.0).stale == 2


# Generations


def test_a_stale_success_does_not_close_a_half_open_circuit() -> None:
    watched = Watched()
    early = [watched.acquire(0.0) for _ in range(5)]
    watched.trip(0.0)
    probe = watched.acquire(15.0)
    for permit in early:
        watched.circuit.settle(permit, "success", 15.0)
    assert watched.circuit.state == "half_open"
    watched.circuit.settle(probe, "success", 15.0)
    assert watched.circuit.state == "half_open"


def test_stale_failures_do_not_reopen_a_half_open_circuit_nor_trip_a_closed_one() -> None:
    watched = Watched()
    early = [watched.acquire(0.0) for _ in range(100)]
    watched.trip(0.0)
    watched.run("success", 15.0)
    for permit in early[:50]:
        watched.circuit.settle(permit, "failure", 15.0)
    assert watched.circuit.state == "half_open"
    watched.run("success", 15.0)
    for permit in early[50:]:
        watched.circuit.settle(permit, "failure", 16.0)
    assert watched.circuit.state == "closed"
    stats = watched.circuit.stats(16.0)
    assert (stats.stale, stats.window_failures, stats.consecutive_failures) == (100, 0, 0)
    assert stats.failures == 105


def test_a_permit_is_settled_once() -> None:
    watched = Watched()
    permit = watched.acquire(0.0)
    for _ in range(10):
        watched.circuit.settle(permit, "failure", 0.0)
    assert watched.circuit.stats(0.0).failures == 1
    assert watched.circuit.state == "closed"


# By hand


def test_a_forced_circuit_stays_open_until_it_is_reset() -> None:
    watched = Watched()
    early = watched.acquire(0.0)
    watched.circuit.force_open(0.0)
    watched.circuit.settle(early, "success", 1.0)
    assert watched.refusal(1e6).reason == "forced_open"
    watched.circuit.reset(1e6)
    watched.run("success", 1e6)
    assert watched.reasons == ["forced", "reset"]


def test_a_disabled_circuit_lets_everything_through_and_counts() -> None:
    watched = Watched()
    watched.trip(0.0)
    watched.circuit.disable(1.0)
    for _ in range(50):
        watched.run("failure", 1.0)
    assert watched.circuit.state == "disabled"
    assert watched.circuit.stats(1.0).failures == 55
    watched.circuit.reset(2.0)
    assert watched.circuit.state == "closed"


def test_a_reset_makes_what_is_under_way_stale_also_when_it_is_closed() -> None:
    watched = Watched()
    for _ in range(4):
        watched.run("failure", 0.0)
    early = watched.acquire(0.0)
    watched.circuit.reset(0.0)
    watched.circuit.settle(early, "failure", 0.0)
    assert watched.notes == []
    stats = watched.circuit.stats(0.0)
    assert (stats.consecutive_failures, stats.window_calls, stats.stale) == (0, 0, 1)


def test_neither_the_dice_nor_the_listener_is_called_under_the_lock() -> None:
    taken = []

    def enter(*_: object) -> float:
        # Would wait for ever if the lock were held.
        taken.append(circuit.stats(0.0))
        return 0.5

    circuit = Circuit(BreakerPolicy(consecutive_failures=1), enter, enter)
    permit = circuit.acquire(0.0)
    assert isinstance(permit, Permit)
    circuit.settle(permit, "failure", 0.0)
    circuit.reset(0.0)
    assert len(taken) == 3


@pytest.mark.parametrize(
    "numbers",
    [
        {"probes": 0},
        {"window": 0.0},
        {"failure_rate": 1.5},
        {"max_hint": -1.0},
        {"probe_lease": float("inf")},
    ],
)
def test_numbers_that_cannot_work_are_refused_by_name(numbers: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(numbers))):
        BreakerPolicy(**numbers)


# The window


def test_the_window_moves_on_by_buckets() -> None:
    window = Window(60.0, 10)
    for second in range(60):
        window.add(float(second), failed=second % 2 == 0, slow=False)
    assert (window.calls, window.failures) == (60, 30)
    window.advance(60.0)
    assert window.calls == 54
    window.advance(113.9)
    assert window.calls == 6
    window.advance(114.0)
    assert (window.calls, window.failures, window.slow) == (0, 0, 0)


def test_the_window_is_empty_after_any_long_pause() -> None:
    window = Window(60.0, 10)
    window.add(3.0, failed=True, slow=True)
    window.advance(1e9)
    assert (window.calls, window.failures, window.slow) == (0, 0, 0)


def test_a_sample_from_a_moment_ago_counts_as_now() -> None:
    window = Window(60.0, 10)
    window.add(12.0, failed=True, slow=False)
    window.add(5.0, failed=True, slow=False)
    window.advance(71.9)
    assert window.calls == 2
