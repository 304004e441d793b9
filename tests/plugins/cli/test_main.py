"""The group: help, plugins' subcommands, and what a broken plugin costs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from penstock_cli.main import OURS

Run = Callable[..., Result]
Install = Callable[..., None]

COMMAND = """
import click
from penstock.hookspecs import hookimpl

@hookimpl
def penstock_commands(group):
    @group.command("NAME")
    def it():
        "Says that it is there."
        click.echo("NAME is there")
"""
BROKEN = "raise RuntimeError('its own\\nfault, key sk-abcdefgh12345678')\n"


def test_help_lists_every_command_and_the_exit_codes(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for name, (_, line) in OURS.items():
        assert f"  {name} " in result.stdout
        assert line in result.stdout
    assert "130" in result.stdout


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_command_has_help(run: Run, name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert "Usage: penstock" in result.stdout


def test_the_version_is_shown(run: Run) -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout.split()[0]) == (0, "penstock")


def test_a_plugin_adds_a_command(run: Run, install: Install) -> None:
    install("extra", COMMAND.replace("NAME", "gauge"))
    assert run("gauge").stdout == "gauge is there\n"
    assert "Says that it is there." in run("--help").stdout


def test_an_unknown_command_is_exit_code_2(run: Run) -> None:
    result = run("nosuch")
    assert result.exit_code == 2
    assert "nosuch" in result.stderr


def test_a_broken_plugin_is_one_warning_line(run: Run, install: Install) -> None:
    install("broken", BROKEN)
    install("extra", COMMAND.replace("NAME", "gauge"))
    result = run("--help")
    assert result.exit_code == 0
    assert "gauge" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("warning: ")
    assert "broken" in line
    assert "its own fault" in line
    assert "sk-abcdefgh12345678" not in line


def test_a_plugin_whose_hook_breaks_adds_nothing(run: Run, install: Install) -> None:
    install("halfway", COMMAND.replace("NAME", "gauge") + "    raise ValueError('halfway')\n")
    result = run("gauge")
    assert result.exit_code == 2
    assert "warning: plugin 'halfway': ValueError: halfway" in result.stderr


def test_a_broken_plugin_does_not_concern_our_own_commands(run: Run, install: Install) -> None:
    install("broken", BROKEN)
    result = run("config", "init")
    assert result.exit_code == 0
    assert "broken" not in run("chat", "--help").stderr


def test_a_plugin_cannot_take_one_of_our_names_or_another_plugins(run: Run, install: Install) -> None:
    install("aaa", COMMAND.replace("NAME", "gauge"))
    install("bbb", COMMAND.replace("NAME", "gauge"))
    install("ccc", COMMAND.replace("NAME", "chat"))
    result = run("--help")
    assert "plugin 'bbb': its command 'gauge' is left out" in result.stderr
    assert "plugin 'ccc': its command 'chat' is left out" in result.stderr
    assert "Ask a model" in result.stdout


def test_a_denied_plugin_adds_nothing(run: Run, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("extra", COMMAND.replace("NAME", "gauge"))
    monkeypatch.setenv("PENSTOCK_PLUGINS", "-extra")
    assert run("gauge").exit_code == 2


def test_with_a_wrong_configuration_help_still_works(run: Run, surroundings: Path, install: Install) -> None:
    install("extra", COMMAND.replace("NAME", "gauge"))
    (surroundings / "penstock.toml").write_text("version = 7\n", encoding="utf-8")
    result = run("--help")
    assert result.exit_code == 0
    assert "gauge" not in result.stdout
    assert "penstock.toml:1" in result.stderr


def test_our_own_help_imports_neither_a_plugin_nor_pydantic() -> None:
    code = (
        "import sys; from penstock_cli.main import cli; "
        "cli(['config', '--help'], standalone_mode=False); "
        "heavy = ('pydantic', 'rich', 'requests', 'aiohttp', 'penstock.client'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_bug_is_a_message_and_not_a_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("penstock_cli.plugins_command.find_plugins", broken)
    result = run("plugins")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ZeroDivisionError: oops")
    assert "Traceback" not in result.stderr
    assert "Traceback" in run("--debug", "plugins").stderr
