"""
The acts of the demo, as data: stages whose work shows only over several calls.

An act has a pipeline and a provider of its own, and goes in steps. Of each step it says exactly how many
requests every target must receive, how the calls must end, and what the stages must have done meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal

from penstock.frozen import dataclass
from penstock_testkit import faults

if TYPE_CHECKING:
    from penstock_testkit import Fault

CROWD = 12
"""Calls that ask the same at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """
    Calls that ask the same, and what must come of them.

    Args:
        name: for people.
        model: who is asked: a target of the act, or its route.
        calls: how many; async ones are made at once, blocking ones one after another.
        kind: what is called.
        prompt: what is asked, where other steps ask the same; None is a question of the step's own.
        rest: first wait for as long as the last refusal said.
        requests: that each target must receive; none when it is not named.
        errors: how many calls must end in which error; the others must be answered.
        facts: what the stages must do, and how often; see `facts.fact_of`.
        cached: answers that must come from the cache.
        resets: times a reader must be told to begin again.
    """

    name: str
    model: str
    calls: int = 1
    kind: Literal["chat", "stream"] = "chat"
    prompt: str | None = None
    rest: bool = False
    requests: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    facts: Mapping[str, int] = field(default_factory=dict)
    cached: int = 0
    resets: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """
    What one client goes through.

    Args:
        name: for people.
        colour: who makes the calls: `Client` or `AsyncClient`.
        pipeline: its stages.
        tables: their configuration.
        targets: `provider/model` of everyone there is, and what its requests meet, in order.
        steps: one after another.
    """

    name: str
    colour: Literal["blocking", "async"]
    pipeline: tuple[str, ...]
    tables: Mapping[str, Any]
    targets: Mapping[str, tuple[Fault, ...]]
    steps: tuple[Step, ...]


def acts(*, fast: bool) -> tuple[Act, ...]:
    """
    The acts in the order they are shown.

    Args:
        fast: shorten rests, queues and slow answers.
    """
    return (_breaker(fast), _limiter(fast), _cache(fast), _failover(), _restart())


def _breaker(fast: bool) -> Act:
    model, bad = "demo/model", faults.status(500)
    return Act(
        name="breaker",
        colour="blocking",
        pipeline=("breaker",),
        tables={
            "breaker": {
                "consecutive_failures": 3,
                "open_for": 0.3 if fast else 1.2,
                "jitter": 0,
                "close_after": 2,
            }
        },
        targets={model: (bad, bad, bad)},
        steps=(
            Step(
                name="three failures open it",
                model=model,
                calls=3,
                requests={model: 3},
                errors={"ServerError": 3},
                facts={"opens": 1},
            ),
            Step(
                name="refusals cost no request",
                model=model,
                calls=5,
                errors={"BreakerOpen": 5},
                facts={"refused": 5},
            ),
            Step(
                name="a probe after the rest",
                model=model,
                rest=True,
                requests={model: 1},
                facts={"half open": 1},
            ),
            Step(name="a second one closes it", model=model, requests={model: 1}, facts={"closes": 1}),
            Step(name="calls pass again", model=model, calls=3, requests={model: 3}),
        ),
    )


def _limiter(fast: bool) -> Act:
    first, second = "demo/model-1", "demo/model-2"
    return Act(
        name="limiter",
        colour="async",
        pipeline=("limiter",),
        tables={"limiter": {"rate": "10/s" if fast else "5/s", "burst": 2, "max_len": 4, "scope": "model"}},
        targets={first: (), second: ()},
        steps=(
            Step(
                name="six at once: two go, four wait",
                model=first,
                calls=6,
                requests={first: 6},
                facts={"queued": 4},
            ),
            Step(
                name="seven at once: one too many",
                model=second,
                calls=7,
                requests={second: 6},
                errors={"RateLimited": 1},
                facts={"queued": 4, "rejected": 1},
            ),
        ),
    )


def _cache(fast: bool) -> Act:
    known, slow = "demo/known", "demo/slow"
    late = faults.slow_first_token(0.2 if fast else 0.6)
    return Act(
        name="cache",
        colour="async",
        pipeline=("cache",),
        tables={"cache": {"mode": "aggressive"}},
        targets={known: (), slow: (late, late)},
        steps=(
            Step(name="asked first", model=known, prompt="a", requests={known: 1}, facts={"miss": 1}),
            Step(name="asked again", model=known, prompt="a", calls=3, facts={"hit": 3}, cached=3),
            Step(
                name="the same as a stream",
                model=known,
                prompt="a",
                kind="stream",
                facts={"hit": 1},
                cached=1,
            ),
            Step(
                name=f"{CROWD} ask the same at once",
                model=slow,
                calls=CROWD,
                requests={slow: 1},
                facts={"miss": 1, "shared": CROWD - 1},
                cached=CROWD - 1,
            ),
            Step(
                name=f"{CROWD} streams of one answer",
                model=slow,
                calls=CROWD,
                kind="stream",
                prompt="b",
                requests={slow: 1},
                facts={"miss": 1, "shared": CROWD - 1},
                cached=CROWD - 1,
            ),
            Step(name="the streamed one, plain", model=slow, prompt="b", facts={"hit": 1}, cached=1),
        ),
    )


def _failover() -> Act:
    primary, backup = "primary/model-1", "backup/model-2"
    down = faults.status(503)
    return Act(
        name="failover",
        colour="blocking",
        pipeline=("routing", "breaker"),
        tables={
            "routes": {"fast": {"targets": [primary, backup]}},
            "breaker": {"consecutive_failures": 2},
        },
        targets={primary: (down, down), backup: ()},
        steps=(
            Step(
                name="the first target is down",
                model="fast",
                calls=2,
                requests={primary: 2, backup: 2},
                facts={"failover": 2, "opens": 1},
            ),
            Step(
                name="then it is not even asked",
                model="fast",
                calls=3,
                requests={backup: 3},
                facts={"skipped": 3},
            ),
        ),
    )


def _restart() -> Act:
    primary, backup = "primary/model-1", "backup/model-2"
    return Act(
        name="restart",
        colour="blocking",
        pipeline=("routing",),
        tables={"routes": {"fast": {"targets": [primary, backup], "on_interrupt": "restart"}}},
        targets={primary: (faults.cut(after=4),), backup: ()},
        steps=(
            Step(
                name="a stream cut midway begins anew",
                model="fast",
                kind="stream",
                requests={primary: 1, backup: 1},
                facts={"failover": 1, "restart": 1},
                resets=1,
            ),
        ),
    )
