"""The retry stage among its neighbours."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from penstock import BreakerOpen, ServerError, Slot, StageSpec, hookimpl
from penstock.config import StageConfig
from penstock.events import RetryScheduled, RetryStopped
from penstock_testkit import faults

World = Callable[..., Any]


def test_a_breaker_that_its_failures_opened_ends_the_retries_with_their_own_error(world: World) -> None:
    here = world(
        [faults.status(500)] * 9,
        pipeline=["retry", "breaker"],
        retry={"max_attempts": 6},
        breaker={"consecutive_failures": 2},
    )
    with pytest.raises(ServerError) as caught:
        here.chat()
    assert here.count == 2
    assert caught.value.status == 500
    assert [event.reason for event in here.events if isinstance(event, RetryStopped)] == ["breaker_open"]


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_the_configured_number_of_attempts_is_made(world: World, attempts: int) -> None:
    here = world([faults.status(500)] * 9, retry={"max_attempts": attempts})
    with pytest.raises(ServerError):
        here.chat()
    assert here.count == attempts
    stopped = [event.reason for event in here.events if isinstance(event, RetryStopped)]
    assert stopped == ["exhausted"]


def test_targets_may_have_numbers_of_their_own(world: World) -> None:
    here = world([faults.status(500)] * 9, retry={"targets": {"openai/gpt-4*": {"max_attempts": 1}}})
    with pytest.raises(ServerError):
        here.chat(model="openai/gpt-4o")
    assert here.count == 1
    with pytest.raises(ServerError):
        here.chat(model="openai/o3")
    assert here.count == 1 + 3


def test_max_retries_counts_retries_and_not_attempts(world: World) -> None:
    here = world([faults.status(500)] * 9, environ={"MAX_RETRIES": "1"})
    with pytest.raises(ServerError):
        here.chat()
    assert here.count == 2


def test_a_stage_that_is_switched_off_is_absent(world: World) -> None:
    here = world([faults.status(500)], retry=False)
    with pytest.raises(ServerError):
        here.chat()
    assert here.count == 1


def test_calls_that_were_refused_before_they_were_sent_earn_no_retries(world: World) -> None:
    here = world(
        [faults.status(500)] * 99,
        pipeline=["retry", "breaker"],
        retry={"base": 0.001},
        breaker={"consecutive_failures": 0, "failure_rate": 0},
    )
    for _ in range(10):
        with pytest.raises(ServerError):
            here.chat()
    here.client.stage("breaker").force_open("*")
    for _ in range(50):
        with pytest.raises(BreakerOpen):
            here.chat()
    here.client.stage("breaker").reset("*")
    here.events.clear()
    with pytest.raises(ServerError) as caught:
        here.chat()
    assert caught.value.tags == ("budget_exhausted",)
    assert [event.reason for event in here.events if isinstance(event, RetryStopped)] == ["denied"]


def test_nothing_is_slept_after_the_last_attempt(world: World) -> None:
    here = world([faults.status(500)] * 9)
    with pytest.raises(ServerError):
        here.chat()
    delays = [event.delay for event in here.events if isinstance(event, RetryScheduled)]
    assert len(delays) == 2
    assert here.now() == pytest.approx(sum(delays))


class Twice:
    """A stage that sends the same call a second time, as one that checks answers would."""

    async def __call__(self, call: Any, proceed: Any) -> Any:
        await proceed(call)
        return await proceed(call)


def test_a_call_that_is_sent_again_from_outside_has_not_waited(world: World) -> None:
    def penstock_register_stages() -> list[StageSpec]:
        slot = Slot("call")
        return [StageSpec(name="twice", config=StageConfig, create=lambda *_: Twice(), slot=slot)]

    plugin = SimpleNamespace(penstock_register_stages=hookimpl(penstock_register_stages))
    here = world([faults.status(500)], plugins=[("twice", plugin)], pipeline=["twice", "retry"])
    first, second, third = here.chat().attempts
    assert first.delay == 0.0
    assert second.delay > 0.0
    assert third.delay == 0.0
