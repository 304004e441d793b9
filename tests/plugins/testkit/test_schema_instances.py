"""Instances of JSON schemas for structured output."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from penstock_testkit.schema import instance


class Leaf(BaseModel):
    kind: Literal["leaf"]
    weight: float = Field(gt=0, lt=0.5)


class Tree(BaseModel):
    name: str = Field(min_length=12, max_length=14)
    size: int = Field(ge=10, le=20, multiple_of=7)
    leaves: list[Leaf] = Field(min_length=2)
    left: Tree | None
    tags: dict[str, str]
    pair: tuple[int, str]
    when: str = Field(json_schema_extra={"format": "date-time"})


def test_the_instance_of_a_recursive_model_validates() -> None:
    value = instance(Tree.model_json_schema())
    assert Tree.model_validate(value).size == 14
    assert value == instance(Tree.model_json_schema())


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, 1),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "integer", "exclusiveMinimum": 4}, 5),
        ({"type": "number", "minimum": 0.25, "maximum": 0.5}, 0.25),
        ({"type": ["null", "boolean"]}, True),
        ({"enum": ["red", "green"]}, "red"),
        ({"const": 7}, 7),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 1),
        ({"type": "array", "items": {"type": "null"}, "maxItems": 0}, []),
        (
            {"allOf": [{"properties": {"a": {"type": "null"}}}, {"properties": {"b": {}}}]},
            {"a": None, "b": "b"},
        ),
        ({}, "value"),
    ],
)
def test_a_small_schema_has_this_instance(schema: dict[str, Any], value: Any) -> None:
    assert instance(schema) == value


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/missing"},
        {"$ref": "#"},
        {"type": "integer", "minimum": 3, "maximum": 2},
    ],
)
def test_a_schema_that_nothing_fits_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        instance(schema)
