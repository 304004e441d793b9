"""The retry budget holds its bound in every window, and under threads."""

from __future__ import annotations

import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.budget import BudgetPolicy, RetryBudget

STEPS = st.lists(
    st.tuples(st.sampled_from(["deposit", "withdraw"]), st.floats(0, 5, allow_nan=False)), max_size=200
)


@given(STEPS)
def test_extras_never_exceed_the_bound_in_any_window(steps: list[tuple[str, float]]) -> None:
    budget, now, log = RetryBudget(), 0.0, []
    for action, pause in steps:
        now += pause
        if action == "deposit":
            budget.deposit(now)
            log.append((now, "call"))
        elif budget.withdraw(now):
            log.append((now, "extra"))
    for first in range(len(log)):
        window = log[first:]
        for last in range(1, len(window) + 1):
            part = window[:last]
            extras = sum(kind == "extra" for _, kind in part)
            calls = sum(kind == "call" for _, kind in part)
            seconds = part[-1][0] - part[0][0]
            assert extras <= 10 + 0.2 * calls + 0.1 * seconds + 1e-6


def test_an_empty_budget_refuses_and_time_refills_it() -> None:
    budget = RetryBudget(BudgetPolicy(capacity=2, per_call=0, per_second=0.5))
    assert [budget.withdraw(0.0) for _ in range(3)] == [True, True, False]
    assert budget.withdraw(1.9) is False
    assert budget.withdraw(2.0) is True


def test_threads_take_no_more_than_there_is() -> None:
    budget = RetryBudget(BudgetPolicy(capacity=100, per_call=0, per_second=0))
    taken: list[bool] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=lambda: taken.extend(budget.withdraw(0.0) for _ in range(50)))
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert sum(taken) == 100
    assert budget.level(0.0) == pytest.approx(0.0)
