"""What the environment says: `PENSTOCK__SECTION__KEY` for any key, and the short names models declare."""

from __future__ import annotations

import contextlib
import functools
import re
import tomllib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from penstock.config.shape import below, is_secret, short_names
from penstock.config.tree import Node, Origin, find, grow, merge, plant
from penstock.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

PREFIX = "PENSTOCK__"

_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")


def read_variables(environ: Mapping[str, str], existing: Node | None) -> Node | None:
    """
    The tree of the `PENSTOCK__A__B=value` variables.

    Args:
        environ: the environment.
        existing: the keys a variable can mean although it cannot spell them (`my-server`, `openai/gpt-4*`).

    Raises:
        ConfigError: a name has an empty part, or could mean two existing keys.
    """
    tree: Node | None = None
    for name in sorted(environ):
        if name.startswith(PREFIX):
            keys: tuple[str, ...] = ()
            for part in name.removeprefix(PREFIX).lower().split("__"):
                keys = (*keys, _existing_key(name, part, find(existing, keys)))
            node = _read(environ[name], Origin("env", f"environment variable {name}"), keys)
            tree = merge(tree, plant(node))
    return tree


def read_short_names(
    model: type[BaseModel], environ: Mapping[str, str], path: tuple[str, ...], document: Node | None
) -> Node | None:
    """
    What a model's short names say about the section at `path`; of a field's names the first set counts.

    A secret that the `document` gives stays: `OPENAI_API_KEY`, set for something else, must not reach the
    server that a file names together with a key of its own.
    """
    tree: Node | None = None
    for keys, mark in short_names(model):
        text, where = environ.get(mark.name), (*path, *keys)
        if not text or find(tree, where) is not None:
            continue
        if find(document, where) is not None and is_secret(functools.reduce(below, keys, (model,))):
            continue
        origin = Origin("short env", f"environment variable {mark.name}")
        node = _read(text, origin, where)
        if mark.convert is not None:
            with contextlib.suppress(ValueError):
                value = mark.convert(text)
                if value is None:
                    continue
                node = grow(value, lambda _, origin=origin: origin, where)  # type: ignore[misc]  # bound now: the loop goes on
        tree = merge(tree, plant(node))
    return find(tree, path)


def _existing_key(name: str, part: str, table: Node | None) -> str:
    if not part:
        raise ConfigError(f"environment variable {name}: has an empty part; write {PREFIX}SECTION__KEY")
    known = table.value if table is not None and isinstance(table.value, dict) else {}
    if part in known:
        return part
    alike = [key for key in known if _plain(key) == _plain(part)]
    if len(alike) > 1:
        raise ConfigError(f"environment variable {name}: could mean {' or '.join(map(repr, alike))}")
    return alike[0] if alike else part


def _plain(key: str) -> str:
    return _NOT_IN_NAMES.sub("_", key.lower()).strip("_")


def _read(text: str, origin: Origin, path: tuple[str, ...]) -> Node:
    """A variable's value: TOML when it is TOML (`60`, `true`, `["a", "b"]`), else the text itself."""
    value: object = text
    if "\n" not in text:
        with contextlib.suppress(ValueError, RecursionError):
            value = tomllib.loads(f"value = {text}")["value"]
    return Node(grow(value, lambda _: origin, path).value, origin, path, text)
