"""Budgets: against an exact log, under threads, and as a decorator."""

from __future__ import annotations

import asyncio
import math
import random
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penstock.errors import BudgetExhausted
from penstock_cost import Account, Budgets, Hold, Refusal, budgeted
from penstock_cost.budget import SLOTS

CENT = Decimal("0.01")


def taken(found: Hold | Refusal) -> Hold:
    assert isinstance(found, Hold)
    return found


class BudgetMachine(RuleBasedStateMachine):
    """An account beside a log of every amount and when it was reserved."""

    @initialize(limit=st.integers(1, 50), window=st.sampled_from([60.0, 600.0, None]))
    def begin(self, limit: int, window: float | None) -> None:
        self.now = 0.0
        self.limit = limit * CENT
        self.window = window
        self.account = Account("a", self.limit, window)
        self.budgets = Budgets()
        self.open: list[tuple[Hold, float, Decimal]] = []
        self.log: list[tuple[float, Decimal]] = []
        self.overdrawn = Decimal(0)

    def in_window(self, end: float) -> Decimal:
        start = -math.inf if self.window is None else end - self.window
        settled = sum((amount for at, amount in self.log if start < at <= end), start=Decimal(0))
        held = sum((amount for _, at, amount in self.open if start < at <= end), start=Decimal(0))
        return settled + held

    @rule(seconds=st.floats(0, 200))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(cents=st.integers(0, 20))
    def reserve(self, cents: int) -> None:
        amount = cents * CENT
        before = self.account.used
        found = self.budgets.reserve(self.now, [self.account], amount)
        if isinstance(found, Hold):
            self.open.append((found, self.now, amount))
        else:
            assert self.account.used <= before  # time may have passed, nothing was taken
            slack = 0.0 if self.window is None else self.window / SLOTS
            if self.window is None:
                assert found.wait == math.inf
            elif found.wait < math.inf:
                # The wait is right: then it fits, unless what comes meanwhile takes it.
                later = self.now + found.wait + 1e-6
                assert self.budgets.peek(later, [self.account], amount) is None
                self.now = later
                assert found.wait <= self.window + slack

    @precondition(lambda self: self.open)
    @rule(data=st.data(), share=st.sampled_from([0, 0.25, 1]))
    def settle(self, data: st.DataObject, share: float) -> None:
        hold, at, amount = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        actual = amount * Decimal(str(share))
        hold.settle(actual)
        hold.settle(amount * 9)  # a second word changes nothing
        self.log.append((at, actual))

    @invariant()
    def no_window_holds_more_than_the_limit(self) -> None:
        if not hasattr(self, "log"):
            return
        ends = {at for at, _ in self.log} | {at for _, at, _ in self.open} | {self.now}
        for end in ends:
            assert self.in_window(end) <= self.limit

    @invariant()
    def the_account_never_forgets_too_early(self) -> None:
        if hasattr(self, "log"):
            assert self.account.used >= self.in_window(self.now)


BudgetMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestBudgetAgainstALog = BudgetMachine.TestCase


def test_a_reservation_over_several_accounts_takes_from_all_or_none() -> None:
    budgets = Budgets()
    wide, narrow = Account("wide", Decimal(10)), Account("narrow", Decimal(1), 60.0)
    taken(budgets.reserve(0.0, [wide, narrow], Decimal(1)))
    refused = budgets.reserve(0.0, [wide, narrow], Decimal(1))
    assert isinstance(refused, Refusal)
    assert refused.account is narrow
    assert wide.used == 1
    assert 60 <= refused.wait <= 61


def test_an_answer_that_cost_more_is_counted_all_the_same() -> None:
    budgets, account = Budgets(), Account("a", Decimal(1))
    taken(budgets.reserve(0.0, [account], CENT)).settle(Decimal(3))
    assert account.used == account.spent == 3
    assert budgets.left(0.0, account) == 0
    assert isinstance(budgets.reserve(0.0, [account], CENT), Refusal)


def test_a_late_settlement_belongs_to_the_time_of_its_reservation() -> None:
    budgets, account = Budgets(), Account("a", Decimal(1), 60.0)
    hold = taken(budgets.reserve(0.0, [account], Decimal(1)))
    assert budgets.left(100.0, account) == 1
    hold.settle(Decimal(1))
    assert budgets.left(100.0, account) == 1
    assert account.spent == 1


def test_what_was_reserved_before_a_reset_counts_no_more() -> None:
    budgets, account = Budgets(), Account("a", Decimal(1))
    hold = taken(budgets.reserve(0.0, [account], Decimal(1)))
    budgets.clear([account])
    assert budgets.left(0.0, account) == 1
    hold.settle(Decimal(1))
    assert budgets.left(0.0, account) == 1


def test_more_than_the_whole_budget_never_fits() -> None:
    refused = Budgets().reserve(0.0, [Account("a", Decimal(1), 60.0)], Decimal(2))
    assert isinstance(refused, Refusal)
    assert refused.wait == math.inf


@pytest.fixture
def switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching_often")
def test_sixty_four_threads_never_overspend_and_lose_nothing() -> None:
    budgets, account = Budgets(), Account("a", Decimal(5))
    other = Account("b", Decimal(1000))
    highest = Decimal(0)
    admitted = [0] * 64
    spent = [Decimal(0)] * 64
    start = threading.Barrier(64)

    def work(number: int) -> None:
        nonlocal highest
        dice = random.Random(number)
        start.wait()
        for turn in range(100):
            found = budgets.reserve(0.0, [account, other], 5 * CENT)
            if isinstance(found, Refusal):
                continue
            highest = max(highest, account.used)
            admitted[number] += 1
            if turn % 3 == 0:
                found.release()
                continue
            actual = dice.randrange(6) * CENT
            found.settle(actual)
            found.release()
            spent[number] += actual

    threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(admitted) > 100
    assert highest <= 5
    assert account.used == account.spent == other.spent == sum(spent) <= 5


# Alone


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_decorated_function_is_refused_when_the_money_is_spent() -> None:
    clock = Clock()
    spending = budgeted("0.05", "1h", estimate="0.02", name="translations", clock=clock)
    calls = []

    @spending
    def translate(text: str) -> str:
        calls.append(text)
        return text.upper()

    assert [translate("a"), translate("b")] == ["A", "B"]
    with pytest.raises(BudgetExhausted, match="translations") as caught:
        translate("c")
    assert calls == ["a", "b"]
    assert caught.value.retry_after is not None
    clock.now += caught.value.retry_after
    assert translate("c") == "C"


def test_the_real_cost_is_read_from_the_result() -> None:
    spending = budgeted(1, estimate="0.50", cost=lambda result: result["price"])

    @spending
    async def ask(price: str) -> dict[str, str]:
        await asyncio.sleep(0)
        return {"price": price}

    async def scenario() -> None:
        for _ in range(20):
            await ask("0.01")
        await asyncio.gather(ask("0.3"), ask("0.3"))

    with pytest.raises(BudgetExhausted):
        asyncio.run(scenario())
    assert Decimal("0.2") <= spending.spent() <= Decimal("0.5")


def test_a_block_that_raises_gives_everything_back() -> None:
    spending = budgeted(1)
    with pytest.raises(ZeroDivisionError), spending.hold(1):
        raise ZeroDivisionError
    assert spending.left() == 1
    with spending.hold("0.75") as hold:
        hold.settle(Decimal("0.25"))
    assert spending.left() == Decimal("0.75")
    with spending.hold("0.75"):
        pass
    assert spending.left() == 0
    spending.reset()
    assert spending.left() == 1


@pytest.mark.parametrize(
    ("limit", "window"), [("cheap", None), (-1, None), (1, 0), (1, "soon"), (float("nan"), None)]
)
def test_a_budget_that_cannot_work_is_refused(limit: object, window: object) -> None:
    with pytest.raises((ValueError, ArithmeticError)):
        budgeted(limit, window)  # type: ignore[arg-type]
