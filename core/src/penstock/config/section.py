"""
Check one section against its model: a configuration object, or every problem in words.

pydantic's own errors quote what they refuse, so they never leave this module: a problem is built from the
error's kind and place only, and masked once more, because a plugin's validator may quote a value too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from penstock.config.lines import Path
from penstock.config.secrets import Resolver
from penstock.config.shape import below, is_secret, known_keys, members, short_names
from penstock.config.tree import Node, written
from penstock.config.types import Env
from penstock.redaction import Redactor

OWNERS = {"routes": "routing"}
"""The plugin of a table that is not called like it."""


class Problem(NamedTuple):
    """
    What is wrong with a configuration.

    Args:
        line: place, key and reason, without any value.
        credential: it is wrong only because a secret is missing.
    """

    line: str
    credential: bool = False


class Checked(NamedTuple):
    """
    What became of a section.

    Args:
        config: the validated model, None when there are problems.
        problems: one for each wrong value, in no more than one line each.
        templates: the nodes whose text was interpolated.
    """

    config: BaseModel | None
    problems: list[Problem]
    templates: list[Node]


def check(
    node: Node,
    model: type[BaseModel],
    environ: Mapping[str, str],
    redactor: Redactor,
    *,
    short: bool = True,
) -> Checked:
    """
    Resolve and validate a section.

    Args:
        node: what all sources say about it.
        model: what it must be.
        environ: for `${VAR}`.
        redactor: gets every secret that is found.
        short: whether the model's short environment names count here, and may be recommended.
    """
    resolver = Resolver(environ, redactor)
    config, errors = _validate(model, resolver.resolve(node, members(model)))
    problems = {_subject(bad): Problem(message, credential) for bad, message, credential in resolver.problems}
    failed = {id(bad) for bad, _, _ in resolver.problems}
    for error in errors:
        bad, kinds = _follow(node, error["loc"], model)
        if id(bad) in failed:
            continue
        subject, problem = _describe(error, bad, kinds, short_names(model) if short else ())
        earlier = problems.get(subject)
        if earlier is None:
            problems[subject] = problem
        elif problem.line not in earlier.line:  # the alternatives of a union
            problems[subject] = Problem(f"{earlier.line}, or: {problem.line}", earlier.credential)
    shapes = Redactor()
    lines = [
        Problem(shapes(subject) + resolver.hidden(message), credential)
        for subject, (message, credential) in problems.items()
    ]
    return Checked(None if lines else config, lines, resolver.templates)


def unknown_key(node: Node, known: Iterable[str]) -> str:
    """The line about a key that nobody takes, with the nearest one that somebody does."""
    from difflib import get_close_matches

    table, key = node.path[:-1], str(node.path[-1])
    place = f" in [{written(table)}]" if table else ""
    near = get_close_matches(key, list(known), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    if not near and not table and isinstance(node.value, dict):
        owner = OWNERS.get(key, key)
        hint = f"; if it belongs to a plugin that is not installed: pip install penstock-{owner}"
    return f"{node.origin.place}: unknown key {key!r}{place}{hint}"


def _validate(model: type[BaseModel], values: Any) -> tuple[BaseModel | None, list[Any]]:
    if (
        type(values) is dict
        and not values
        and not any(field.is_required() for field in model.model_fields.values())
    ):
        # Defaults need no validator, and to build one takes a millisecond or two: most models never need it.
        return model.model_construct(), []
    try:
        return model.model_validate(values), []
    except ValidationError as error:
        return None, error.errors(include_url=False, include_context=False, include_input=False)


def _follow(node: Node, location: Path, model: type[BaseModel]) -> tuple[Node, list[tuple[Any, ...]]]:
    """The deepest node on the way to an error, and what was expected at each step."""
    kinds = [members(model)]
    for key in location:
        value = node.value
        inside = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, list) and isinstance(key, int) and key < len(value):
            inside = value[key]
        if inside is not None:  # else a missing key, or the name pydantic gives an alternative of a union
            node = inside
            kinds.append(below(kinds[-1], key))
    return node, kinds


def _describe(
    error: Any, node: Node, kinds: list[tuple[Any, ...]], names: Iterable[tuple[Path, Env]]
) -> tuple[str, Problem]:
    """The place and key of an error, and what is wrong there."""
    if error["type"] == "extra_forbidden":
        return unknown_key(node, known_keys(kinds[-2:][0])), Problem("")
    if error["type"] == "missing":
        key = error["loc"][-1]
        missing = Node(None, node.origin, (*node.path, key))
        known = " or ".join(mark.name for keys, mark in names if keys == error["loc"])
        hint = f"; set it here or in the environment variable {known}" if known else ""
        return _subject(missing), Problem(f"is required{hint}", is_secret(below(kinds[-1], key)))
    message = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if error["type"] in ("model_type", "dict_type"):
        message = "must be a table"
    return _subject(node), Problem(message)


def _subject(node: Node) -> str:
    """The place, then `[cache] ttl: ` for a value, `[cache]: ` for a table, `ttl: ` outside tables."""
    place = "" if node.origin.kind == "default" else f"{node.origin.place}: "
    if isinstance(node.value, dict):
        return f"{place}[{written(node.path)}]: " if node.path else place
    first_index = next((at for at, key in enumerate(node.path) if isinstance(key, int)), len(node.path))
    table, key = node.path[: first_index - 1], written(node.path[first_index - 1 :])
    return f"{place}[{written(table)}] {key}: " if table else f"{place}{key}: "
