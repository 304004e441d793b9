"""`penstock demo`: it counts, and it notices when a count is wrong."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from penstock_cli.demo import acts as programme
from penstock_cli.demo import scenes as script
from penstock_cli.demo.acts import Act, acts
from penstock_cli.demo.facts import shortened
from penstock_cli.demo.scenes import Scene, again, final, implied_requests, scenes
from penstock_testkit import faults

Run = Callable[..., Result]

BAD = faults.status(503)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, run: Run) -> Callable[..., Result]:
    """Run the demo with other scenes."""

    def with_scenes(*given: Scene) -> Result:
        monkeypatch.setattr(script, "scenes", lambda *, fast, seed: given)
        monkeypatch.setattr(programme, "acts", lambda *, fast: ())
        return run("demo", "--fast", "--plain")

    return with_scenes


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, run: Run) -> Callable[..., Result]:
    """Run the demo with other acts and without scenes."""

    def with_acts(*given: Act) -> Result:
        monkeypatch.setattr(script, "scenes", lambda *, fast, seed: ())
        monkeypatch.setattr(programme, "acts", lambda *, fast: given)
        return run("demo", "--fast", "--plain")

    return with_acts


def act(name: str) -> Act:
    """An act of the demo."""
    (found,) = [each for each in acts(fast=True) if each.name == name]
    return found


def changed(name: str, number: int, **values: Any) -> Act:
    """The act, one of its steps said otherwise."""
    given = act(name)
    steps = [*given.steps]
    steps[number] = replace(steps[number], **values)
    return replace(given, steps=tuple(steps))


@pytest.mark.parametrize(
    ("met", "requests"),
    [
        ((), 1),
        (again(BAD), 2),
        (again(BAD, BAD), 3),
        (again(BAD, BAD, BAD), 3),
        (again(BAD, BAD, BAD, BAD), 3),
        (final(BAD), 1),
        ((*again(BAD), *final(BAD)), 2),
    ],
)
def test_a_script_implies_a_number_of_requests(met: Any, requests: int) -> None:
    assert implied_requests(met) == requests


def test_the_demo_succeeds_and_prints_both_numbers(run: Run) -> None:
    result = run("demo", "--fast", "--plain")
    assert (result.exit_code, result.stderr) == (0, "")
    expected = sum(sum(scene.requests) for scene in scenes(fast=True, seed=7))
    expected += sum(sum(step.requests.values()) for act in acts(fast=True) for step in act.steps)
    assert f"requests: {expected} received, {expected} implied by the script" in result.stdout
    for colour in ("blocking", "async"):
        assert f"s  {colour}" in result.stdout
    assert "waits" in result.stdout


def test_the_scenes_cover_the_colours_and_kinds() -> None:
    kinds = {(scene.colour, scene.kind) for scene in scenes(fast=False, seed=1)}
    assert {("blocking", "chat"), ("blocking", "stream"), ("async", "chat"), ("async", "stream")} <= kinds
    assert len({scene.name for scene in scenes(fast=False, seed=1)}) == len(scenes(fast=False, seed=1))


def test_a_seed_writes_one_script() -> None:
    def storm(seed: int) -> tuple[int, ...]:
        return scenes(fast=True, seed=seed)[-1].requests

    assert storm(3) == storm(3)
    assert storm(3) != storm(4)


def test_the_demo_knows_nothing_of_the_users_configuration(
    run: Run, surroundings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (surroundings / "penstock.toml").write_text("nonsense = [", encoding="utf-8")
    monkeypatch.setenv("MAX_RETRIES", "0")
    monkeypatch.setenv("PENSTOCK_ENV", "production")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    result = run("demo", "--fast", "--plain")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("colour", ["blocking", "async"])
def test_a_number_that_is_not_what_the_script_implies_is_exit_code_1(
    play: Callable[..., Result], colour: Any
) -> None:
    wrong = Scene(name="miscounted", colour=colour, scripts=(final(faults.status(503)),))
    result = play(Scene(name="fine", colour=colour), wrong)
    assert result.exit_code == 1
    assert "miscounted, call 1: 2 requests, the script implies 1" in result.stderr
    assert "requests: 3 received, 2 implied by the script" in result.stdout
    assert "fine" not in result.stderr


def test_a_missing_answer_is_exit_code_1(play: Callable[..., Result]) -> None:
    result = play(Scene(name="silent", colour="blocking", scripts=(final(faults.status(400)),)))
    assert result.exit_code == 1
    assert "no answer: InvalidRequestError" in result.stderr


def test_a_wrong_answer_is_exit_code_1(play: Callable[..., Result]) -> None:
    result = play(Scene(name="mistaken", colour="async", scripts=(final(faults.ok("something else")),)))
    assert result.exit_code == 1
    assert "the answer is not the one the model gave" in result.stderr


@pytest.mark.parametrize(
    ("scene", "says"),
    [
        (Scene(name="x", colour="blocking", ends="ServerError"), "an answer instead of ServerError"),
        (
            Scene(name="x", colour="blocking", scripts=(final(faults.status(400)),), ends="ServerError"),
            "InvalidRequestError instead of ServerError",
        ),
        (
            Scene(
                name="x",
                colour="blocking",
                scripts=(final(faults.status(400)),),
                ends="InvalidRequestError",
                partial=True,
            ),
            "does not carry what had arrived",
        ),
        (
            Scene(name="x", colour="blocking", scripts=(again(faults.status(503)),), hint=30.0),
            "the server asked for 30 s",
        ),
    ],
)
def test_whatever_else_is_not_as_it_must_be_is_said(
    play: Callable[..., Result], scene: Scene, says: str
) -> None:
    result = play(scene)
    assert result.exit_code == 1
    assert says in result.stderr


def test_without_a_terminal_it_prints_lines_in_a_process_of_its_own(command: list[str]) -> None:
    done = subprocess.run([*command, "demo", "--fast"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "every answer and every number is what the script implies" in done.stdout


def test_on_a_terminal_a_table_is_drawn(terminal: Callable[..., Any]) -> None:
    shown = terminal("demo", "--fast")
    assert shown.end() == 0
    assert "unavailable twice" in shown.shown
    assert "3/3" in shown.shown
    assert "refusals cost no request" in shown.shown
    assert "0/0" in shown.shown
    assert "\x1b[" in shown.shown


def test_without_its_packages_the_demo_says_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from penstock_cli.demo import command

    monkeypatch.setattr(command, "NEEDS", {"penstock_none": "penstock-none"})
    result = run("demo")
    assert result.exit_code == 2
    assert "penstock-none" in result.stderr
    assert "penstock-cli[demo]" in result.stderr


def test_a_scene_can_be_changed_by_replacing_its_data() -> None:
    scene = scenes(fast=True, seed=7)[1]
    assert scene.requests == (3,)
    assert replace(scene, scripts=(again(BAD),)).requests == (2,)


# The acts


def test_the_acts_show_every_stage_that_needs_several_calls() -> None:
    for fast in (True, False):
        given = acts(fast=fast)
        assert [each.name for each in given] == ["breaker", "limiter", "cache", "failover", "restart"]
        assert {each.colour for each in given} == {"blocking", "async"}
        for each in given:
            models = [target.partition("/")[2] for target in each.targets]
            assert len(set(models)) == len(models)  # requests are counted by model


def test_a_breaker_opens_and_recovers_before_your_eyes(stage: Callable[..., Result]) -> None:
    result = stage(act("breaker"))
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert "3 ServerError" in lines[0]
    assert "3 of 3 requests (500 x3, opens for 300 ms)" in lines[0]
    assert "0 of 0 requests (refused x5)" in lines[1]
    assert re.search(r"\(rests \d+ ms, half open, ok\)", lines[2])
    assert "(ok, closes)" in lines[3]
    assert "3 of 3 requests (ok x3)" in lines[4]


def test_a_limiter_makes_calls_wait_and_says_how_long(stage: Callable[..., Result]) -> None:
    result = stage(act("limiter"))
    assert result.exit_code == 0
    queue, overflow = [line for line in result.stdout.splitlines() if "limiter: " in line]
    assert queue.count("waited") == overflow.count("waited") == 4
    assert "6 answered in" in queue
    assert "6 answered and 1 RateLimited in" in overflow
    assert "rejected, room in" in overflow


def test_a_cache_answers_plain_streamed_and_crowded(stage: Callable[..., Result]) -> None:
    result = stage(act("cache"))
    assert result.exit_code == 0
    assert "12 answered" in result.stdout
    assert "1 of 1 requests (miss, ok, shared x11)" in result.stdout
    assert "the same as a stream: 1 answered" in result.stdout


def test_a_route_fails_over_and_begins_a_cut_stream_anew(stage: Callable[..., Result]) -> None:
    result = stage(act("failover"), act("restart"))
    assert result.exit_code == 0
    assert "503 at primary, turns to backup, ok at backup" in result.stdout
    assert "3 of 3 requests (skips primary, ok at backup" in result.stdout
    assert "restarts at backup, reset after" in result.stdout
    assert "requests: 9 received, 9 implied by the script" in result.stdout


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            changed("breaker", 1, requests={"demo/model": 1}),
            "breaker, refusals cost no request: 0 requests to demo/model, the script implies 1",
        ),
        (
            changed("breaker", 1, errors={"ServerError": 5}),
            "errors 5 BreakerOpen instead of 5 ServerError: demo/model: the circuit breaker is open",
        ),
        (changed("breaker", 3, facts={}), "the stages did 1 closes instead of none"),
        (changed("cache", 1, cached=2), "3 answers came from the cache instead of 2"),
        (changed("restart", 0, resets=0), "1 resets instead of 0"),
        (
            replace(act("restart"), targets={**act("restart").targets, "backup/model-2": (faults.ok("no"),)}),
            "1 answers are not the one the model gave",
        ),
        (
            replace(act("cache"), pipeline=("limiter",), tables={}),
            "1 requests to demo/slow, the script implies 0",
        ),
    ],
)
def test_a_step_that_goes_otherwise_is_exit_code_1(
    stage: Callable[..., Result], given: Act, says: str
) -> None:
    result = stage(given)
    assert result.exit_code == 1
    assert says in result.stderr
    assert "every answer" not in result.stdout


def test_repeated_words_are_counted() -> None:
    assert shortened(["a", "a", "b", "a"]) == ["a x2", "b", "a"]
    assert shortened([]) == []
