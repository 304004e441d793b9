"""uv sees the packages that pip sees."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "tools" / "uv.py"


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with a pip configuration of its own in `pip.conf`."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CERT", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_STRATEGY", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://one.test/all\nfind-links = wheels more\n"
        "extra-index-url =\n    https://two.test/all\n    https://three.test/all\n"
        "[install]\nfind-links = nearer\n"
    )
    spec = importlib.util.spec_from_file_location("tool", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_of_pip_are_handed_over(tool: ModuleType) -> None:
    environ = tool.environment()
    assert environ["UV_DEFAULT_INDEX"] == "https://one.test/all"
    assert environ["UV_INDEX"] == "https://two.test/all https://three.test/all"
    assert environ["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert environ["UV_FIND_LINKS"] == "nearer"


def test_the_environment_of_pip_is_above_its_files(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://four.test/all")
    monkeypatch.setenv("PIP_FIND_LINKS", "here there")
    environ = tool.environment()
    assert environ["UV_DEFAULT_INDEX"] == "https://four.test/all"
    assert environ["UV_FIND_LINKS"] == "here,there"


def test_what_is_set_for_uv_stays(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://five.test/all")
    assert tool.environment()["UV_DEFAULT_INDEX"] == "https://five.test/all"
