"""
A configuration as a tree in which every value knows where it was said.

Sources (a file, the environment, arguments) each become a tree; `merge` lays one on top of another, and a
message about any value can still name its line or variable. A node's repr leaves out the value: it may be
secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from penstock.config.lines import Path
from penstock.frozen import dataclass

Kind = Literal["file", "profile", "short env", "env", "argument", "default"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Origin:
    """
    Where a value was said.

    Args:
        kind: the sort of source.
        place: for people: `penstock.toml:12`, `environment variable CACHE_TTL`, `argument cache`.
    """

    kind: Kind
    place: str


@dataclass(frozen=True, slots=True, repr=False)
class Node:
    """
    One value of a source.

    Args:
        value: a dict of nodes, a list of nodes, or a plain value.
        origin: where it was said; of a table made from several sources, the first.
        path: its key as it was written there, `profiles.<name>` and `routes.<name>` included.
        text: what an environment variable held before it was read as TOML, else None.
    """

    value: Any
    origin: Origin
    path: Path
    text: str | None = None


EMPTY = Node({}, Origin("default", "default"), ())


def grow(value: object, origin: Callable[[Path], Origin], path: Path = ()) -> Node:
    """The tree of a plain value; `origin` tells the place of each path."""
    if isinstance(value, Mapping):
        branches = {str(key): grow(inner, origin, (*path, str(key))) for key, inner in value.items()}
        return Node(branches, origin(path), path)
    if isinstance(value, list | tuple):
        elements = [grow(inner, origin, (*path, index)) for index, inner in enumerate(value)]
        return Node(elements, origin(path), path)
    return Node(value, origin(path), path)


def plant(node: Node) -> Node:
    """The tree in which `node` stands at its path."""
    while node.path:
        node = Node({node.path[-1]: node}, node.origin, node.path[:-1])
    return node


def merge(low: Node | None, high: Node | None) -> Node | None:
    """Tables are merged key by key; anything else in `high` replaces what `low` has."""
    if low is None or high is None:
        return low or high
    if not isinstance(low.value, dict) or not isinstance(high.value, dict):
        return high
    merged = dict(low.value)
    for key, node in high.value.items():
        merged[key] = merge(merged.get(key), node)
    return Node(merged, low.origin, low.path)


def find(node: Node | None, path: Path) -> Node | None:
    """The node at `path` below `node`."""
    for key in path:
        if node is None or not isinstance(node.value, dict):
            return None
        node = node.value.get(key)
    return node


def written(path: Path) -> str:
    """A path as TOML has it: `limiter.targets."openai/*".rate`, with indexes in brackets."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            name = key if _BARE.fullmatch(key) else '"' + key.replace('"', '\\"') + '"'
            text += f".{name}" if text else name
    return text
