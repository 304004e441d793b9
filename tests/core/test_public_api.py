"""What `import penstock` offers, and what it does not cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import penstock


def test_every_public_name_can_be_imported() -> None:
    for name in penstock.__all__:
        assert getattr(penstock, name) is not None
    assert sorted(penstock.__all__) == penstock.__all__ == dir(penstock)


def test_what_type_checkers_see_is_what_is_imported_at_run_time() -> None:
    tree = ast.parse(Path(penstock.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.name: (node.module or "").removeprefix("penstock.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("penstock.")
        for alias in node.names
    }
    assert seen == penstock._HOME_OF
    assert set(seen) == set(penstock.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = penstock.Nothing


@pytest.mark.parametrize("statement", ["import penstock", "from penstock import Client, AsyncClient"])
def test_importing_brings_none_of_the_heavy_modules(statement: str) -> None:
    heavy = ("pydantic", "requests", "aiohttp", "asyncio", "opentelemetry", "importlib_metadata")
    code = f"import sys; {statement}; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
