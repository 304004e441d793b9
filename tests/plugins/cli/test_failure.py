"""From errors to messages and exit codes."""

from __future__ import annotations

import pytest

from penstock import (
    AllTargetsFailed,
    Attempt,
    AuthenticationError,
    CallError,
    ConfigError,
    InvalidRequestError,
    RateLimitError,
    StreamInterrupted,
    Target,
    UnknownModelError,
    UsageError,
)
from penstock_cli.failure import exit_code, lines_of, report, seconds


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (UsageError("x"), 2),
        (UnknownModelError("x"), 2),
        (InvalidRequestError("refused by the server", status=400), 1),
        (RateLimitError("x"), 1),
        (StreamInterrupted("x"), 1),
        (ValueError("a bug"), 1),
    ],
)
def test_what_was_refused_before_anything_was_sent_is_exit_code_2(error: Exception, code: int) -> None:
    assert exit_code(error) == code


def test_a_call_error_names_its_class_message_attempts_and_hint() -> None:
    error = RateLimitError("slow down", retry_after=12.0, upstream_id="req_7")
    target = Target("openai", "gpt-4o")
    error.attempts = (
        Attempt(1, target, 0.0, ended=0.25, error=error),
        Attempt(2, target, 1.0, ended=1.5, error=error, delay=0.75),
    )
    error.tag("budget_exhausted")
    assert lines_of(error) == [
        "error: RateLimitError: slow down",
        "  upstream request id: req_7",
        "  budget exhausted",
        "  attempts: 2",
        "    1. openai/gpt-4o, took 250 ms, RateLimitError",
        "    2. openai/gpt-4o, waited 750 ms, took 500 ms, RateLimitError",
        "  retry after: 12 s",
    ]


def test_all_failed_targets_are_listed() -> None:
    first, second = RateLimitError("busy", retry_after=3.0), AuthenticationError("bad key")
    first.target = Target("a", "m")
    lines = lines_of(AllTargetsFailed("nobody answered", [first, second]))
    assert lines[1:] == [
        "  a/m: RateLimitError: busy",
        "  a target: AuthenticationError: bad key",
        "  retry after: 3 s",
    ]


def test_a_message_is_masked_and_stripped(capsys: pytest.CaptureFixture[str]) -> None:
    report(CallError("bad key sk-abcdefgh12345678 \x1b[31mred"), debug=False)
    assert capsys.readouterr().err == "error: CallError: bad key *** red\n"


def test_debug_shows_the_traceback_masked(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="the key") as raised:
        raise ValueError("the key is sk-abcdefgh12345678")
    assert report(raised.value, debug=True) == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "test_failure.py" in shown
    assert "sk-abcdefgh12345678" not in shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 ms"),
        (0.0004, "0.4 ms"),
        (0.012, "12 ms"),
        (0.9, "900 ms"),
        (1.5, "1.5 s"),
        (90, "90 s"),
        (577.3, "577 s"),
    ],
)
def test_durations_are_short(value: float, shown: str) -> None:
    assert seconds(value) == shown
