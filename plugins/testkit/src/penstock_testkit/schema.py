"""
A deterministic instance of a JSON schema: what a simulated model says when structured output is asked for.

It covers what structured output and tool parameters use: types, enums, constants, references, unions,
bounds and common string formats. Patterns are not solved. A recursive schema ends where it may: optional
properties are left out and arrays stay empty below a few levels.
"""

from __future__ import annotations

import math
from typing import Any

_DEEP = 6
_GIVE_UP = 32
_FORMATS = {
    "date": "2026-01-02",
    "date-time": "2026-01-02T03:04:05Z",
    "duration": "P1D",
    "email": "ada@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "03:04:05Z",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000001",
}


def instance(schema: Any, name: str = "value") -> Any:
    """
    A value that fits the schema; the same schema always gives the same value.

    Args:
        schema: the parsed schema.
        name: what strings are called when nothing else is known.

    Raises:
        ValueError: a reference leads nowhere, or the schema requires itself without end.
    """
    return _instance(schema, schema, name, 0)


def _instance(schema: Any, root: Any, name: str, depth: int) -> Any:
    if depth > _GIVE_UP:
        raise ValueError(f"the schema requires itself without end at {name!r}")
    if not isinstance(schema, dict):
        return name  # `true` and `{}` allow anything
    if "$ref" in schema:
        return _instance(_resolve(schema["$ref"], root), root, name, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if "allOf" in schema:
        return _instance(_merged(schema, root), root, name, depth + 1)
    for union in ("anyOf", "oneOf"):
        if schema.get(union):
            return _instance(_branch(schema[union], depth), root, name, depth + 1)
    match _type_of(schema, depth):
        case "object":
            return _object(schema, root, depth)
        case "array":
            return _array(schema, root, name, depth)
        case "integer":
            return _number(schema, whole=True)
        case "number":
            return _number(schema, whole=False)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _string(schema, name)


def _resolve(reference: str, root: Any) -> Any:
    found = root
    for word in reference.removeprefix("#").split("/")[1:]:
        key = word.replace("~1", "/").replace("~0", "~")
        found = found.get(key) if isinstance(found, dict) else None
        if found is None:
            raise ValueError(f"the schema's reference {reference!r} leads nowhere")
    return found


def _merged(schema: dict[str, Any], root: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema["allOf"]:
        resolved = _resolve(part["$ref"], root) if "$ref" in part else part
        for key, value in resolved.items():
            if key == "properties":
                merged[key] = {**merged.get(key, {}), **value}
            elif key == "required":
                merged[key] = [*merged.get(key, []), *value]
            else:
                merged.setdefault(key, value)
    return merged


def _branch(branches: list[Any], depth: int) -> Any:
    """The first that says something; when it is deep already, one that ends at once."""
    is_null = [isinstance(branch, dict) and branch.get("type") == "null" for branch in branches]
    if depth > _DEEP and any(is_null):
        return branches[is_null.index(True)]
    return branches[is_null.index(False)] if False in is_null else branches[0]


def _type_of(schema: dict[str, Any], depth: int) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        if depth > _DEEP and "null" in kind:
            return "null"
        return next((word for word in kind if word != "null"), "null")
    if kind is None:
        if "properties" in schema:
            return "object"
        return "array" if "items" in schema else "string"
    return str(kind)


def _object(schema: dict[str, Any], root: Any, depth: int) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    required = schema.get("required") or []
    names = required if depth > _DEEP else list(properties)
    return {name: _instance(properties.get(name, {}), root, name, depth + 1) for name in names}


def _array(schema: dict[str, Any], root: Any, name: str, depth: int) -> list[Any]:
    if schema.get("prefixItems"):
        return [_instance(item, root, name, depth + 1) for item in schema["prefixItems"]]
    least = schema.get("minItems", 0)
    count = least if depth > _DEEP else max(least, min(1, schema.get("maxItems", 1)))
    return [_instance(schema.get("items", {}), root, name, depth + 1) for _ in range(count)]


def _number(schema: dict[str, Any], *, whole: bool) -> float:
    """The first of a few natural candidates that keeps to every bound."""
    step = schema.get("multipleOf", 1)
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    above, below = schema.get("exclusiveMinimum", -math.inf), schema.get("exclusiveMaximum", math.inf)
    candidates: list[float] = [step, 0]
    candidates += [math.ceil(bound / step) * step for bound in (low, high) if math.isfinite(bound)]
    candidates += [(math.floor(bound / step) + 1) * step for bound in (low, above) if math.isfinite(bound)]
    candidates += [(math.ceil(bound / step) - 1) * step for bound in (high, below) if math.isfinite(bound)]
    if not whole and "multipleOf" not in schema:
        candidates += [low, high, (max(low, above) + min(high, below)) / 2]
    for value in candidates:
        if low <= value <= high and above < value < below and math.isfinite(value):
            return int(value) if whole else value
    raise ValueError(f"no number fits the bounds {schema!r}")


def _string(schema: dict[str, Any], name: str) -> str:
    text = _FORMATS.get(schema.get("format", ""), name)
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    if len(text) < least:
        text = (text + "x" * least)[:least]
    return text if most is None else text[:most]
