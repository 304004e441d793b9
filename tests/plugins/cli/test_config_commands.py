"""`penstock config`: init, check, show, schema."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from penstock_cli.values import toml_value

Run = Callable[..., Result]
Install = Callable[..., None]

LIMITER = '''
from typing import Literal
from pydantic import Field, SecretStr
from penstock.config import Rate, StageConfig
from penstock.hookspecs import hookimpl
from penstock.specs import Slot, StageSpec

class Config(StageConfig):
    """How many calls may go out."""
    rate: Rate | None = Field(default=None, description="Requests in a stretch of time.")
    burst: int = Field(default=1, description="Requests at once.")
    mode: Literal["wait", "nowait"] | None = Field(default=None, description="What a full limiter does.")
    token: SecretStr | None = Field(default=None, description="A secret.")

class Stage:
    def __init__(self, config, services): ...
    async def __call__(self, call, proceed):
        return await proceed(call)

@hookimpl
def penstock_register_stages():
    return [StageSpec(name="NAME", config=Config, create=Stage, slot=Slot("attempt", 20))]
'''


def write(folder: Path, text: str) -> None:
    (folder / "penstock.toml").write_text(text, encoding="utf-8")


# init


def test_init_writes_a_file_that_check_accepts(run: Run, surroundings: Path) -> None:
    result = run("config", "init")
    assert (result.exit_code, result.stderr) == (0, "")
    values = tomllib.loads((surroundings / "penstock.toml").read_text(encoding="utf-8"))
    assert values["version"] == 1
    assert "retry" in values
    assert "providers" not in values, "a provider's table would make its key a must"
    checked = run("config", "check")
    assert (checked.exit_code, checked.stderr) == (0, "")
    assert "penstock.toml: ok" in checked.stdout


def test_every_comment_of_init_can_be_switched_on(run: Run, surroundings: Path) -> None:
    run("config", "init")
    path = surroundings / "penstock.toml"
    text = path.read_text(encoding="utf-8")
    switched = re.sub(r"(?m)^#(?=\S)", "", text)
    assert switched.count("\n") == text.count("\n")
    values = tomllib.loads(switched)
    assert values["retry"]["max_attempts"] == 3
    assert values["timeouts"]["connect"] == 5
    assert values["providers"]["openai"]["api_key"] == "${OPENAI_API_KEY}"
    assert values["profiles"]["production"]["timeouts"]["total"] == "2m"


def test_init_explains_every_key_and_names_its_variables(run: Run, surroundings: Path) -> None:
    run("config", "init")
    lines = (surroundings / "penstock.toml").read_text(encoding="utf-8").splitlines()
    at = lines.index("#max_attempts = 3")
    assert lines[at - 1].startswith("# Attempts on one target")
    assert "MAX_RETRIES" in lines[at - 1]
    keys = [i for i, line in enumerate(lines) if re.match(r"#?\w+ = ", line)]
    assert [lines[i] for i in keys if not lines[i - 1].startswith("# ") and "total" not in lines[i]] == []


def test_init_switches_a_limiter_on_when_there_is_one(run: Run, surroundings: Path, install: Install) -> None:
    from penstock.plugins import installed

    if "limiter" not in installed():
        install("limiter", LIMITER.replace("NAME", "limiter"))
    run("config", "init")
    values = tomllib.loads((surroundings / "penstock.toml").read_text(encoding="utf-8"))
    assert (values["limiter"]["rate"], values["limiter"]["burst"]) == ("10/s", 20)
    assert run("config", "check").exit_code == 0


def test_init_shows_a_value_of_the_right_kind_where_the_default_is_none(
    run: Run, surroundings: Path, install: Install
) -> None:
    install("toll", LIMITER.replace("NAME", "toll"))
    run("config", "init")
    text = (surroundings / "penstock.toml").read_text(encoding="utf-8")
    assert '#mode = "wait"' in text
    assert '#token = "..."' in text
    assert "# What a full limiter does. Not set by default." in text


def test_init_never_replaces_a_file_without_force(run: Run, surroundings: Path) -> None:
    write(surroundings, "# mine\n")
    result = run("config", "init")
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert (surroundings / "penstock.toml").read_text(encoding="utf-8") == "# mine\n"
    assert run("config", "init", "--force").exit_code == 0
    assert (surroundings / "penstock.toml").read_text(encoding="utf-8") != "# mine\n"


def test_init_takes_a_folder_or_a_file(run: Run, tmp_path: Path) -> None:
    assert run("config", "init", str(tmp_path)).exit_code == 0
    assert (tmp_path / "penstock.toml").is_file()
    assert run("config", "init", str(tmp_path / "other.toml")).exit_code == 0
    assert (tmp_path / "other.toml").is_file()
    assert run("config", "init", str(tmp_path / "none" / "x.toml")).exit_code == 2


# check


def test_check_shows_every_problem_with_its_line(run: Run, surroundings: Path) -> None:
    write(
        surroundings,
        'pipeline = ["retry", "flux"]\n'
        "[retry]\n"
        "max_atempts = 3\n"
        "[wire]\n"
        'limit = "many"\n'
        "[retrry]\n"
        "base = 1\n"
        "[providers.main]\n"
        'plugin = "nobody"\n',
    )
    result = run("config", "check")
    assert (result.exit_code, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert lines[-1] == "5 problems"
    assert [line for line in lines if line.startswith("penstock.toml:3:") and "'max_attempts'" in line]
    assert [line for line in lines if line.startswith("penstock.toml:5:") and "limit" in line]
    assert [line for line in lines if line.startswith("penstock.toml:6:") and "'retry'" in line]
    assert [line for line in lines if "pip install penstock-flux" in line]
    assert [line for line in lines if "pip install penstock-nobody" in line]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[retry\n", "penstock.toml:1"),
        ('version = "two"\n', "penstock.toml:1"),
        ("[timeouts]\nattempt = 900\n", "attempt"),
        ("[providers.openai]\n", "OPENAI_API_KEY"),
        ('transport = "pigeon"\n', "pip install penstock-pigeon"),
    ],
)
def test_check_finds_what_a_client_would_refuse(run: Run, surroundings: Path, text: str, says: str) -> None:
    write(surroundings, text)
    result = run("config", "check")
    assert result.exit_code == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_check_finds_an_order_that_cannot_work(run: Run, surroundings: Path, install: Install) -> None:
    install("toll", LIMITER.replace("NAME", "toll"))
    write(surroundings, 'pipeline = ["toll", "retry"]\n')
    result = run("config", "check")
    assert result.exit_code == 2
    assert "'retry'" in result.stderr
    assert "force" in result.stderr


def test_check_takes_a_file_and_a_profile(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text("[profiles.loud.retry]\nmax_attempts = 0\n", encoding="utf-8")
    assert run("config", "check", str(path)).exit_code == 0
    result = run("config", "check", str(path), "--profile", "loud")
    assert result.exit_code == 2
    assert "other.toml:2" in result.stderr


def test_check_without_a_file_checks_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("config", "check").exit_code == 0
    monkeypatch.setenv("MAX_RETRIES", "many")
    result = run("config", "check")
    assert result.exit_code == 2
    assert "MAX_RETRIES" in result.stderr


def test_check_never_shows_a_secret(run: Run, surroundings: Path) -> None:
    write(surroundings, '[providers.openai]\napi_kye = "sk-abcdefgh12345678"\napi_key = 7\n')
    result = run("config", "check")
    assert result.exit_code == 2
    assert "sk-abcdefgh12345678" not in result.output


# show


def test_show_says_where_each_value_comes_from(
    run: Run, surroundings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(surroundings, "[retry]\nbase = 2\n[profiles.slow.retry]\nmax_delay = '1m'\n")
    monkeypatch.setenv("MAX_RETRIES", "4")
    monkeypatch.setenv("PENSTOCK__WIRE__LIMIT", "7")
    result = run("config", "show", "--origin", "--profile", "slow")
    assert result.exit_code == 0
    shown = {line.split(" = ")[0]: line for line in result.stdout.splitlines()}
    assert re.search(r"= 2 +# penstock\.toml:2$", shown["retry.base"])
    assert re.search(r"= 60 +# penstock\.toml:4$", shown["retry.max_delay"])
    assert re.search(r"= 5 +# environment variable MAX_RETRIES$", shown["retry.max_attempts"])
    assert re.search(r"= 7 +# environment variable PENSTOCK__WIRE__LIMIT$", shown["wire.limit"])
    assert re.search(r"= 5 +# default$", shown["timeouts.connect"])


def test_show_without_origin_is_toml(run: Run) -> None:
    values = tomllib.loads(run("config", "show").stdout)
    assert values["retry"]["max_attempts"] == 3
    assert values["version"] == 1


def test_show_masks_secrets(run: Run, surroundings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(surroundings, '[providers.main]\nplugin = "openai"\napi_key = "an-odd-secret"\n')
    monkeypatch.setenv("OPENAI_API_KEY", "another-odd-secret")
    result = run("config", "show", "--origin")
    assert result.exit_code == 0
    assert 'providers.main.api_key = "***"' in result.stdout
    assert "odd-secret" not in result.output


def test_show_has_the_overrides_where_they_differ(run: Run, surroundings: Path) -> None:
    write(surroundings, '[retry]\nbase = 1\n[retry.targets."openai/gpt-4*"]\nbase = 2\n')
    lines = run("config", "show").stdout.splitlines()
    assert "retry.base = 1" in lines
    assert 'retry.targets."openai/gpt-4*".base = 2' in lines
    assert len([line for line in lines if line.startswith("retry.targets")]) == 1


def test_show_shows_what_it_can_and_then_the_problems(run: Run, surroundings: Path) -> None:
    write(surroundings, "[retry]\nbase = -1\n")
    result = run("config", "show")
    assert result.exit_code == 2
    assert "wire.limit = 100" in result.stdout
    assert "penstock.toml:2" in result.stderr


# schema


def test_schema_is_a_json_schema_of_the_whole_file(run: Run) -> None:
    schema = json.loads(run("config", "schema").stdout)
    assert schema["title"] == "penstock.toml"
    assert {"retry", "wire", "providers", "timeouts", "pipeline"} <= set(schema["properties"])
    assert schema["properties"]["retry"]["properties"]["max_attempts"]["description"]


# values


@pytest.mark.parametrize(
    "value",
    [
        True,
        0,
        -7,
        0.2,
        60.0,
        float("inf"),
        1e300,
        "",
        'a "quoted" \\ text\n\t\x7f\x00é漢',
        [],
        ["a", 1],
        {"a-b": 1, "c d": ["e"], 'f"': {}},
    ],
)
def test_values_are_written_so_that_toml_reads_them_back(value: object) -> None:
    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == value


def test_what_toml_cannot_say_is_none() -> None:
    assert toml_value(None) is None
    assert toml_value({"a": None, "b": 1}) == "{ b = 1 }"


def test_check_leaves_the_logging_of_the_process_as_it_was(run: Run, surroundings: Path) -> None:
    import logging

    before = list(logging.getLogger().handlers)
    write(surroundings, f'[logs]\nfile = "{surroundings / "log.txt"}"\nloggers = ["root"]\n')
    assert run("config", "check").exit_code == 0
    assert logging.getLogger().handlers == before
