from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, RootModel, SecretStr

import penstock.config
from penstock.config import Bytes, Config, CoreConfig, Rate, Seconds, Settings, StageConfig, undescribed


class Store(Config):
    size: Bytes = Field(default=10, description="Size.")


class LimiterConfig(StageConfig):
    rate: Rate = Field(default=Rate(1), description="Rate.")
    wait: Seconds = Field(default=1.0, description="Wait.")
    store: Store = Field(default=Store(), description="Store.")
    tags: list[str] = Field(default=[], description="Tags.")
    table: Seconds = Field(default=1.0, alias="schema", description="A key that is no good name in Python.")


class ServerConfig(Config):
    url: str = Field(description="Where.")
    api_key: SecretStr | None = Field(default=None, description="Key.")


class Routes(RootModel[dict[str, list[str]]]):
    """A table of any keys."""


TEXT = """
version = 1
[limiter]
wait = "1m"
schema = 3
store.size = "1KB"
tags = ["a", "b"]
[limiter.routes.fast]
wait = 5
[limiter.targets."openai/*"]
rate = "5/min"
[providers.server]
url = "u"
api_key = "secret-word"
[routes]
fast = ["a/b"]
[profiles.live.limiter]
wait = 9
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "penstock.toml").write_text(TEXT)
    return Settings.load(None, environ={}, start=tmp_path)


def shown(settings: Settings, name: str, model: Any, **where: Any) -> list[tuple[str, Any, str]]:
    return [(key, value, origin.place) for key, value, origin in settings.explain(name, model, **where)]


def test_every_key_is_explained_with_its_value_in_force_and_its_place(settings: Settings) -> None:
    assert shown(settings, "limiter", LimiterConfig) == [
        ("limiter.enabled", True, "default"),
        ("limiter.force", False, "default"),
        ("limiter.rate", Rate(1), "default"),
        ("limiter.wait", 60.0, "penstock.toml:4"),
        ("limiter.store.size", 1000, "penstock.toml:6"),
        ("limiter.tags", ["a", "b"], "penstock.toml:7"),
        ("limiter.schema", 3.0, "penstock.toml:5"),
    ]


def test_overrides_are_explained_with_their_own_place(settings: Settings) -> None:
    entries = shown(settings, "limiter", LimiterConfig, route="fast", target="openai/gpt-4o")
    assert ("limiter.wait", 5.0, "penstock.toml:9") in entries
    assert ("limiter.rate", Rate(5, 60), "penstock.toml:11") in entries


def test_a_provider_is_explained_without_its_key(settings: Settings) -> None:
    assert shown(settings, "providers.server", ServerConfig) == [
        ("providers.server.url", "u", "penstock.toml:13"),
        ("providers.server.api_key", "***", "penstock.toml:14"),
    ]


def test_the_core_is_explained(settings: Settings) -> None:
    entries = shown(settings, "", CoreConfig)
    assert entries[0] == ("version", 1, "penstock.toml:2")
    assert ("timeouts.total", 600.0, "default") in entries


def test_a_table_of_any_keys_is_explained_as_one(settings: Settings) -> None:
    assert shown(settings, "routes", Routes) == [("routes", {"fast": ["a/b"]}, "penstock.toml:15")]


# The schema


def schema() -> dict[str, Any]:
    return Settings.schema({"limiter": LimiterConfig, "routes": Routes, "providers.server": ServerConfig})


def resolved(node: Any, whole: dict[str, Any]) -> Any:
    while isinstance(node, dict) and "$ref" in node:
        target: Any = whole
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def accepts(value: Any, node: Any, whole: dict[str, Any]) -> bool:
    """As much of JSON Schema as an editor needs for tables: properties and closed objects."""
    node = resolved(node, whole)
    if "anyOf" in node:
        return any(accepts(value, choice, whole) for choice in node["anyOf"])
    if "const" in node:
        return bool(value == node["const"])
    if isinstance(value, dict):
        if node.get("type") != "object" or any(key not in value for key in node.get("required", ())):
            return False
        properties, other = node.get("properties", {}), node.get("additionalProperties", True)
        if "oneOf" in node and sum(accepts(value, choice, whole) for choice in node["oneOf"]) != 1:
            return False
        return all(
            accepts(inner, properties[key], whole)
            if key in properties
            else other is True or (other is not False and accepts(inner, other, whole))
            for key, inner in value.items()
        )
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    allowed = node.get("type", [])
    allowed = [allowed] if isinstance(allowed, str) else allowed
    return kinds[type(value)] in allowed or (type(value) is int and "number" in allowed)


def test_the_schema_accepts_what_the_settings_accept() -> None:
    assert accepts(tomllib.loads(TEXT), schema(), schema())
    other = '[providers.local]\nplugin = "server"\nurl = "u"\n'
    assert accepts(tomllib.loads(other), schema(), schema())


@pytest.mark.parametrize(
    "wrong",
    [
        "versoin = 1",
        "version = 2",
        "[limiter]\nwiat = 1",
        "[limiter]\ntags = 1",
        "[limiter.store]\nsise = 1",
        "[limiter.routes.fast]\nwiat = 1",
        "[limiter.targets.'a/*']\nwiat = 1",
        "[profiles.live.limiter]\nwiat = 1",
        "[profiles.live.profiles.inner]",
        "[providers.local]\nurl = 'u'",
        "[providers.local]\nplugin = 'absent'",
        "[providers.server]\nurk = 'u'",
    ],
)
def test_the_schema_refuses_what_the_settings_refuse(wrong: str) -> None:
    assert not accepts(tomllib.loads(wrong), schema(), schema())


def test_the_schema_is_json_and_every_reference_leads_somewhere() -> None:
    whole = json.loads(json.dumps(schema()))

    def references(node: Any) -> list[dict[str, Any]]:
        if isinstance(node, dict):
            here = [node] if "$ref" in node else []
            return here + [found for inner in node.values() for found in references(inner)]
        if isinstance(node, list):
            return [found for inner in node for found in references(inner)]
        return []

    found = references(whole)
    assert found
    assert all(resolved(node, whole) for node in found)
    assert whole["$schema"].startswith("https://json-schema.org/")


def test_the_schema_describes_every_key_of_the_core() -> None:
    properties = schema()["properties"]
    assert [key for key in CoreConfig.model_fields if "description" not in properties[key]] == []


def test_every_field_of_the_core_is_described() -> None:
    assert undescribed(CoreConfig) == []


def test_the_exports_are_sorted_and_exist() -> None:
    names = penstock.config.__all__
    assert sorted(names) == names
    assert all(hasattr(penstock.config, name) for name in names)
