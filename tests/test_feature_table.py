"""The table of docs/providers.md is the one the providers' specs make."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel

from penstock.specs import ProviderSpec

TOOL = Path(__file__).parents[1] / "tools" / "feature_table.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("feature_table", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TABLE: Any = load()


def provider(name: str, *capabilities: str) -> ProviderSpec:
    return ProviderSpec(
        name=name, config=BaseModel, create=lambda *_: None, capabilities=frozenset(capabilities)
    )


def test_the_table_of_the_page_is_up_to_date() -> None:
    text = TABLE.PAGE.read_text(encoding="utf-8")
    assert text == TABLE.page(text, TABLE.providers())
    assert TABLE.main(["--check"]) == 0


def test_every_provider_of_the_workspace_is_in_it() -> None:
    assert {"huggingface", "ollama", "openai"} <= {spec.name for spec in TABLE.providers()}


def test_a_provider_is_a_column_and_a_capability_a_row() -> None:
    rows = TABLE.table([provider("a", "chat"), provider("b", "chat", "embed")]).split("\n")
    assert rows[0] == "| | a | b |"
    assert "| Chat | yes | yes |" in rows
    assert "| Embeddings | - | yes |" in rows


def test_a_capability_nobody_described_is_an_error() -> None:
    with pytest.raises(ValueError, match="describe 'levitation'"):
        TABLE.table([provider("a", "levitation")])


def test_a_page_without_a_place_for_the_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="no place for the table"):
        TABLE.page("# Providers\n", [])
