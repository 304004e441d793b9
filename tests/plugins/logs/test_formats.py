"""Lines for people and for machines."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.redaction import Redactor
from penstock_logs import JsonFormatter, TextFormatter

SECRET = "tulip-0123456789"
REDACT = Redactor((SECRET, 'quo"ted\\key'))


def record(message: Any, *arguments: Any, **extra: Any) -> logging.LogRecord:
    made = logging.getLogger("a.b").makeRecord("a.b", logging.INFO, "f.py", 1, message, arguments, None)
    made.created = 1_000_000_000.1239
    made.__dict__.update(extra)
    return made


def text(*arguments: Any, **extra: Any) -> str:
    return TextFormatter(REDACT).format(record(*arguments, **extra))


def entry(*arguments: Any, **extra: Any) -> dict[str, Any]:
    line = JsonFormatter(REDACT).format(record(*arguments, **extra))
    assert "\n" not in line
    read: dict[str, Any] = json.loads(line)
    return read


def test_a_line_for_people() -> None:
    assert text("all %s", "well") == "2001-09-09T01:46:40.123Z INFO a.b all well"
    fields = {"request_id": "ada-1", "provider": "openai", "model": "gpt", "attempt": 2}
    assert text("well", **fields) == "2001-09-09T01:46:40.123Z INFO a.b [ada-1 openai/gpt #2] well"


def test_a_line_for_machines() -> None:
    assert entry("all %s", "well", request_id="ada-1", delay=0.5, tags=["a", 1, None]) == {
        "time": "2001-09-09T01:46:40.123Z",
        "level": "INFO",
        "logger": "a.b",
        "message": "all well",
        "request_id": "ada-1",
        "delay": 0.5,
        "tags": ["a", 1, None],
    }


def test_a_field_cannot_replace_what_a_line_says_itself() -> None:
    assert entry("mine", level="DEBUG", time="never", logger="x")["level"] == "INFO"


def test_a_message_cannot_forge_a_line_or_colour_a_terminal() -> None:
    forged = "hello\n2001-09-09T01:46:40.123Z ERROR a.b forged\r\x1b[31m\x85\u2028"
    assert len(text(forged).splitlines()) == 1
    assert "\x1b" not in text(forged)
    assert text("a\nb").endswith(r"a\nb")
    assert entry(forged)["message"] == forged


def test_a_traceback_follows_and_is_masked_with_its_causes() -> None:
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise ValueError(f"\x1bpassword={SECRET}") from error
    except ValueError:
        info = sys.exc_info()
    shown = text("failed", exc_info=info)
    assert shown.splitlines()[0].endswith("failed")
    assert "KeyError: '***'" in shown
    assert "ValueError: \\x1bpassword=***" in shown
    assert SECRET not in shown
    assert entry("failed", exc_info=info)["exception"].count("***") == 2


def test_what_another_handler_left_behind_is_masked_too() -> None:
    assert "key ***" in text("failed", exc_text=f"key {SECRET}")
    assert entry("failed", stack_info=f"Stack: {SECRET}")["exception"] == "Stack: ***"


@pytest.mark.parametrize("make", [text, lambda *a, **k: json.dumps(entry(*a, **k), ensure_ascii=False)])
@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("the key is %s", SECRET), {}),
        (("%r", {"headers": {"authorization": f"Bearer {SECRET}"}}), {}),
        (("get https://ada:hunter2@host/v1?key=abcdef123456",), {}),
        (("Basic YWRhOmh1bnRlcjI=",), {}),
        (("plain", ), {"extra": SECRET}),
        (("plain", ), {"extra": {"deep": [SECRET, {SECRET: 1}]}}),
        (("plain", ), {"request_id": SECRET}),
        (('the key is quo"ted\\key',), {"extra": 'quo"ted\\key'}),
        (("%d is no number", SECRET), {}),
    ],
    ids=str,
)  # fmt: skip
def test_no_secret_is_in_the_line(make: Any, arguments: Any, extra: Any) -> None:
    line = make(*arguments, **extra)
    for secret in (SECRET, "hunter2", "abcdef123456", "YWRhOmh1bnRlcjI", 'quo"ted', 'quo\\"ted'):
        assert secret not in line


def test_a_record_that_cannot_be_formatted_still_gives_a_line() -> None:
    assert text("%d items", "many").endswith("%d items (cannot be formatted: TypeError)")
    assert entry("%s and %s", 1)["message"] == "%s and %s (cannot be formatted: TypeError)"


def test_a_mask_across_the_syntax_keeps_the_line_readable() -> None:
    read = entry("plain", token=123456789)
    assert read["message"] == "plain"
    assert "123456789" not in json.dumps(read)


class Odd:
    def __str__(self) -> str:
        return f"odd {SECRET}"


def test_a_field_of_any_type_is_written_as_text() -> None:
    assert entry("plain", thing=Odd())["thing"] == "odd ***"


@given(st.text(), st.dictionaries(st.text(min_size=1), st.text()), st.text())
def test_every_line_of_json_can_be_read(message: str, fields: dict[str, str], model: str) -> None:
    made = record("%s", message, model=model)
    for name, value in fields.items():
        made.__dict__.setdefault(name, value)
    line = JsonFormatter(Redactor()).format(made)
    assert len(line.splitlines()) == 1
    assert json.loads(line)["level"] == "INFO"


@given(st.text(), st.text())
def test_every_line_for_people_is_one(message: str, model: str) -> None:
    assert len(TextFormatter(Redactor()).format(record("%s", message, model=model)).splitlines()) == 1
