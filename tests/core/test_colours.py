"""One script of faults, three colours: the same attempts, delays and events."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from penstock import CallError
from penstock_testkit import faults

COLOURS = ("blocking", "async", "simulated")
MENU = (
    faults.ok(),
    faults.status(503),
    faults.status(500),
    faults.status(401),
    faults.status(429, retry_after=1.5),
    faults.status(429),
    faults.status(400),
    faults.reset(),
    faults.reset(after=2),
    faults.refuse(),
    faults.hang(),
    faults.hang(after=2),
    faults.cut(after=1),
    faults.unterminated(),
    faults.error_event(),
    faults.malformed(),
    faults.html(),
    faults.quota(),
    faults.overloaded(),
    faults.slow_first_token(70.0),
    faults.slow_first_token(3.0),
    faults.keep_alives(10.0),
    faults.drip(0.5),
    faults.empty(),
)


def play(make_world: Callable[..., Any], colour: str, script: list[Any], calls: list[str]) -> list[Any]:
    """Every call of the script, what came of it, and all events."""
    world = make_world(colour, script)
    results: list[Any] = []
    for number, kind in enumerate(calls):
        try:
            if kind == "chat":
                results.append(world.chat(f"question {number}").text)
            elif kind == "embed":
                results.append(len(world.embed("text").vectors))
            else:
                chunks, stream = world.stream(f"question {number}", take=2 if kind == "peek" else None)
                results.append(("".join(chunk.text for chunk in chunks), len(stream.attempts)))
        except CallError as error:
            partial = getattr(error, "partial", None)
            results.append((type(error).__name__, str(error), partial.text if partial else None))
    return [results, world.trace(), world.count, [round(each.at, 6) for each in world.simulator.requests]]


@pytest.mark.parametrize("seed", range(25))
def test_the_same_trace_in_every_colour(make_world: Callable[..., Any], seed: int) -> None:
    dice = random.Random(seed)
    script = [dice.choice(MENU) for _ in range(12)]
    calls = [dice.choice(["chat", "stream", "peek", "embed"]) for _ in range(6)]
    blocking, *others = (play(make_world, colour, script, calls) for colour in COLOURS)
    for other in others:
        assert other == blocking
    assert blocking[2] > 0


def test_the_trace_of_a_retried_call_reads_like_the_script(world: Callable[..., Any]) -> None:
    here = world([faults.status(503), faults.status(429, retry_after=1.5)])
    answer = here.chat()
    names = [event[0] for event in here.trace()]
    attempt = ["AttemptStarted", "AttemptFinished"]
    assert names == [
        "CallStarted",
        *attempt,
        "RetryScheduled",
        *attempt,
        "RetryScheduled",
        *attempt,
        "CallFinished",
    ]
    assert [each.status for each in answer.attempts] == [503, 429, 200]
    assert answer.attempts[2].delay >= 1.5
    assert answer.attempts[2].started - answer.attempts[1].ended == pytest.approx(answer.attempts[2].delay)
