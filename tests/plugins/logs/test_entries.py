"""What is told about a call, how severe it is, and what is never told."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from penstock import events
from penstock.call import Target
from penstock.errors import CallError
from penstock_logs.calls import CALL_KINDS
from penstock_logs.stages import STAGE_KINDS
from penstock_testkit import faults

LOGS = {"level": "DEBUG", "format": "json"}
SILENT = {
    "Event",
    "CallEvent",
    "AttemptCommitted",  # the chunk that follows says as much
    "LimiterAdmitted",  # the attempt that follows says as much
    "LimiterCancelled",  # the end of the call says as much
    "CacheStored",
    "CacheNotStored",
}


@pytest.fixture(params=["blocking", "async", "simulated"])
def told(request: pytest.FixtureRequest, make_world: Callable[..., Any], stderr: Any) -> Any:
    """Runs a scenario and gives its entries."""

    def run(scenario: Callable[[Any], None], faults: Any = (), **arguments: Any) -> list[dict[str, Any]]:
        world = make_world(request.param, faults, **{"logs": LOGS, **arguments})
        scenario(world)
        return [entry for entry in stderr.entries() if entry["logger"].startswith("penstock")]

    return run


def failing(world: Any, **parameters: Any) -> None:
    with pytest.raises(CallError):
        world.chat(**parameters)


def summary(entries: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(entry["level"], entry["event"]) for entry in entries if "event" in entry]


def test_every_event_is_told_or_left_out_on_purpose() -> None:
    there = {
        name
        for name, value in vars(events).items()
        if inspect.isclass(value) and issubclass(value, events.Event)
    }
    assert {kind.__name__ for kind in (*CALL_KINDS, *STAGE_KINDS)} == there - SILENT


def test_a_retried_call_is_told_step_by_step(told: Any) -> None:
    entries = told(lambda world: world.chat(request_id="ada-1"), [faults.status(503, retry_after=2.0)])
    assert summary(entries) == [
        ("DEBUG", "call_started"),
        ("DEBUG", "attempt_started"),
        ("DEBUG", "attempt_finished"),
        ("INFO", "retry_scheduled"),
        ("DEBUG", "attempt_started"),
        ("DEBUG", "attempt_finished"),
        ("DEBUG", "call_finished"),
    ]
    assert {entry["request_id"] for entry in entries} == {"ada-1"}
    assert [entry.get("attempt") for entry in entries] == [None, 1, 1, 1, 2, 2, 2]
    assert {(entry["provider"], entry["model"]) for entry in entries} == {("openai", "gpt-4o-mini")}
    scheduled = entries[3]
    assert scheduled["message"].endswith("(asked for 2 s) after 503 OverloadedError")
    assert (scheduled["hint"], scheduled["status"], scheduled["error_type"]) == (2.0, 503, "503")
    assert scheduled["delay"] >= 2.0
    assert entries[-1]["message"].endswith("2 attempts")
    assert (entries[-1]["outcome"], entries[-1]["attempts"], entries[-1]["cached"]) == ("ok", 2, False)


def test_a_failed_call_is_a_warning_with_the_class_and_never_the_message(told: Any) -> None:
    message = "you said: my prompt is private"
    entries = told(failing, [faults.status(400, message=message)])
    assert entries[-1]["level"] == "WARNING"
    assert entries[-1]["error"] == "InvalidRequestError"
    assert entries[-1]["message"].startswith("call failed with 400 InvalidRequestError after")
    assert "private" not in json.dumps(entries)


def test_neither_prompt_nor_answer_is_ever_told(told: Any) -> None:
    def scenario(world: Any) -> None:
        world.chat("my prompt is private")
        world.stream("my prompt is private")

    entries = told(scenario)
    assert "private" not in json.dumps(entries)


def test_an_empty_retry_budget_is_a_warning(told: Any) -> None:
    entries = told(failing, [faults.status(503)], budget={"capacity": 0, "per_call": 0, "per_second": 0})
    assert ("WARNING", "retry_stopped") in summary(entries)


def test_what_is_told_at_a_level_is_what_is_as_severe(make_world: Callable[..., Any], stderr: Any) -> None:
    world = make_world(
        faults=[faults.status(503), faults.status(400)], logs={"level": "WARNING", "format": "json"}
    )
    failing(world)
    assert summary(stderr.entries()) == [("WARNING", "call_finished")]


def test_a_breaker_that_opens_is_a_warning_and_its_refusals_are_details(told: Any) -> None:
    def scenario(world: Any) -> None:
        for _ in range(6):
            failing(world)

    entries = told(scenario, [faults.status(500)] * 5, pipeline=["breaker"])
    assert summary(entries).count(("WARNING", "breaker_transition")) == 1
    assert summary(entries).count(("DEBUG", "breaker_rejected")) == 1
    (opened,) = (entry for entry in entries if entry.get("event") == "breaker_transition")
    assert (opened["before"], opened["after"], opened["reason"]) == ("closed", "open", "consecutive_failures")
    assert opened["logger"] == "penstock.breaker"


def test_a_failover_is_a_warning_that_names_both_targets(told: Any) -> None:
    entries = told(
        lambda world: world.chat(model="fast"),
        [faults.status(500)],
        pipeline=["routing"],
        routes={"fast": {"targets": ["openai/a", "openai/b"]}},
    )
    (turn,) = (entry for entry in entries if entry.get("event") == "failover")
    assert (turn["level"], turn["before"], turn["after"]) == ("WARNING", "openai/a", "openai/b")
    assert entries[-1]["model"] == "b"


def test_a_throttled_limit_and_a_resting_credential_are_warnings(told: Any) -> None:
    def scenario(world: Any) -> None:
        failing(world, model="openai/a")
        failing(world, model="openai/b")

    script = [faults.status(429, retry_after=1.0), faults.status(401)]
    entries = told(scenario, script, pipeline=["breaker", "limiter"])
    assert {("WARNING", "limiter_paused"), ("WARNING", "credential_rested")} <= set(summary(entries))


def test_a_cancelled_call_is_no_warning(make_world: Callable[..., Any], stderr: Any) -> None:
    world = make_world("simulated", [faults.slow_first_token(30.0)], logs={"level": "INFO", "format": "json"})
    task = world.runtime.spawn(world.client.chat("openai/gpt-4o-mini", "Hello"))

    async def give_up() -> None:
        await world.runtime.sleep(1.0)
        task.cancel()

    world.run(give_up())
    world.runtime.settle()
    (entry,) = stderr.entries()
    assert (entry["level"], entry["error"]) == ("INFO", "CancelledError")


def test_events_without_a_call_name_their_target(make_world: Callable[..., Any], stderr: Any) -> None:
    world = make_world(pipeline=["breaker"], logs=LOGS)
    world.chat()
    world.client.stage("breaker").force_open("openai/*")
    entry = stderr.entries()[-1]
    assert (entry["provider"], entry["model"], entry["after"]) == ("openai", "gpt-4o-mini", "forced_open")
    assert "request_id" not in entry


def test_each_kind_can_be_told(make_world: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    """Every kind once, with made-up values, so that no rare event breaks in production."""
    from decimal import Decimal
    from types import MappingProxyType

    from penstock.errors import ServerError
    from penstock.responses import Usage

    world = make_world(logs={})
    world.chat()
    started = next(event for event in world.events if isinstance(event, events.CallStarted))
    values: dict[str, Any] = {
        "at": 1.0,
        "call": started.call,
        "attempt": started.call.attempts[0],
        "error": ServerError("no", status=500),
        "values": MappingProxyType({"rate": 1}),
        "found": MappingProxyType({"card": 1}),
        "usage": Usage(1, 2),
        "usd": Decimal("0.1"),
        "needed": None,
        "kind": "ok",
        "generation": 1,
        "count": 2,
        "before": Target("openai", "a"),
        "winner": None,
        "outcome": type("O", (), {"kind": "abandoned", "error": None, "response": None}),
    }
    for event, kind in {**CALL_KINDS, **STAGE_KINDS}.items():
        given: dict[str, Any] = {}
        for name, field in event.__dataclass_fields__.items():
            text = str(field.type)
            known = values.get(name)
            if name in ("before", "after") and "Target" not in text:
                known = 3 if text == "int" else "open"
            elif "Target" in text and known is None and name != "winner":
                known = Target("openai", "b")
            elif text in ("float", "float | None", "int") and known is None:
                known = 2.0
            elif known is None and name not in values:
                known = "exhausted"
            given[name] = known
        entry = kind.tell(event(**given))
        level = kind.level if isinstance(kind.level, int) else kind.level(event(**given))
        assert level in (logging.DEBUG, logging.INFO, logging.WARNING)
        assert entry.message
        assert entry.fields["event"]
        logging.getLogger("penstock.test").log(level, entry.message, extra=entry.fields)
