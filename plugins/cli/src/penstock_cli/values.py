"""Configuration values as TOML and as lines for people."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.config import Origin

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_value(value: Any) -> str | None:
    """A value as TOML writes it; None for what TOML cannot say, which is "not set"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Mapping):
        pairs = [f"{_key(str(key))} = {toml_value(item)}" for key, item in value.items() if item is not None]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return f"[{', '.join(toml_value(item) or '' for item in items)}]"
    if value is None:
        return None
    # JSON's escapes are TOML's too, but for the one it leaves out.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _float(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def written_lines(entries: Iterable[tuple[str, Any, Origin]], *, origin: bool) -> list[str]:
    """
    `key = value`, and where the value was said.

    Args:
        entries: key, value and origin of each.
        origin: add `# penstock.toml:12`, in a column.
    """
    lines = []
    for key, value, place in entries:
        shown = toml_value(value)
        line = f"{key} = {shown}" if shown is not None else f"# {key} is not set"
        lines.append(f"{line:<52}  # {place.place}" if origin else line)
    return lines
