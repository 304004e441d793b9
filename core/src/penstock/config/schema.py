"""
The JSON Schema of a whole `penstock.toml`, so that an editor completes and checks it.

No key is required: each may come from the environment or from an argument instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from penstock.config.core import CoreConfig


def file_schema(models: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """The schema; the models by section name or `providers.<plugin>`."""
    everything: dict[str, type[BaseModel]] = {"": CoreConfig, **models}
    places, shared = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(everything.values())]
    )
    definitions: dict[str, Any] = shared.get("$defs", {})

    def table(name: str, **more: Any) -> dict[str, Any]:
        reference = places[everything[name], "validation"]["$ref"]
        schema = dict(definitions[reference.rpartition("/")[2]])
        schema.pop("required", None)
        if "properties" in schema:
            schema["properties"] = {**schema["properties"], **more}
        return schema

    properties = dict(table("")["properties"])
    providers: dict[str, Any] = {}
    for name in models:
        prefix, _, plugin = name.partition(".")
        if prefix == "providers" and plugin:
            providers[plugin] = table(name, plugin={"const": plugin, "description": "The provider's plugin."})
            continue
        override = {"type": "object", "additionalProperties": table(name)}
        properties[name] = table(
            name,
            routes={**override, "description": "What differs for a route, by its name."},
            targets={**override, "description": "What differs for targets, by a pattern of provider/model."},
        )
    instance: dict[str, Any] = {"type": "object", "required": ["plugin"]}
    if providers:
        instance["oneOf"] = [{**schema, "required": ["plugin"]} for schema in providers.values()]
    properties["providers"] = {
        "type": "object",
        "description": "Who can be asked, by instance name.",
        "properties": providers,
        "additionalProperties": instance,
    }
    whole = {"type": "object", "properties": properties, "additionalProperties": False}
    definitions["profile"] = whole
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "penstock.toml",
        **whole,
        "properties": {
            **properties,
            "profiles": {
                "type": "object",
                "description": "What differs in an environment, by the name PENSTOCK_ENV holds.",
                "additionalProperties": {"$ref": "#/$defs/profile"},
            },
        },
        "$defs": definitions,
    }
