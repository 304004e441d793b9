"""What a server's answers say of its limits reaches the limiter through a real codec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock_testkit import RateLimits, Simulator

World = Callable[..., Any]


def test_a_server_whose_requests_are_used_up_is_not_asked_until_its_bucket_has_some(world: World) -> None:
    simulator = Simulator(limits=RateLimits(requests=6, enforce=True))
    here = world(simulator=simulator, pipeline=["retry", "limiter"], limiter={"max_wait": "5m"})
    answers = [here.chat(timeout=500) for _ in range(12)]
    # Learnt from the headers alone: the server refused nobody.
    assert [len(answer.attempts) for answer in answers] == [1] * 12
    assert here.count == 12
    assert here.now() > 30


def test_without_the_stage_the_same_server_refuses(world: World) -> None:
    here = world(simulator=Simulator(limits=RateLimits(requests=6, enforce=True)))
    answers = [here.chat(timeout=500) for _ in range(8)]
    assert sum(len(answer.attempts) for answer in answers) > 8
