"""What is asked, and what must come back."""

from __future__ import annotations

import itertools
from typing import Any

from modes import Mode
from upstream import TEXT, streamed_text

MODEL = "gpt-4o-mini"
KEY = "sk-benchmark"
SYSTEM = "You are a helpful assistant who answers in one sentence."
_numbers = itertools.count(1)


def prompt() -> str:
    """A question nobody has asked before, so that no cache can know the answer."""
    return f"call-{next(_numbers)}: what is a penstock, and what does its gate decide?"


def messages(text: str | None = None) -> list[dict[str, Any]]:
    """A conversation of two messages, as every OpenAI client takes it."""
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text or prompt()}]


def check(text: str | None) -> None:
    """Refuse an answer that is not the upstream's."""
    if text != TEXT:
        raise ValueError(f"unexpected answer: {text!r}")


def check_stream(parts: list[str | None], mode: Mode) -> None:
    """Refuse a stream whose parts are not the upstream's text."""
    text = "".join(part or "" for part in parts)
    if text != streamed_text(mode.path):
        raise ValueError(f"unexpected stream of {len(parts)} parts: {text[:60]!r}...")
