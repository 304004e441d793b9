"""`penstock plugins`: what is installed, also when it is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

Run = Callable[..., Result]
Install = Callable[..., None]

BROKEN = "raise RuntimeError('its own fault, key sk-abcdefgh12345678')\n"
STAGE = """
from penstock.config import StageConfig
from penstock.hookspecs import hookimpl
from penstock.specs import Slot, StageSpec

@hookimpl
def penstock_register_stages():
    return [StageSpec(name="NAME", config=StageConfig, create=None, slot=Slot("call", 5), api=API)]

@hookimpl
def penstock_pre_request(call): ...
"""


def listed(run: Run, *arguments: str) -> dict[str, dict[str, Any]]:
    result = run("plugins", "--json", *arguments)
    assert result.exit_code == 0, result.output
    return {each["distribution"]: each for each in json.loads(result.stdout)}


def test_each_plugin_is_listed_with_what_it_registers(run: Run) -> None:
    plugins = listed(run)
    assert plugins["penstock-openai"]["registers"] == {"providers": ["openai"]}
    assert plugins["penstock-wire"]["registers"] == {"transports": ["wire"]}
    retry = plugins["penstock-retry"]
    assert retry == {
        "name": "retry",
        "distribution": "penstock-retry",
        "version": retry["version"],
        "status": "ok",
        "api": "1.0",
        "registers": {"stages": ["retry"]},
        "error": None,
    }


def test_the_table_has_the_same(run: Run) -> None:
    result = run("plugins")
    assert result.exit_code == 0
    (row,) = [line for line in result.stdout.splitlines() if "penstock-retry" in line]
    assert ["stages: retry" in row, "1.0" in row, " ok" in row] == [True] * 3


def test_hooks_are_listed_too(run: Run, install: Install) -> None:
    install("watcher", STAGE.replace("NAME", "watcher").replace("API", "(1, 0)"))
    assert listed(run)["other-watcher"]["registers"] == {"stages": ["watcher"], "hooks": ["pre_request"]}


def test_a_broken_plugin_is_shown_with_its_cause_and_the_others_work(run: Run, install: Install) -> None:
    install("broken", BROKEN)
    plugins = listed(run)
    assert plugins["other-broken"]["status"] == "broken"
    assert "its own fault" in plugins["other-broken"]["error"]
    assert "sk-abcdefgh12345678" not in plugins["other-broken"]["error"]
    assert plugins["penstock-retry"]["status"] == "ok"
    result = run("plugins")
    assert result.exit_code == 0
    assert "broken" in result.stdout


def test_a_plugin_of_another_contract_is_broken(run: Run, install: Install) -> None:
    install("future", STAGE.replace("NAME", "future").replace("API", "(2, 0)"))
    future = listed(run)["other-future"]
    assert future["status"] == "broken"
    assert "2.0" in future["error"]


def test_two_distributions_under_one_name_are_both_shown(run: Run, install: Install) -> None:
    source = STAGE.replace("NAME", "twin").replace("API", "(1, 0)")
    install("twin", source, distribution="left-twin")
    install("twin", source, distribution="right-twin")
    plugins = listed(run)
    for name in ("left-twin", "right-twin"):
        assert plugins[name]["status"] == "duplicate"
        assert "left-twin 9.9" in plugins[name]["error"]
        assert "right-twin 9.9" in plugins[name]["error"]


def test_two_plugins_that_register_one_stage_are_told_apart(run: Run, install: Install) -> None:
    install("zzz", STAGE.replace("NAME", "retry").replace("API", "(1, 0)"))
    other = listed(run)["other-zzz"]
    assert other["status"] == "duplicate"
    assert "penstock-retry" in other["error"]


def test_a_denied_plugin_is_not_imported(run: Run, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("broken", BROKEN)
    monkeypatch.setenv("PENSTOCK_PLUGINS", "-broken")
    denied = listed(run)["other-broken"]
    assert (denied["status"], denied["error"]) == ("denied", None)
