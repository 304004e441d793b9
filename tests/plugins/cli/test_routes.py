"""Routes on the command line: explained, asked, and traced with what the stages decide."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from penstock_testkit import faults
from penstock_testkit.server import SimulatorServer

Run = Callable[..., Result]
TEXT = "Hello from the simulator, whole and well."


@pytest.fixture
def two_targets(
    surroundings: Path, penstock_simulator: Callable[..., SimulatorServer]
) -> Callable[..., SimulatorServer]:
    """A route `fast` over `primary/a` and `backup/b`, the first of which meets some faults."""

    def start(*met: Any, pipeline: str, route: str = "", more: str = "") -> SimulatorServer:
        server = penstock_simulator(script={"a": met}, text=TEXT)
        providers = "".join(
            f'[providers.{name}]\nplugin = "openai"\nbase_url = "{server.url}"\napi_key = "sk-{name}-0123"\n'
            for name in ("primary", "backup")
        )
        text = (
            f"pipeline = [{pipeline}]\n{providers}"
            f'[routes.fast]\ntargets = ["primary/a", "backup/b"]\n{route}{more}'
        )
        (surroundings / "penstock.toml").write_text(text, encoding="utf-8")
        return server

    return start


# Explain


def test_explain_of_a_route_shows_its_targets_and_the_pipeline_below_each(
    run: Run, surroundings: Path
) -> None:
    text = (
        'pipeline = ["routing", "retry", "limiter"]\n[providers.openai]\napi_key = "sk-test-0123456789"\n'
        '[routes.fast]\ntargets = ["openai/a", [{target = "openai/b", weight = 3}, "openai/c"]]\n'
        '[limiter.targets."openai/b"]\nrate = "5/s"\n[retry.routes.fast]\nmax_attempts = 2\n'
    )
    (surroundings / "penstock.toml").write_text(text, encoding="utf-8")
    result = run("explain", "fast")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert "targets: openai/a, openai/b, openai/c" in lines
    assert "pipeline: routing > its targets" in lines
    targets = [line for line in lines if line.startswith("target ")]
    assert targets == [
        "target openai/a (group 1)",
        "target openai/b (group 2, weight 3)",
        "target openai/c (group 2, weight 1)",
    ]
    (shown,) = [line for line in lines if "routes.fast.targets" in line]
    assert '["openai/a", ["openai/b", "openai/c"]]' in shown
    assert shown.endswith("penstock.toml:5")
    (attempts,) = [line for line in lines if "retry.max_attempts = 2" in line]
    assert attempts.endswith("penstock.toml:9")
    (rate,) = [line for line in lines if 'limiter.rate = "5/s"' in line]
    assert rate.endswith("penstock.toml:7")
    second = lines[lines.index(targets[1]) : lines.index(targets[2])]
    assert "pipeline: retry > limiter > provider openai (https://api.openai.com/v1)" in second
    assert "retry (target slot): as for openai/a" in second
    assert "limiter (attempt slot)" in second
    third = lines[lines.index(targets[2]) :]
    assert "limiter (attempt slot): as for openai/a" in third
    assert sum(line == "provider openai (plugin openai)" for line in lines) == 1


def test_the_parts_of_a_route_are_explained_one_by_one(surroundings: Path) -> None:
    from penstock import Client

    text = {
        "pipeline": ["cache", "routing", "retry"],
        "providers": {"openai": {"api_key": "sk-test-0123456789"}},
        "routes": {"fast": {"targets": ["openai/a", "openai/b"]}},
        "retry": {"targets": {"openai/b": {"enabled": False}}},
    }
    with Client(text, environ={}) as client:
        way = client.explain("fast")
        assert [stage.spec.name for stage in way.stages] == ["cache", "routing"]
        assert [str(below.target) for below in way.below] == ["openai/a", "openai/b"]
        assert [[s.spec.name for s in below.stages] for below in way.below] == [["retry"], ["retry"]]
        assert [below.stages[0].config.enabled for below in way.below] == [True, False]
        plain = client.explain("openai/a")
        assert [stage.spec.name for stage in plain.stages] == ["cache", "routing", "retry"]
        assert plain.below == ()


def test_each_key_of_a_route_has_its_own_origin(run: Run, surroundings: Path) -> None:
    text = '[routes.fast]\ntargets = ["openai/a"]\non_interrupt = "restart"\n'
    (surroundings / "penstock.toml").write_text(text, encoding="utf-8")
    shown = run("config", "show", "--origin").stdout.splitlines()
    (line,) = [line for line in shown if "routes.fast.on_interrupt" in line]
    assert line.endswith("penstock.toml:3")


# Chat


def test_a_route_is_asked_by_its_name_and_the_trace_shows_the_failover(
    run: Run, two_targets: Callable[..., SimulatorServer]
) -> None:
    server = two_targets(faults.status(503), pipeline='"routing"')
    result = run("chat", "fast", "hi", "--trace")
    assert (result.exit_code, result.stdout.strip()) == (0, TEXT)
    assert [request.model for request in server.requests] == ["a", "b"]
    assert "primary/a" in result.stderr
    assert "backup/b" in result.stderr
    assert "routing: turns from primary/a to backup/b (503)" in result.stderr


def test_the_document_of_a_route_names_who_answered(
    run: Run, two_targets: Callable[..., SimulatorServer]
) -> None:
    two_targets(faults.status(503), pipeline='"routing"')
    document = json.loads(run("chat", "fast", "hi", "--json").stdout)
    assert document["target"] == "backup/b"
    assert [attempt["target"] for attempt in document["attempts"]] == ["primary/a", "backup/b"]


def test_a_stream_that_begins_anew_says_so_and_the_answer_is_whole(
    run: Run, two_targets: Callable[..., SimulatorServer]
) -> None:
    two_targets(faults.cut(after=3), pipeline='"routing"', route='on_interrupt = "restart"\n')
    result = run("chat", "fast", "hi", "--trace")
    assert result.exit_code == 0
    *begun, whole = result.stdout.strip().splitlines()
    assert whole == TEXT
    assert begun
    assert TEXT.startswith(begun[0].strip())
    assert "another target begins the answer anew" in result.stderr
    assert "routing: backup/b begins the answer anew after primary/a broke" in result.stderr
    assert "reset" not in result.stdout


def test_the_trace_shows_an_opened_breaker_and_a_skipped_target(
    run: Run, two_targets: Callable[..., SimulatorServer]
) -> None:
    two_targets(
        faults.status(500),
        pipeline='"routing", "breaker"',
        more="[breaker]\nconsecutive_failures = 1\n[limiter]\n",
    )
    shown = run("chat", "fast", "hi", "--trace").stderr
    assert "breaker: primary/a goes from closed to open for " in shown
    assert "(consecutive failures)" in shown


def test_the_trace_shows_a_breaker_that_refuses(
    run: Run, two_targets: Callable[..., SimulatorServer]
) -> None:
    two_targets(
        faults.status(500),
        pipeline='"retry", "breaker"',
        more="[breaker]\nconsecutive_failures = 1\n[retry]\nbase = 0.001\n",
    )
    shown = run("chat", "primary/a", "hi", "--trace").stderr
    assert "retry: no further attempt: breaker open" in shown


def test_the_trace_shows_a_hit(run: Run, two_targets: Callable[..., SimulatorServer]) -> None:
    server = two_targets(
        pipeline='"cache", "routing"', more='[cache]\nmode = "aggressive"\nstore = "sqlite"\npath = "c.db"\n'
    )
    first, second = (run("chat", "fast", "hi", "--trace") for _ in range(2))
    assert "cache: miss (absent)" in first.stderr
    assert "cache: keeps the answer for " in first.stderr
    assert "cache: a hit, " in second.stderr
    assert (second.stdout, server.count()) == (first.stdout, 1)


def test_the_trace_shows_what_the_limiter_learnt(
    run: Run, two_targets: Callable[..., SimulatorServer]
) -> None:
    two_targets(faults.status(429, retry_after=0.02), pipeline='"retry", "limiter"')
    assert "limiter: primary/a pauses for " in run("chat", "primary/a", "hi", "--trace").stderr


# Words


def test_decisions_are_said_in_words() -> None:
    from penstock.call import Target
    from penstock.errors import RateLimited
    from penstock.events import (
        BreakerRejected,
        CacheLookup,
        CostRecorded,
        CostRejected,
        GuardFound,
        GuardRejected,
        HedgeStarted,
        LimiterAdmitted,
        LimiterQueued,
        LimiterRejected,
        TargetsDrained,
        TargetSkipped,
    )
    from penstock.responses import Usage
    from penstock_cli.decisions import words_of

    call: Any = None
    a, b = Target("p", "a"), Target("q", "b")
    refusal = RateLimited("full", stage="limiter", retry_after=1.5)
    said = {
        "limiter: queues for about 2 s (rate, limit p)": LimiterQueued(0, call, "rate", "p", 2.0),
        "limiter: admitted after 2 s in the queue": LimiterAdmitted(0, call, 2.0, queued=True),
        "limiter: refused (full), room in 1.5 s": LimiterRejected(0, call, refusal, "full", 0.0),
        "breaker: refused p/a (open), room in 9 s": BreakerRejected(0, call, a, "open", 9.0),
        "routing: skips p/a (circuit open)": TargetSkipped(0, call, a, "circuit_open", refusal),
        "routing: p/a is slow after 1 s, asks q/b too": HedgeStarted(0, call, a, b, 1.0),
        "cache: shares the answer of another call, 0 ms old": CacheLookup(
            0, call, "hit", "coalesced", "k", 0.0
        ),
        "cache: an expired answer, 90 s old (revalidating)": CacheLookup(
            0, call, "stale", "revalidating", "k", 90.0
        ),
        "cache: not for this call (not selected)": CacheLookup(0, call, "bypass", "not_selected", "", None),
        "cost: p/a: 0.0012 USD (calculated)": CostRecorded(
            0, call, a, Decimal("0.0012"), "calculated", "table", Usage()
        ),
        "cost: refused by the budget daily (spent), room in 60 s": CostRejected(
            0, call, a, "daily", "spent", None, 60.0
        ),
        "guard: refused (messages)": GuardRejected(0, call, "messages", refusal),
        "guard: 2 email in the prompt (mask)": GuardFound(0, call, "prompt", "mask", {"email": 2}),
        "TargetsDrained pattern=p/* drained=True": TargetsDrained(0, "p/*", True),
    }
    assert {words_of(event) for event in said.values()} == set(said)
    assert words_of(LimiterAdmitted(0, call, 0.0, queued=False)) is None
