"""
Write the tables of stage parameters into docs/resilience.md, from the models of their configuration.

    python tools/stage_tables.py            write them
    python tools/stage_tables.py --check    fail when the page is not up to date
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from penstock.config import Env
from penstock.config.shape import fields, is_model
from penstock.plugins import Plugins
from penstock.specs import StageSpec
from penstock_cli.values import toml_value

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "resilience.md"
PLACE = re.compile(
    r"(<!-- parameters of (?P<stage>\w+): written by tools/stage_tables.py -->\n).*?"
    r"(?P<end><!-- end of (?P=stage) -->)",
    re.DOTALL,
)
COMMON = ("enabled", "force")
"""Keys of every stage; the page says once what they do."""


def specs() -> dict[str, StageSpec]:
    """The stages of this workspace by name."""
    plugins = Plugins()
    for name in plugins.offered():
        if (ROOT / "plugins" / name).is_dir():
            plugins.load(name)
    return {spec.name: spec for spec in plugins.specs(StageSpec)}


def table(model: Any) -> str:
    """The keys of a model with defaults and meanings, in Markdown; inner tables with dotted keys."""
    lines = ["| key | default | |", "|---|---|---|"]
    for key, default, words in rows(model):
        lines.append(f"| `{key}` | {default} | {words} |")
    return "\n".join(lines)


def rows(model: Any, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Key, default and meaning of each field."""
    for key, field in fields(model).items():
        if not prefix and key in COMMON:
            continue
        if is_model(type(field.default)):
            yield f"{prefix}{key}", "", field.description or ""
            yield from rows(type(field.default), f"{prefix}{key}.")
            continue
        value = None if field.default is PydanticUndefined else toml_value(field.default)
        names = [f"`{mark.name}`" for mark in field.metadata if isinstance(mark, Env)]
        words = (field.description or "") + (f" Also {', '.join(names)}." if names else "")
        yield f"{prefix}{key}", "" if value is None else f"`{value}`", words.replace("|", "\\|")


def page(text: str, stages: dict[str, StageSpec]) -> str:
    """
    The page with a table in each of its places.

    Raises:
        ValueError: it has no place, or one for a stage there is not.
    """

    def write(match: re.Match[str]) -> str:
        name = match["stage"]
        if name not in stages:
            raise ValueError(f"{PAGE.name} has a place for {name!r}, which is no stage here")
        return f"{match[1]}{table(stages[name].config)}\n{match['end']}"

    if PLACE.search(text) is None:
        raise ValueError(f"{PAGE.name} has no place for a table: '<!-- parameters of retry: ... -->'")
    return PLACE.sub(write, text)


def main(arguments: Sequence[str]) -> int:
    """Write the page, or check it; the exit status."""
    text = PAGE.read_text(encoding="utf-8")
    wanted = page(text, specs())
    if "--check" in arguments:
        if text != wanted:
            print(f"{PAGE.relative_to(ROOT)} is not up to date; run python tools/stage_tables.py")
        return int(text != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
