"""The tables of docs/resilience.md are those that the stages' configurations make."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import pytest
from pydantic import Field

from penstock.config import Config, Env, StageConfig

TOOL = Path(__file__).parents[1] / "tools" / "stage_tables.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stage_tables", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TABLES: Any = load()


class Inner(Config):
    depth: int | None = Field(default=None, description="How deep.")


class Sample(StageConfig):
    speed: Annotated[float, Env("SAMPLE_SPEED")] = Field(default=2.0, description="How fast.")
    inner: Inner = Field(default=Inner(), description="What is inside.")


def test_the_tables_of_the_page_are_up_to_date() -> None:
    text = TABLES.PAGE.read_text(encoding="utf-8")
    assert text == TABLES.page(text, TABLES.specs())
    assert TABLES.main(["--check"]) == 0


def test_every_stage_of_resilience_has_its_table() -> None:
    text = TABLES.PAGE.read_text(encoding="utf-8")
    found = {match["stage"] for match in TABLES.PLACE.finditer(text)}
    assert found == {"breaker", "cache", "limiter", "retry", "routing"}


def test_a_key_is_a_row_with_default_meaning_and_short_name() -> None:
    assert TABLES.table(Sample).split("\n") == [
        "| key | default | |",
        "|---|---|---|",
        "| `speed` | `2` | How fast. Also `SAMPLE_SPEED`. |",
        "| `inner` |  | What is inside. |",
        "| `inner.depth` |  | How deep. |",
    ]


def test_a_page_without_a_place_or_for_a_stranger_is_an_error() -> None:
    with pytest.raises(ValueError, match="no place for a table"):
        TABLES.page("# Resilience\n", {})
    place = "<!-- parameters of none: written by tools/stage_tables.py -->\n<!-- end of none -->"
    with pytest.raises(ValueError, match="'none', which is no stage here"):
        TABLES.page(place, {})
