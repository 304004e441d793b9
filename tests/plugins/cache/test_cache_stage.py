"""The cache in front of a provider, in every colour."""

from __future__ import annotations

import logging
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import (
    ConfigError,
    InvalidRequestError,
    ModelNotFoundError,
    OverloadedError,
    StreamInterrupted,
)
from penstock.events import CacheFailed, CacheLookup, CacheNotStored, CacheStored, CallStarted
from penstock.requests import chat_request
from penstock.runtime import drive
from penstock_cache import CacheStage
from penstock_testkit import Simulator
from penstock_testkit.faults import cut, ok, status

Make = Callable[..., Any]
LOOKED = ("result", "reason")


def cached(make: Make, faults: Any = (), *, settings: Any = None, **arguments: Any) -> Any:
    return make(faults, pipeline=["cache"], cache=settings or {}, **arguments)


def wait(world: Any, seconds: float) -> None:
    """Let time pass; in the simulation, background work too."""
    if world.colour == "blocking":
        drive(world.runtime.sleep(seconds))
    else:
        world.run(world.runtime.sleep(seconds))


def quiesce(world: Any) -> None:
    """Let background work end."""
    stage: CacheStage = world.client.stage("cache")

    async def ended() -> None:
        for job in [*stage.jobs._jobs]:
            await job.ended.wait(world.now() + 10)

    drive(ended()) if world.colour == "blocking" else world.run(ended())


def results(world: Any) -> list[tuple[str, str]]:
    return [(event.result, event.reason) for event in world.events if isinstance(event, CacheLookup)]


def reasons(world: Any) -> list[str]:
    return [event.reason for event in world.events if isinstance(event, CacheNotStored)]


# Hits


def test_a_repeated_call_is_answered_without_a_request(world: Make) -> None:
    it = cached(world)
    first = it.chat(temperature=0)
    wait(it, 10)
    second = it.chat(temperature=0)
    assert it.count == 1
    assert second.response == first.response
    assert (first.cached, first.age, first.cost) == (False, None, None)
    assert (second.cached, second.age, second.cost) == (True, 10.0, Decimal(0))
    assert (second.target, second.attempts) == (first.target, ())
    assert results(it) == [("miss", "absent"), ("hit", "fresh")]


def test_embeddings_are_cached_and_come_back_equal(world: Make) -> None:
    it = cached(world)
    first, second = it.embed(["a", "b"]), it.embed(["a", "b"])
    assert second.response == first.response
    assert (second.cached, it.count) == (True, 1)
    it.embed(["b", "a"])
    assert it.count == 2


def test_a_replay_is_the_original_stream_event_by_event(world: Make) -> None:
    it = cached(world)
    original, _ = it.stream("Tell me", temperature=0)
    again, stream = it.stream("Tell me", temperature=0)
    assert again == original
    assert any(chunk.usage for chunk in again)
    assert len(original) > 5
    assert (stream.answer.cached, it.count) == (True, 1)


def test_a_streamed_and_a_plain_call_share_an_entry(world: Make) -> None:
    it = cached(world)
    chunks, stream = it.stream("one", temperature=0)
    plain = it.chat("one", temperature=0)
    assert plain.cached
    assert plain.response == stream.answer.response
    whole = it.chat("two", temperature=0)
    chunks, stream = it.stream("two", temperature=0)
    assert stream.answer.response == whole.response
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert it.count == 2


def test_replayed_tool_calls_are_the_original_ones(world: Make) -> None:
    it = cached(world, settings={"mode": "aggressive"})
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    ask: dict[str, Any] = {"tools": tools, "tool_choice": "required"}
    original, _ = it.stream("weather please", **ask)
    again, stream = it.stream("weather please", **ask)
    assert again == original
    assert stream.answer.tool_calls
    assert stream.answer.tool_calls == it.chat("weather please", **ask).tool_calls
    assert it.count == 1


def test_a_replay_that_is_left_early_is_abandoned_and_harms_nothing(world: Make) -> None:
    it = cached(world)
    it.stream("Tell me", temperature=0)
    chunks, _ = it.stream("Tell me", temperature=0, take=2)
    assert len(chunks) == 2
    assert it.chat("Tell me", temperature=0).cached


# What is kept


def test_a_cut_off_answer_is_not_kept(world: Make) -> None:
    it = cached(world)
    assert it.chat("many words please", temperature=0, max_tokens=2).finish_reason == "length"
    assert not it.chat("many words please", temperature=0, max_tokens=2).cached
    assert (it.count, reasons(it)) == (2, ["incomplete", "incomplete"])


def test_an_interrupted_stream_is_not_kept(world: Make) -> None:
    it = cached(world, [cut(after=2)])
    with pytest.raises(StreamInterrupted) as caught:
        it.stream(temperature=0)
    assert caught.value.partial is not None
    assert not it.chat(temperature=0).cached
    assert it.count == 2
    assert len(it.client.stage("cache").flights) == 0


def test_a_stream_that_was_left_early_is_not_kept(world: Make) -> None:
    it = cached(world)
    it.stream(temperature=0, take=2)
    assert it.transport.open == ()
    assert not it.chat(temperature=0).cached
    assert len(it.client.stage("cache").flights) == 0


def test_an_error_is_not_kept(world: Make) -> None:
    it = cached(world, [status(503)])
    with pytest.raises(OverloadedError):
        it.chat(temperature=0)
    assert not it.chat(temperature=0).cached


def test_a_sampled_answer_is_not_looked_up_unless_asked(world: Make) -> None:
    it = cached(world)
    it.chat()
    it.chat(temperature=0.7)
    assert results(it) == [("bypass", "sampled")] * 2
    it.chat(temperature=0.7, cache=True)
    assert it.chat(temperature=0.7, cache=True).cached
    assert it.count == 3


def test_selective_caches_what_a_rule_or_the_call_names(world: Make) -> None:
    it = cached(world, settings={"mode": "selective", "models": ["openai/gpt-4o*"]})
    for _ in range(2):
        it.chat(temperature=1)
        it.chat(temperature=1, model="openai/o3")
    assert it.chat(temperature=1).cached
    it.chat(temperature=1, model="openai/o3", cache=True)
    assert it.chat(temperature=1, model="openai/o3", cache=True).cached
    assert it.count == 4


def test_a_disabled_cache_is_absent(world: Make) -> None:
    it = cached(world, settings={"targets": {"openai/gpt-4o*": {"mode": "disabled"}}})
    it.chat(temperature=0)
    it.chat(temperature=0)
    assert (it.count, results(it)) == (2, [])
    it.chat(temperature=0, model="openai/o3")
    assert it.chat(temperature=0, model="openai/o3").cached


def test_the_credential_is_part_of_the_key(make_world: Make, tmp_path: Path) -> None:
    settings = {"store": "sqlite", "path": str(tmp_path / "cache.sqlite")}
    one, two = "sk-one-0123456789", "sk-two-0123456789"
    for key, expected in ((one, False), (two, False), (one, True)):
        it = make_world(
            pipeline=["cache"],
            cache=settings,
            providers={"openai": {"api_key": key, "base_url": "http://sim.test/v1"}},
        )
        assert it.chat(temperature=0).cached is expected


# Life


def test_an_answer_lives_as_long_as_the_configuration_says(world: Make) -> None:
    it = cached(world, settings={"ttl": "1m"})
    it.chat(temperature=0)
    wait(it, 59.9)
    assert it.chat(temperature=0).cached
    wait(it, 0.1)
    assert not it.chat(temperature=0).cached
    assert (it.count, results(it)[-1]) == (2, ("miss", "absent"))


def test_the_content_decides_within_bounds_and_shortens_by_a_tenth_at_most(world: Make) -> None:
    it = cached(world)
    for number in range(20):
        it.chat(f"question {number}", temperature=0, model="openai/gpt-4o-2024-08-06")
    lives = [event.ttl for event in it.events if isinstance(event, CacheStored)]
    assert all(3240.0 <= life <= 3600.0 for life in lives)
    assert len(set(lives)) == 20


def test_another_rule_decides_when_it_is_named(world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    import penstock_cache.ttl

    monkeypatch.setattr(penstock_cache.ttl, "always_ten", lambda *a, **k: 10.0, raising=False)
    it = cached(
        world,
        settings={"ttl_rule": "penstock_cache.ttl:always_ten", "min_ttl": 1, "jitter": 0, "max_ttl": 60},
    )
    it.chat(temperature=0)
    assert [event.ttl for event in it.events if isinstance(event, CacheStored)] == [10.0]


def test_a_rule_that_fails_costs_the_entry_and_not_the_call(
    world: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import penstock_cache.ttl

    monkeypatch.setattr(penstock_cache.ttl, "broken", lambda *a, **k: 1 / 0, raising=False)
    it = cached(world, settings={"ttl_rule": "penstock_cache.ttl:broken"})
    it.chat(temperature=0)
    assert not it.chat(temperature=0).cached
    assert [event.operation for event in it.events if isinstance(event, CacheFailed)] == ["ttl_rule"] * 2
    assert len(caplog.records) == 1


# What a call may say


def test_a_call_can_refresh_an_answer(world: Make) -> None:
    it = cached(world, [ok("one"), ok("two")])
    it.chat(temperature=0)
    assert it.chat(temperature=0, cache="refresh").text == "two"
    again = it.chat(temperature=0)
    assert (again.text, again.cached) == ("two", True)
    assert results(it)[1] == ("miss", "refresh")
    assert not it.chat(temperature=0, cache={"refresh": True}).cached


def test_a_call_can_set_the_life_of_its_answer(world: Make) -> None:
    it = cached(world)
    it.chat(cache={"ttl": "5s"})
    wait(it, 4.9)
    assert it.chat(cache=True).cached
    wait(it, 0.2)
    assert not it.chat(cache={"ttl": 0}).cached
    assert reasons(it) == ["ttl"]


def test_namespaces_of_calls_are_apart(world: Make) -> None:
    it = cached(world)
    it.chat(temperature=0, cache={"namespace": "ada"})
    assert not it.chat(temperature=0, cache={"namespace": "bob"}).cached
    assert not it.chat(temperature=0).cached
    assert it.chat(temperature=0, cache={"namespace": "ada"}).cached
    it.chat(cache={"namespace": "ada"})
    assert results(it)[-1] == ("bypass", "sampled")


def test_a_call_can_leave_the_cache_out(world: Make) -> None:
    it = cached(world)
    for _ in range(2):
        assert not it.chat(temperature=0, cache=False).cached
    assert results(it) == []


@pytest.mark.parametrize("value", [7, "always", {"ttl": "soon"}, {"tll": 5}, {"ttl": -1}])
def test_what_no_cache_can_do_is_refused(make_world: Make, value: Any) -> None:
    it = make_world(pipeline=["cache"])
    with pytest.raises(InvalidRequestError) as caught:
        it.chat(cache=value)
    assert caught.value.param == "cache"
    assert it.count == 0


# Stale


AGGRESSIVE = {"mode": "aggressive", "ttl": 60}


def test_a_stale_answer_is_given_at_once_and_renewed_behind_the_scenes(world: Make) -> None:
    it = cached(world, [ok("old"), ok("new")], settings=AGGRESSIVE)
    it.chat()
    wait(it, 61)
    stale = it.chat()
    assert (stale.text, stale.cached, stale.age) == ("old", True, 61.0)
    quiesce(it)
    fresh = it.chat()
    assert (fresh.text, fresh.cached, it.count) == ("new", True, 2)
    assert results(it) == [
        ("miss", "absent"),
        ("stale", "revalidating"),
        ("miss", "expired"),
        ("hit", "fresh"),
    ]
    started = [event.call.id for event in it.events if isinstance(event, CallStarted)]
    assert len(started) == 4
    assert [name.endswith("-revalidate") for name in started].count(True) == 1


def test_a_stale_stream_is_renewed_as_a_stream(world: Make) -> None:
    it = cached(world, [ok("old words"), ok("new words")], settings=AGGRESSIVE)
    it.stream()
    wait(it, 61)
    chunks, _ = it.stream()
    assert "".join(chunk.text for chunk in chunks) == "old words"
    quiesce(it)
    chunks, _ = it.stream()
    assert "".join(chunk.text for chunk in chunks) == "new words"
    assert len(chunks) > 2
    assert it.count == 2
    assert it.simulator.count(stream=True) == 2


def test_a_renewal_that_fails_leaves_the_old_answer(world: Make) -> None:
    it = cached(world, [ok("old"), status(500), ok("new")], settings=AGGRESSIVE)
    it.chat()
    wait(it, 61)
    it.chat()
    quiesce(it)
    failed = [event for event in it.events if isinstance(event, CacheFailed)]
    assert [event.operation for event in failed] == ["revalidate"]
    assert it.chat().text == "old"
    quiesce(it)
    assert it.chat().text == "new"


def test_an_old_answer_is_better_than_an_error_for_a_day(world: Make) -> None:
    it = cached(world, [ok("old"), status(503), status(400), status(503)], settings=AGGRESSIVE)
    it.chat()
    wait(it, 60 + 3600)
    stale = it.chat()
    assert (stale.text, stale.cached, stale.age) == ("old", True, 3660.0)
    assert results(it)[-2:] == [("miss", "expired"), ("stale", "error")]
    with pytest.raises(InvalidRequestError):
        it.chat()
    wait(it, 86_400 - 3600)
    with pytest.raises(OverloadedError):
        it.chat()


def test_outside_aggressive_mode_nothing_is_stale_unless_configured(world: Make) -> None:
    it = cached(world, [ok("old"), status(503), ok("x"), status(503)], settings={"ttl": 60})
    it.chat(temperature=0)
    wait(it, 60)
    with pytest.raises(OverloadedError):
        it.chat(temperature=0)
    other = cached(world, [ok("old"), status(503)], settings={"ttl": 60, "stale_if_error": "1m"})
    other.chat(temperature=0)
    wait(other, 119)
    assert other.chat(temperature=0).text == "old"


# Errors remembered


def test_errors_that_only_repeat_are_remembered_when_asked_for(world: Make) -> None:
    it = cached(world, [status(404), status(404)], settings={"negative": True})
    for _ in range(3):
        with pytest.raises(ModelNotFoundError):
            it.chat(temperature=0)
    assert (it.count, results(it)[1:]) == (1, [("hit", "negative")] * 2)
    wait(it, 30)
    with pytest.raises(ModelNotFoundError):
        it.chat(temperature=0)
    assert it.count == 2
    it.run(it.client.stage("cache").clear())
    assert it.chat(temperature=0).text


def test_by_default_no_error_is_remembered(world: Make) -> None:
    it = cached(world, [status(404)])
    with pytest.raises(ModelNotFoundError):
        it.chat(temperature=0)
    assert it.chat(temperature=0).text


# A store that fails


class BrokenStore:
    def __init__(self, *, get: bool = True, set: bool = True) -> None:
        self.broken = (get, set)

    def now(self) -> float:
        return 0.0

    async def get(self, key: str) -> bytes | None:
        if self.broken[0]:
            raise ConnectionError("redis://user:secret@host is down")
        return b"nonsense"

    async def set(self, key: str, value: bytes, *, expires: float, names: tuple[str, ...]) -> None:
        if self.broken[1]:
            raise ConnectionError("redis://user:secret@host is down")

    async def close(self) -> None: ...

    def size(self) -> Any:
        return (0, 0, 0)


@pytest.mark.parametrize(
    ("store", "operations"),
    [
        (BrokenStore(), ["get", "set"]),
        (BrokenStore(get=False), ["decode", "set"]),
        (BrokenStore(get=False, set=False), ["decode"]),
    ],
    ids=["down", "read-only", "corrupt"],
)
def test_a_store_that_fails_fails_no_call(
    world: Make, store: Any, operations: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    it = cached(world)
    it.client.stage("cache").store = store
    with caplog.at_level(logging.WARNING, "penstock"):
        for _ in range(3):
            assert it.chat(temperature=0).text
    assert it.count == 3
    failed = [event.operation for event in it.events if isinstance(event, CacheFailed)]
    assert failed == operations * 3
    (finding,) = it.client.health().checks["cache:store"]
    assert finding.status == "warn"
    assert "secret" not in repr(finding)
    assert results(it) == [("error", "store")] * 3
    assert len(caplog.records) == len(operations)
    assert "secret" not in caplog.text


# Operators


def test_answers_can_be_invalidated_by_key_model_or_all_at_once(world: Make) -> None:
    it = cached(world)
    stage: CacheStage = it.client.stage("cache")

    def fill() -> None:
        it.chat(temperature=0)
        it.chat(temperature=0, model="openai/o3")

    fill()
    key = next(event.key for event in it.events if isinstance(event, CacheStored))
    assert it.run(stage.invalidate(key)) == 1
    assert not it.chat(temperature=0).cached
    assert it.run(stage.invalidate("openai/o*")) == 1
    assert it.chat(temperature=0).cached
    fill()
    assert it.run(stage.clear()) == 2
    assert not it.chat(temperature=0).cached


def test_stats_count_what_happened(world: Make) -> None:
    it = cached(world)
    it.chat(temperature=0)
    it.chat(temperature=0)
    it.chat(temperature=0)
    it.chat()
    stats = it.client.stage("cache").stats()
    assert (stats.hits, stats.misses, stats.stores, stats.bypasses, stats.entries) == (2, 1, 1, 1, 1)
    assert stats.hit_rate == pytest.approx(2 / 3)
    assert stats.bytes > 0


def test_the_store_keeps_its_bounds(world: Make) -> None:
    it = cached(world, settings={"max_entries": 3})
    for number in range(5):
        it.chat(f"question {number}", temperature=0)
    stats = it.client.stage("cache").stats()
    assert (stats.entries, stats.evictions) == (3, 2)
    assert it.chat("question 4", temperature=0).cached
    assert not it.chat("question 0", temperature=0).cached


# On disk


def test_answers_outlive_the_client_and_the_file_holds_nothing_else(world: Make, tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    settings = {"store": "sqlite", "path": str(path), "ttl": "1h"}
    # By itself the simulator repeats the question in its answer.
    first = cached(world, settings=settings, simulator=Simulator(text="forty two"))
    whole, _ = first.stream("a confidential question", temperature=0)
    first.run(first.client.close())
    second = cached(world, settings=settings)
    again, stream = second.stream("a confidential question", temperature=0)
    assert (again, stream.answer.cached, second.count) == (whole, True, 0)
    second.run(second.client.close())
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"forty" in written
    assert b"confidential" not in written
    assert b"sk-test" not in written


# Configuration


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"store": "sqlite"}, "needs a file"),
        ({"store": "memcached"}, "memcached"),
        ({"ttl_rule": "nowhere:nothing"}, "nowhere"),
        ({"ttl_rule": "not a path"}, "ttl_rule"),
        ({"min_ttl": 60, "max_ttl": 30}, "min_ttl"),
        ({"mode": "sometimes"}, "mode"),
    ],
)
def test_what_cannot_work_is_a_config_error(make_world: Make, settings: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_world(pipeline=["cache"], cache=settings)


def test_the_store_cannot_differ_between_targets(make_world: Make) -> None:
    it = make_world(pipeline=["cache"], cache={"targets": {"openai/gpt-4o*": {"max_entries": 5}}})
    with pytest.raises(ConfigError, match="max_entries"):
        it.chat()


def test_short_environment_names_are_honoured(make_world: Make) -> None:
    it = make_world(pipeline=["cache"], environ={"CACHE_TTL": "10", "CACHE_MAX_SIZE": "7"})
    stage = it.client.stage("cache")
    assert (stage._config.ttl, stage._config.max_entries) == (10.0, 7)
    off = make_world(pipeline=["cache"], environ={"CACHE_ENABLED": "false"})
    off.chat(temperature=0)
    off.chat(temperature=0)
    assert off.count == 2


def test_a_cache_without_a_pipeline_binds_itself(make_world: Make) -> None:
    it = make_world(pipeline=["cache"])
    stage: CacheStage = it.client.stage("cache")
    request = chat_request("openai/m", "Hi", {"temperature": 0}, stream=False)
    call, proceed = it.client._engine.new_call(request, options={"cache": False})
    call.options = {}
    first = drive(stage(call, proceed))
    assert drive(stage(call, proceed)).response == first.response
    assert it.count == 1


def test_the_same_story_has_the_same_events_in_every_colour(make_world: Make) -> None:
    def story(colour: str) -> list[Any]:
        it = make_world(
            colour,
            [ok("one"), status(503), cut(after=1), ok("two")],
            simulator=None,
            pipeline=["cache"],
            cache={"ttl": 60},
        )
        it.chat(temperature=0)
        it.chat(temperature=0)
        it.stream(temperature=0)
        wait(it, 61)
        for _ in range(2):
            with pytest.raises((OverloadedError, StreamInterrupted)):
                it.stream(temperature=0)
        it.stream(temperature=0)
        it.chat(temperature=0)
        return [*it.trace(), *results(it)]

    blocking, asynchronous, simulated = (story(colour) for colour in ("blocking", "async", "simulated"))
    assert blocking == asynchronous == simulated
