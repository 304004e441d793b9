"""
Strict schemas: the subset of JSON Schema whose answers OpenAI guarantees.

In that subset every object lists all its properties as required and allows no others. `strict_schema`
rewrites a schema into it where that keeps its shape, and says None where it cannot: free-form objects,
tuples, `not`, conditions. Keywords that only narrow a value are left out; the answer is validated by
whoever gave the schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NARROWING = frozenset({"default", "examples", "maxLength", "minLength", "title", "uniqueItems"})
_INEXPRESSIBLE = frozenset(
    {
        "contains",
        "dependentRequired",
        "dependentSchemas",
        "else",
        "if",
        "maxProperties",
        "minProperties",
        "not",
        "patternProperties",
        "prefixItems",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
_DEPTH = 64


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """
    A strict copy of `schema`, or None when it has none; the input is not changed.

    Optional properties become required: with pydantic they carry their own null.
    """
    try:
        strict = _strict(_inline_root(schema), 0)
    except _NotStrict:
        return None
    if strict.get("type") != "object" or "anyOf" in strict:
        return None
    return strict


class _NotStrict(Exception):
    """The schema needs what the strict subset lacks."""


def _inline_root(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A recursive model's schema is a `$ref` at the root, where an object is demanded."""
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/$defs/"):
        return schema
    definitions = schema.get("$defs")
    target = definitions.get(reference[8:]) if isinstance(definitions, Mapping) else None
    if not isinstance(target, Mapping):
        raise _NotStrict
    return {**target, "$defs": definitions}


def _strict(schema: Any, depth: int) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or depth > _DEPTH or not _INEXPRESSIBLE.isdisjoint(schema):
        raise _NotStrict
    if "$ref" in schema:
        strict = {"$ref": schema["$ref"]}  # a reference may have no siblings
        if depth == 0 and "$defs" in schema:
            raise _NotStrict
        return strict
    every = schema.get("allOf")
    if every is not None:
        if not isinstance(every, list) or len(every) != 1 or not isinstance(every[0], Mapping):
            raise _NotStrict
        rest = {key: value for key, value in schema.items() if key != "allOf"}
        return _strict({**every[0], **rest}, depth + 1)
    strict = {}
    for key, value in schema.items():
        if key in _NARROWING:
            continue
        if key in ("properties", "$defs", "definitions"):
            if not isinstance(value, Mapping):
                raise _NotStrict
            strict[key] = {name: _strict(part, depth + 1) for name, part in value.items()}
        elif key == "items":
            strict[key] = _strict(value, depth + 1)
        elif key in ("anyOf", "oneOf"):
            if not isinstance(value, list):
                raise _NotStrict
            strict["anyOf"] = [_strict(part, depth + 1) for part in value]
        elif key not in ("required", "additionalProperties", "discriminator"):
            strict[key] = value
    if not strict.keys() & {"type", "anyOf", "enum", "const"}:
        raise _NotStrict  # anything goes
    kind = strict.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    if "object" in kinds or "properties" in strict:
        if "properties" not in strict or schema.get("additionalProperties") not in (None, False):
            raise _NotStrict
        strict["required"] = list(strict["properties"])
        strict["additionalProperties"] = False
    elif "array" in kinds and "items" not in strict:
        raise _NotStrict
    return strict
