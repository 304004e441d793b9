"""The `penstock` command on a configuration full of secrets: neither stream shows one, nor with `--debug`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from penstock_cli.main import cli
from penstock_testkit import Simulator, faults

COMMANDS: dict[str, tuple[str, ...]] = {
    "check": ("config", "check"),
    "show": ("config", "show"),
    "show with origins": ("config", "show", "--origin"),
    "schema": ("config", "schema"),
    "explain a route": ("explain", "fast"),
    "explain a target": ("explain", "openai/first"),
    "explain nobody's": ("explain", "nobody/sk-{core}"),
    "health": ("health",),
    "health as JSON": ("health", "--json"),
    "plugins": ("plugins",),
    "models": ("models",),
    "models of one": ("models", "openai"),
    "chat": ("chat", "fast", "Hello"),
    "chat with its trace": ("chat", "fast", "Hello", "--trace"),
    "chat as JSON": ("chat", "openai/first", "Hello", "--json"),
    "chat with a wrong parameter": ("chat", "openai/first", "Hello", "-p", "temperature=sk-{core}"),
    "price": ("price", "openai/first", "100", "20"),
}
UPSTREAM: dict[str, Callable[[str], list[Any]]] = {
    "works": lambda said: [],
    "refuses": lambda said: [faults.status(401, message=said, headers={"x-request-id": said})] * 9,
    "fails": lambda said: [faults.status(500, body=f"<html>{said}</html>")] * 9,
    "breaks": lambda said: [faults.error_event(500, after=1, message=said)] * 9,
}


@pytest.mark.parametrize("upstream", UPSTREAM)
@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_comes_out_of_the_command(
    name: str, upstream: str, net: Any, setting: Any, secrets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in setting.environ.items():
        monkeypatch.setenv(variable, value)
    setting.write("http://127.0.0.1:9/v1")
    stray = secrets.plant("argument of the command")
    said = secrets.quoted()
    with Simulator(script={m: UPSTREAM[upstream](said) for m in ("first", "second")}).serve() as server:
        setting.write(server.url)
        arguments = [each.format(core=stray) for each in COMMANDS[name]]
        for more in ([], ["--debug"]):
            result = CliRunner().invoke(cli, [*arguments, *more], prog_name="penstock")
            net.text("stdout", result.stdout)
            net.text("stderr", result.stderr)
            if result.exception is not None:
                net.error("exception", result.exception)
    assert result.stdout + result.stderr
    for file, data in setting.files():
        net.text(file, data)
    found = net.found()
    assert not found, "\n".join(found)


@pytest.mark.parametrize("command", [("config", "check"), ("config", "show"), ("chat", "openai/first", "Hi")])
def test_nothing_comes_out_of_a_configuration_that_is_wrong(
    command: tuple[str, ...], net: Any, setting: Any, secrets: Any
) -> None:
    value = secrets.plant("wrong value", "sk-{}")
    setting.write(
        "http://127.0.0.1:9/v1",
        more=f'[timeouts]\nconnect = "{value}"\n[providers.more]\nplugin = "openai"\napi_kye = "{value}"\n',
    )
    for more in ([], ["--debug"]):
        result = CliRunner().invoke(cli, [*command, *more], prog_name="penstock")
        assert result.exit_code == 2
        net.text("stdout", result.stdout)
        net.text("stderr", result.stderr)
        assert result.exception is not None
        net.error("exception", result.exception)
    found = net.found()
    assert not found, "\n".join(found)
