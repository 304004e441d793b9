"""Foreign text made safe for a file's name and for a page."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ConfigError
from penstock_guard import safe_filename, safe_html


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "etc passwd"),
        ("C:\\Windows\\x.dll", "C Windows x.dll"),
        ("a\x00b\nc", "ab c"),
        ("", "file"),
        ("...", "file"),
    ],
)
def test_a_name_is_never_a_path(text: str, name: str) -> None:
    assert safe_filename(text).strip(". ") == name


@given(st.text(max_size=400))
def test_any_text_gives_a_name_that_a_file_can_have(text: str) -> None:
    name = safe_filename(text, max_length=100)
    assert name not in ("", ".", "..")
    assert not set(name) & set('/\\\0:*?"<>|\n\r')
    assert len(name.encode("utf-8", "replace")) <= 100


def test_names_that_a_system_keeps_for_itself_are_changed() -> None:
    assert safe_filename("CON") != "CON"
    assert safe_filename("nul.txt") != "nul.txt"


@pytest.mark.parametrize(
    "html",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        '<a href="javascript:alert(1)">x</a>',
        '<a href="data:text/html,x">x</a>',
        "<iframe src=//evil></iframe>",
        "<svg onload=alert(1)>",
    ],
)
def test_nothing_that_runs_stays_in_a_page(html: str) -> None:
    clean = safe_html(html)
    for bad in ("script", "onerror", "onload", "javascript", "iframe", "data:"):
        assert bad not in clean


def test_plain_markup_stays() -> None:
    assert safe_html("<b>hi</b> <i>you</i>") == "<b>hi</b> <i>you</i>"
    assert safe_html("<b>hi</b><i>you</i>", tags=["b"]) == "<b>hi</b>you"


@pytest.mark.parametrize(("module", "use"), [("pathvalidate", safe_filename), ("nh3", safe_html)])
def test_a_library_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, module: str, use: object
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match="pip install"):
        use("x")  # type: ignore[operator]
