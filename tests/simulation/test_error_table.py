"""
Each signal of a provider, and what the whole pipeline makes of it: retried, counted, failed over, remembered.

The columns are those of the table of errors: `R` how many requests its target gets (three are allowed),
`B` whether its breaker samples a failure, `F` whether another target is asked, `N` whether a negative cache
that is switched on remembers it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from penstock import CallError
from penstock_testkit import Fault, Simulator, faults

World = Callable[..., Any]
ROWS: list[tuple[Fault, int, bool, bool, bool]] = [
    # signal, R, B, F, N
    (faults.refuse(), 3, True, True, False),
    (faults.reset(), 3, True, True, False),
    (faults.reset(after=0), 3, True, True, False),
    (faults.hang(), 2, True, True, False),
    (faults.status(408), 3, True, True, False),
    (faults.status(409), 3, False, True, False),
    (faults.status(500), 3, True, True, False),
    (faults.status(502), 3, True, True, False),
    (faults.status(504), 3, True, True, False),
    (faults.status(503), 3, True, True, False),
    (faults.overloaded(529), 3, True, True, False),
    (faults.status(429), 3, False, True, False),
    (faults.status(429, retry_after=1), 3, False, True, False),
    (faults.status(429, retry_after=61), 1, False, True, False),
    (faults.status(429, kind="oversized_request"), 1, False, True, False),
    (faults.quota(), 1, False, True, False),
    (faults.status(402), 1, False, True, False),
    (faults.status(401), 1, False, True, False),
    (faults.status(403), 1, False, True, False),
    (faults.status(404), 1, False, True, True),
    (faults.status(400, kind="context_length"), 1, False, True, True),
    (faults.status(413), 1, False, True, True),
    (faults.status(400), 1, False, False, False),
    (faults.status(422), 1, False, False, False),
    (faults.status(400, kind="content_filter"), 1, False, False, False),
    (faults.malformed(), 3, True, True, False),
    (faults.html(), 3, True, True, False),
    (faults.error_event(500), 3, True, True, False),
    (faults.error_event(429), 3, False, True, False),
]
STREAMED = [
    *ROWS,
    (faults.unterminated(), 1, True, False, False),
    (faults.keep_alives(5.0), 2, True, True, False),
    (faults.chain(faults.unterminated(), faults.cut(after=0)), 3, True, True, False),
]


def table(world: World, fault: Fault) -> Any:
    providers = {
        name: {"plugin": "openai", "api_key": "sk-test-0123456789", "base_url": f"http://{name}.test/v1"}
        for name in ("one", "two")
    }
    return world(
        simulator=Simulator(script={"a": [fault] * 9}, text="one two three"),
        pipeline=["cache", "routing", "retry", "breaker", "limiter"],
        providers=providers,
        routes={"fast": {"targets": ["one/a", "two/b"]}},
        cache={"negative": True},
        # The limit of one target is larger than what anybody asks for, so that only retries decide.
        limiter={"learn": "off"},
        timeouts={"attempt": 20, "first_token": 10, "total": 600},
    )


def check(world: World, row: tuple[Fault, int, bool, bool, bool], ask: Callable[[Any, str], Any]) -> None:
    fault, requests, counts, fails_over, remembered = row
    here = table(world, fault)
    if fails_over:
        ask(here, "fast")
    else:
        with pytest.raises(CallError):
            ask(here, "fast")
    asked = [request.model for request in here.simulator.requests]
    assert asked == ["a"] * requests + ["b"] * fails_over
    assert (here.client.stage("breaker").stats().circuits["one/a"].failures > 0) == counts

    there = table(world, fault)
    for _ in range(2):
        with pytest.raises(CallError):
            ask(there, "one/a")
    again = [request.model for request in there.simulator.requests]
    assert (len(again) == requests) == remembered or there.client.stage("breaker").stats().resting


@pytest.mark.parametrize("row", ROWS, ids=lambda row: repr(row[0]))
def test_a_plain_call_meets_each_error_as_the_table_says(world: World, row: Any) -> None:
    check(world, row, lambda here, model: here.chat(model=model, temperature=0))


@pytest.mark.parametrize("row", STREAMED, ids=lambda row: repr(row[0]))
def test_a_streamed_call_meets_each_error_as_the_table_says(world: World, row: Any) -> None:
    check(world, row, lambda here, model: here.stream(model=model, temperature=0))
