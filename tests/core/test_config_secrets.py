from __future__ import annotations

import pickle
import re
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, SecretStr, field_validator

from penstock.config import Config, Env, Settings, StageConfig
from penstock.errors import ConfigError, MissingCredentialError

KEY = "correct-horse-battery-staple"


class Account(Config):
    token: SecretStr = Field(default=SecretStr(""), description="Token.")


class ServerConfig(Config):
    api_key: Annotated[SecretStr | None, Env("SERVER_KEY")] = Field(default=None, description="Key.")
    base_url: str = Field(default="", description="Where.")
    count: int = Field(default=0, description="How many.")
    level: Literal["low", "high"] = Field(default="low", description="How much.")
    accounts: list[Account] = Field(default=[], description="More keys.")
    headers: dict[str, SecretStr] = Field(default={}, description="Headers.")
    quoting: str = Field(default="", description="Refused with its own value.")

    @field_validator("quoting")
    @classmethod
    def _quote(cls, value: str) -> str:
        if value:
            raise ValueError(f"{value.removeprefix('id-')} is not good")
        return value


class Loose(BaseModel):
    """A plugin's model that does not hide its input."""

    count: int = Field(default=0, description="How many.")


class Needy(Config):
    key: Annotated[SecretStr, Env("NEEDY_KEY"), Env("NEEDY_TOKEN")] = Field(description="Key.")


class Plain(StageConfig):
    text: str = Field(default="", description="Text.")
    items: list[str] = Field(default=[], description="Items.")


def load(server: dict[str, Any] | None = None, **more: Any) -> Settings:
    more.setdefault("environ", {})
    return Settings.load({"providers": {"server": server or {}}}, **more)


def text(value: str, **environ: str) -> str:
    return Settings.load({"plain": {"text": value}}, environ=environ).section("plain", Plain).text


def refused(settings: Settings, model: Any = ServerConfig) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        settings.provider("server", model)
    return caught.value


def everything_shown(error: BaseException) -> str:
    """The error's text, its traceback and the repr of every local of Penstock's own frames that raised."""
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(error.args)
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    locals_ = [
        repr(value)
        for frame in frames
        if "penstock/config" in frame.f_code.co_filename
        for value in frame.f_locals.values()
    ]
    return shown + "".join(locals_)


# Interpolation


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("${A}", "one"),
        ("x${A}y${B}z", "xoneytwoz"),
        ("${C:-three}", "three"),
        ("${A:-three}", "one"),
        ("${EMPTY:-three}", "three"),
        ("${EMPTY}", ""),
        ("${C:-}", ""),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("$$$${A}$$", "$${A}$"),
        ("$A costs $5", "$A costs $5"),
        ("$", "$"),
    ],
)
def test_variables_stand_anywhere_in_a_string(written: str, meant: str) -> None:
    assert text(written, A="one", B="two", EMPTY="") == meant


@pytest.mark.parametrize("written", ["${", "${A", "${}", "${1}", "${A B}", "a${-x}"])
def test_a_broken_reference_is_an_error(written: str) -> None:
    with pytest.raises(ConfigError) as caught:
        text(written, A="one")
    assert str(caught.value) == (
        "argument config: [plain] text: a ${ is not closed or names no variable; write $$ for a plain $"
    )


def test_a_value_that_came_from_a_variable_is_not_interpolated_again() -> None:
    assert text("${A}", A="${B}$$", B="two") == "${B}$$"


def test_elements_of_lists_are_interpolated() -> None:
    settings = Settings.load({"plain": {"items": ["${A}", "b"]}}, environ={"A": "a"})
    assert settings.section("plain", Plain).items == ["a", "b"]


def test_arguments_and_variables_mean_what_they_hold() -> None:
    by_argument = Settings.load(False, environ={}, arguments={"plain": {"text": "pa$$${A}"}})
    assert by_argument.section("plain", Plain).text == "pa$$${A}"
    by_variable = Settings.load(False, environ={"PENSTOCK__PLAIN__TEXT": "pa$$${A}"})
    assert by_variable.section("plain", Plain).text == "pa$$${A}"


def test_an_undefined_variable_is_named_with_key_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text('[providers.server]\n\nbase_url = "${HOST}:${PORT}"\n')
    settings = Settings.load(None, environ={"HOST": "h"}, start=tmp_path)
    assert str(refused(settings)) == (
        "penstock.toml:3: [providers.server] base_url: the environment variable PORT is not set"
    )


def test_an_undefined_variable_is_the_only_problem_of_its_key() -> None:
    assert str(refused(load({"count": "${NONE}"}))) == (
        "argument config: [providers.server] count: the environment variable NONE is not set"
    )


def test_an_unused_section_may_lack_its_variable() -> None:
    settings = Settings.load(
        {"providers": {"used": {"base_url": "u"}, "unused": {"api_key": "${NONE}"}}}, environ={}
    )
    assert settings.provider("used", ServerConfig).base_url == "u"
    assert list(settings.providers) == ["used", "unused"]


def test_a_number_may_come_from_a_variable() -> None:
    assert load({"count": "${N}"}, environ={"N": "3"}).provider("server", ServerConfig).count == 3


# Secrets


def secret_sources(tmp_path: Path) -> dict[str, Settings]:
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    return {
        "written": load({"api_key": KEY}),
        "variable": load({"api_key": "${K}"}, environ={"K": KEY}),
        "variable with newline": load({"api_key": "${K}"}, environ={"K": KEY + "\r\n"}),
        "file": load({"api_key": f"file:{file}"}),
        "file named by a variable": load({"api_key": "file:${DIR}/key"}, environ={"DIR": str(tmp_path)}),
        "short name": load(environ={"SERVER_KEY": KEY + "\n"}),
        "short name with file": load(environ={"SERVER_KEY": f"file:{file}"}),
        "long name": load(environ={"PENSTOCK__PROVIDERS__SERVER__API_KEY": KEY}),
        "argument": load(arguments={"providers": {"server": {"api_key": KEY}}}),
        "argument with newline": load(arguments={"providers": {"server": {"api_key": KEY + "\n"}}}),
        "SecretStr": load(arguments={"providers": {"server": {"api_key": SecretStr(KEY)}}}),
    }


SOURCES = (
    "written",
    "variable",
    "variable with newline",
    "file",
    "file named by a variable",
    "short name",
    "short name with file",
    "long name",
    "argument",
    "argument with newline",
    "SecretStr",
)


@pytest.mark.parametrize("source", SOURCES)
def test_a_secret_is_found_and_never_shown(tmp_path: Path, source: str) -> None:
    settings = secret_sources(tmp_path)[source]
    config = settings.provider("server", ServerConfig)
    assert config.api_key is not None
    assert config.api_key.get_secret_value() == KEY
    assert KEY not in repr(config) + repr(settings) + str(config.model_dump())
    assert settings.redactor(f"before {KEY} after") == "before *** after"
    shown = settings.explain("providers.server", ServerConfig)
    assert KEY not in repr(shown)
    assert next(value for key, value, _ in shown if key == "providers.server.api_key") == "***"


def test_a_key_of_digits_is_text() -> None:
    config = load(environ={"SERVER_KEY": "1234567890"}).provider("server", ServerConfig)
    assert config.api_key == SecretStr("1234567890")


def test_secrets_are_found_at_any_depth() -> None:
    settings = load({"accounts": [{"token": "${T}"}], "headers": {"x": "header-secret"}}, environ={"T": KEY})
    config = settings.provider("server", ServerConfig)
    assert config.accounts[0].token.get_secret_value() == KEY
    assert settings.redactor(f"{KEY} header-secret") == "*** ***"
    assert "header-secret" not in repr(settings.explain("providers.server", ServerConfig))


def test_the_redactor_learns_a_secret_also_when_its_section_is_wrong() -> None:
    settings = load({"api_key": KEY, "count": "x"})
    refused(settings)
    assert KEY not in settings.redactor(KEY)


def test_file_is_an_ordinary_word_outside_secrets(tmp_path: Path) -> None:
    assert text("file:/etc/passwd") == "file:/etc/passwd"


def test_an_unreadable_secret_file_is_named(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    error = refused(load({"api_key": f"file:{absent}"}))
    assert isinstance(error, MissingCredentialError)
    assert str(error) == (
        "argument config: [providers.server] api_key: "
        f"the secret file {absent} cannot be read: No such file or directory"
    )
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "is not UTF-8 text" in str(refused(load({"api_key": f"file:{tmp_path / 'binary'}"})))
    assert "no such path" in str(refused(load({"api_key": "file:a\0b"})))


def test_a_required_key_that_is_missing_names_the_variables() -> None:
    with pytest.raises(MissingCredentialError) as caught:
        Settings.load(False, environ={}).provider("needy", Needy)
    assert str(caught.value) == (
        "[providers.needy] key: is required; "
        "set it here or in the environment variable NEEDY_KEY or NEEDY_TOKEN"
    )
    other = Settings.load({"providers": {"mine": {"plugin": "needy"}}}, environ={"NEEDY_KEY": KEY})
    with pytest.raises(MissingCredentialError) as caught:
        other.provider("mine", Needy)
    assert str(caught.value) == "argument config: [providers.mine] key: is required"


def test_a_missing_credential_among_other_problems_is_a_plain_config_error() -> None:
    error = refused(load({"api_key": "${NONE}", "count": "x"}))
    assert type(error) is ConfigError
    assert "NONE" in str(error)


# Leaks: each of these once showed a secret in somebody's library


LEAKS: dict[str, dict[str, Any]] = {
    "a misspelt key that holds a secret": {"api_kye": KEY},
    "a key where a number belongs": {"count": KEY},
    "a key where a choice belongs": {"level": KEY},
    "a key where a table belongs": {"accounts": KEY},
    "a key inside a list of the wrong type": {"accounts": [KEY]},
    "a secret of the wrong type": {"api_key": [KEY]},
    "a table under a secret": {"api_key": {"value": KEY}},
    "a validator that quotes": {"quoting": "${URL}"},
    "a validator that quotes a URL": {"quoting": "https://me:${SECRET}@host"},
    "a validator that quotes part of an interpolated text": {"quoting": "id-${SECRET}"},
    "an interpolated value where a number belongs": {"count": "${SECRET}"},
    "a default of a reference": {"count": f"${{NONE:-{KEY}}}"},
    "an undefined variable beside a secret": {"base_url": f"https://me:{KEY}@${{NONE}}/"},
    "an unclosed reference": {"base_url": f"{KEY}${{"},
}


@pytest.mark.parametrize("leak", LEAKS)
def test_no_error_shows_a_value(leak: str) -> None:
    environ = {"SECRET": KEY, "URL": f"https://me:{KEY}@host/v1"}
    error = refused(load(LEAKS[leak], environ=environ))
    assert KEY not in everything_shown(error)
    assert error.__context__ is None
    assert error.__cause__ is None


@pytest.mark.parametrize("key", ["COUNT", "LEVEL", "API_KYE", "QUOTING", "ACCOUNTS"])
def test_no_error_shows_the_value_of_a_variable(key: str) -> None:
    error = refused(load(environ={f"PENSTOCK__PROVIDERS__SERVER__{key}": KEY}))
    assert KEY not in everything_shown(error)
    assert f"PENSTOCK__PROVIDERS__SERVER__{key}" in str(error)


def test_a_model_that_shows_its_input_still_leaks_nothing() -> None:
    error = refused(load({"count": KEY}), Loose)
    assert "Input should be a valid integer" in str(error)
    assert KEY not in everything_shown(error)


def test_a_secret_used_as_a_key_is_masked_by_its_shape() -> None:
    error = refused(load({"sk-proj-abcdefgh12345678": "oops"}))
    assert "abcdefgh" not in str(error)


def test_a_short_word_used_as_a_key_does_not_mask_the_place() -> None:
    error = refused(load({"api_key": "server", "count": "x"}))
    assert str(error).startswith("argument config: [providers.server] count: ")


def test_a_broken_file_shows_no_line_of_it(tmp_path: Path) -> None:
    for broken in (f"api_key = {KEY}", f'api_key = "{KEY}', f"{KEY} oops", f'a = "{KEY}" b'):
        (tmp_path / "penstock.toml").write_text(broken)
        with pytest.raises(ConfigError) as caught:
            Settings.load(None, environ={}, start=tmp_path)
        assert KEY not in str(caught.value)
        assert KEY not in "".join(traceback.format_exception(caught.value))


def test_an_error_can_be_pickled_without_the_configuration() -> None:
    error = refused(load({"count": KEY}))
    assert KEY.encode() not in pickle.dumps(error)


def test_explain_shows_what_was_written_not_what_it_means() -> None:
    settings = load(
        {"base_url": "https://${SECRET}@host/", "count": "${N}"}, environ={"SECRET": KEY, "N": "31"}
    )
    shown = {key: value for key, value, _ in settings.explain("providers.server", ServerConfig)}
    assert shown["providers.server.base_url"] == "https://${SECRET}@host/"
    assert shown["providers.server.count"] == "${N}"


def test_explain_masks_a_password_in_a_url() -> None:
    settings = load({"base_url": "https://me:hunter22@host/"})
    assert "hunter22" not in repr(settings.explain("providers.server", ServerConfig))


def test_importing_the_configuration_reads_nothing_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PENSTOCK_CONFIG", "/nonexistent/penstock.toml")
    for name in [name for name in sys.modules if re.match(r"penstock\.config(\.|$)", name)]:
        monkeypatch.delitem(sys.modules, name)
    import penstock.config

    assert penstock.config.Settings.load(False, environ={}).path == ""
