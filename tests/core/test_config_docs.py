from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from penstock.config import CoreConfig, Env, Seconds, Settings, StageConfig
from penstock.errors import ConfigError

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()


class RetryConfig(StageConfig):
    max_attempts: Annotated[int, Env("MAX_RETRIES", lambda text: int(text) + 1)] = Field(
        default=3, ge=1, description="Attempts."
    )
    base: Seconds = Field(default=0.5, description="First wait.")
    max_delay: Seconds = Field(default=20.0, ge=0, description="Longest wait.")


def blocks(language: str) -> list[str]:
    found = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)
    return [text for name, text in found if name == language]


def test_the_first_example_is_a_working_file() -> None:
    settings = Settings.load(tomllib.loads(blocks("toml")[0]), environ={}, profile="production")
    settings.check_unknown(["retry"])
    assert settings.core.pipeline == ("retry",)
    assert settings.providers == {"openai": "openai", "local": "openai"}
    assert settings.section("retry", RetryConfig).max_attempts == 6


def test_the_example_of_overrides_does_what_it_says() -> None:
    text = next(block for block in blocks("toml") if "retry.targets" in block)
    settings = Settings.load(tomllib.loads(text), environ={})
    settings.validate("retry", RetryConfig)
    assert settings.resolve("retry", RetryConfig, target="openai/gpt-4o").max_attempts == 2
    assert settings.resolve("retry", RetryConfig, target="local/llama3").enabled is False
    assert settings.resolve("retry", RetryConfig, route="fast").base == 0.1


def test_the_errors_are_what_penstock_says(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text("\n" * 7 + "[retry]\nmax_atempts = 4\nbase = 'soon'\n")
    environ = {"PENSTOCK__RETRY__MAX_ATTEMPTS": "0"}
    settings = Settings.load(None, environ=environ, start=tmp_path)
    with pytest.raises(ConfigError) as caught:
        settings.section("retry", RetryConfig)
    documented = next(block for block in blocks("") if "max_atempts" in block)
    assert sorted(str(caught.value).split("\n")) == sorted(documented.strip().split("\n"))


def keys(model: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in model:
        found |= (
            keys(value, f"{prefix}{name}.") if hasattr(value, "model_fields_set") else {prefix + name: value}
        )
    return found


def test_every_key_of_the_core_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| (.*?) \|", PAGE, re.MULTILINE))
    assert rows.keys() == keys(CoreConfig()).keys()
    source: dict[str, Any] = {}
    for key, default in rows.items():
        if default.startswith("`"):
            *tables, last = key.split(".")
            place = source
            for table in tables:
                place = place.setdefault(table, {})
            place[last] = tomllib.loads(f"value = {default.strip('`')}")["value"]
    assert Settings.load(source, environ={}).core == CoreConfig()
