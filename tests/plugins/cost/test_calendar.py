"""Budgets of the calendar: days, weeks and months, across midnight, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import BudgetExhausted, ConfigError
from penstock_cost import Account, Budgets, Hold
from penstock_cost.calendar import Calendar, zone
from penstock_cost.config import BudgetConfig

DAY = 86400.0
BERLIN = ZoneInfo("Europe/Berlin")
PRICES = {"openai/*": {"input": 0, "request": "0.40"}}


def at(*parts: int, where: Any = UTC) -> float:
    return datetime(*parts, tzinfo=where).timestamp()  # year, month, day, ...


@pytest.mark.parametrize(
    ("per", "where", "now", "start", "end"),
    [
        ("day", UTC, at(2026, 11, 30, 23, 59), at(2026, 11, 30), at(2026, 12, 1)),
        ("day", UTC, at(2026, 12, 1), at(2026, 12, 1), at(2026, 12, 2)),
        ("day", zone("+02:00"), at(2026, 11, 30, 22, 30), at(2026, 11, 30, 22), at(2026, 12, 1, 22)),
        ("day", zone("-03:30"), at(2026, 11, 30, 3), at(2026, 11, 29, 3, 30), at(2026, 11, 30, 3, 30)),
        ("week", UTC, at(2026, 12, 6, 23), at(2026, 11, 30), at(2026, 12, 7)),  # a Sunday
        ("month", UTC, at(2028, 2, 29, 12), at(2028, 2, 1), at(2028, 3, 1)),
        ("month", UTC, at(2026, 12, 31, 12), at(2026, 12, 1), at(2027, 1, 1)),
        ("month", UTC, at(2026, 1, 31), at(2026, 1, 1), at(2026, 2, 1)),
    ],
)
def test_a_period_begins_and_ends_at_midnight(
    per: Any, where: Any, now: float, start: float, end: float
) -> None:
    assert Calendar(per, where).bounds(now) == (start, end)


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 11, 30), 24)])
def test_a_day_has_the_hours_its_clocks_say(day: tuple[int, int, int], hours: int) -> None:
    start, end = Calendar("day", BERLIN).bounds(at(*day, 12, where=BERLIN))
    assert start == at(*day, where=BERLIN)
    assert end - start == hours * 3600


@given(st.floats(0, 4e9), st.sampled_from(["day", "week", "month"]), st.sampled_from([UTC, BERLIN]))
def test_periods_hold_their_moment_and_follow_each_other(now: float, per: Any, where: Any) -> None:
    calendar = Calendar(per, where)
    start, end = calendar.bounds(now)
    assert start <= now < end
    assert calendar.bounds(end)[0] == end
    assert calendar.bounds(start) == (start, end)


@pytest.mark.parametrize("name", ["Europe/Nowhere", "+2", "25", "../../etc/passwd", "+99:00", ""])
def test_a_zone_that_is_none_is_an_error_that_says_what_to_write(name: str) -> None:
    with pytest.raises(ValueError, match="such as Europe/Berlin"):
        zone(name)


def test_a_spent_day_has_room_at_midnight_and_not_before() -> None:
    wall = [at(2026, 11, 30, 20)]
    account = Account("daily", Decimal(1), calendar=Calendar("day"))
    budgets = Budgets(lambda: wall[0])
    held = budgets.reserve(7.0, [account], Decimal(1))
    assert isinstance(held, Hold)
    refused = budgets.reserve(7.0, [account], Decimal("0.01"))
    assert not isinstance(refused, Hold)
    assert refused.wait == 4 * 3600
    wall[0] = at(2026, 12, 1) - 0.001
    assert budgets.left(7.0, account) == 0
    wall[0] = at(2026, 12, 1)
    assert budgets.left(7.0, account) == 1


def test_what_is_settled_after_midnight_is_of_the_day_it_was_reserved_in() -> None:
    wall = [at(2026, 11, 30, 23, 59)]
    account = Account("daily", Decimal(1), calendar=Calendar("day"))
    budgets = Budgets(lambda: wall[0])
    held = budgets.reserve(0.0, [account], Decimal("0.60"))
    wall[0] += 120
    assert budgets.left(0.0, account) == 1
    assert isinstance(held, Hold)
    held.settle(Decimal("0.90"))
    assert budgets.left(0.0, account) == 1
    assert account.spent == Decimal("0.90")


def test_a_clock_that_is_set_back_gives_no_second_budget() -> None:
    wall = [at(2026, 12, 1, 0, 1)]
    account = Account("daily", Decimal(1), calendar=Calendar("day"))
    budgets = Budgets(lambda: wall[0])
    budgets.reserve(0.0, [account], Decimal(1))
    wall[0] -= 120
    assert budgets.left(0.0, account) == 0
    wall[0] += 120
    assert budgets.left(0.0, account) == 0


def test_a_window_and_a_day_together_take_from_both_or_from_none() -> None:
    wall = [at(2026, 11, 30, 12)]
    day, hour = Account("day", Decimal(1), calendar=Calendar("day")), Account("hour", Decimal("0.5"), 3600.0)
    budgets = Budgets(lambda: wall[0])
    assert isinstance(budgets.reserve(0.0, [day, hour], Decimal("0.5")), Hold)
    refused = budgets.reserve(0.0, [day, hour], Decimal("0.5"))
    assert not isinstance(refused, Hold)
    assert refused.account is hour
    assert budgets.left(0.0, day) == Decimal("0.5")


def cost(**budget: Any) -> dict[str, Any]:
    return {"prices": PRICES, "budgets": {"daily": {"limit": 1, **budget}}}


@pytest.mark.parametrize(("timezone", "midnight"), [("UTC", DAY), ("+02:00", DAY - 7200)])
def test_a_client_s_day_ends_at_midnight_of_its_zone(
    make_world: Callable[..., Any], timezone: str, midnight: float
) -> None:
    world = make_world("simulated", pipeline=["cost"], cost=cost(per="day", timezone=timezone))
    sleep = world.runtime.sleep
    world.run(sleep(DAY / 2))
    for _ in range(2):
        world.chat()
    with pytest.raises(BudgetExhausted) as caught:
        world.chat()
    assert caught.value.retry_after == pytest.approx(midnight - DAY / 2)
    world.run(sleep(midnight - DAY / 2 - 1))
    with pytest.raises(BudgetExhausted):
        world.chat()
    world.run(sleep(1))
    world.chat()
    assert world.client.stage("cost").left("daily") == Decimal("0.60")
    assert world.count == 3


def test_each_key_and_each_route_has_its_own_day(make_world: Callable[..., Any]) -> None:
    budgets = {
        "tenants": {"limit": "0.50", "per": "day", "each": "key"},
        "routes": {"limit": "0.90", "per": "day", "each": "route"},
    }
    world = make_world(
        "simulated",
        pipeline=["routing", "cost"],
        routes={"fast": {"targets": ["openai/a"]}, "slow": {"targets": ["openai/a"]}},
        cost={"prices": PRICES, "budgets": budgets},
    )
    ask = world.chat
    for _ in range(2):  # on each of two days
        ask(model="fast", cost={"key": "ada"})
        with pytest.raises(Exception, match=r"tenants\[ada\]"):
            ask(model="slow", cost={"key": "ada"})
        ask(model="fast", cost={"key": "bob"})
        with pytest.raises(Exception, match=r"routes\[fast\]"):
            ask(model="fast", cost={"key": "eve"})
        ask(model="slow", cost={"key": "eve"})
        world.run(world.runtime.sleep(DAY))
    assert world.count == 6


@pytest.mark.parametrize("colour", ["blocking", "async"])
def test_the_other_colours_go_by_the_time_of_day(
    make_world: Callable[..., Any], colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = [at(2026, 11, 30, 23)]
    world = make_world(colour, pipeline=["cost"], cost=cost(per="day"))
    monkeypatch.setattr(world.client.stage("cost").accounts.budgets, "_wall", lambda: wall[0])
    for _ in range(2):
        world.chat()
    with pytest.raises(BudgetExhausted) as caught:
        world.chat()
    assert caught.value.retry_after == 3600
    wall[0] += 3600
    world.chat()


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"per": "day", "window": "1d"}, "leave one out"),
        ({"per": "year"}, "day"),
        ({"timezone": "UTC"}, "set 'per' too"),
        ({"per": "day", "timezone": "Mars/Olympus"}, "such as Europe/Berlin"),
    ],
)
def test_what_cannot_be_meant_is_an_error(
    make_world: Callable[..., Any], budget: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_world(pipeline=["cost"], cost=cost(**budget))
    assert BudgetConfig(limit=1).timezone == "UTC"
