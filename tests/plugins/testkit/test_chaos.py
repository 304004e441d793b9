"""The chaos stage injects what it says, at the rate it says, and other stages meet it like the real thing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from penstock import CallError, StreamInterrupted, TransferError
from penstock.events import AttemptFinished, RetryScheduled

World = Callable[..., Any]


def test_it_is_off_unless_the_configuration_says_otherwise(world: World) -> None:
    here = world(pipeline=None, chaos={"error_rate": 1.0})
    assert here.chat().text


def test_errors_come_at_the_rate_and_are_of_the_kinds_that_were_asked_for(world: World) -> None:
    here = world(
        pipeline=["chaos"], chaos={"enabled": True, "error_rate": 0.3, "errors": ["reset"], "seed": 4}
    )
    failed = 0
    for _ in range(400):
        try:
            here.chat()
        except TransferError:
            failed += 1
    assert 90 <= failed <= 150
    assert here.count == 400 - failed


def test_retries_survive_it(world: World) -> None:
    here = world(
        pipeline=["retry", "chaos"],
        chaos={"enabled": True, "error_rate": 0.4, "errors": ["connect", "server_error"]},
        retry={"max_attempts": 8, "max_total_attempts": 8},
        budget={"capacity": 1000},
    )
    for _ in range(100):
        assert here.chat().text
    assert any(isinstance(event, RetryScheduled) for event in here.events)


def test_latency_lets_time_pass_but_not_past_the_deadline(world: World) -> None:
    here = world(pipeline=["chaos"], chaos={"enabled": True, "latency_rate": 1.0, "latency": "10s"})
    before = here.now()
    here.chat()
    assert 0 < here.now() - before <= 10
    before = here.now()
    for _ in range(50):
        with contextlib.suppress(CallError):
            here.chat(timeout=0.5)
    assert here.now() - before <= 50 * 0.5


def test_a_cut_stream_carries_its_partial_text_and_is_a_failure_to_everybody(world: World) -> None:
    here = world(pipeline=["chaos"], chaos={"enabled": True, "cut_rate": 1.0, "cut_after": 3})
    with pytest.raises(StreamInterrupted) as caught:
        here.stream("tell me")
    assert caught.value.partial is not None
    finished = [event for event in here.events if type(event).__name__ == "CallFinished"]
    assert finished[-1].outcome.kind == "failed"
    assert [e for e in here.events if isinstance(e, AttemptFinished)][-1].kind == "abandoned"
    assert here.transport.open == ()


def test_a_stream_that_ends_before_its_cut_is_whole(world: World) -> None:
    here = world(pipeline=["chaos"], chaos={"enabled": True, "cut_rate": 1.0, "cut_after": 1_000, "seed": 3})
    _, stream = here.stream("short")
    assert stream.answer.finish_reason == "stop"


def test_the_same_seed_is_the_same_chaos(make_world: World) -> None:
    def play(colour: str) -> list[Any]:
        here = make_world(
            colour,
            pipeline=["retry", "chaos"],
            chaos={"enabled": True, "error_rate": 0.5, "latency_rate": 0.5, "cut_rate": 0.3, "seed": 9},
        )
        for number in range(20):
            with contextlib.suppress(CallError):
                here.stream() if number % 2 else here.chat()
        return list(here.trace())

    blocking = play("blocking")
    assert play("async") == blocking
    assert play("simulated") == blocking
