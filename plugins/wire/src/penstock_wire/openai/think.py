"""
Reasoning written into the text: a leading `<think>...</think>` taken out, however it is split.

Only a tag at the very start counts; further in it is something the model writes about. What may still
become a tag is held back, at most seven characters.
"""

from __future__ import annotations

_OPEN, _CLOSE = "<think>", "</think>"


class ThinkSplitter:
    """Splits the text of one choice."""

    __slots__ = ("_held", "_state")

    def __init__(self) -> None:
        self._state = "start"
        self._held = ""

    def feed(self, text: str) -> tuple[str, str]:
        """The text and the reasoning that are certain with this piece."""
        if self._state == "text":
            return text, ""
        held = self._held + text
        self._held = ""
        reasoning = ""
        if self._state == "start":
            bare = held.lstrip()
            if _OPEN.startswith(bare):  # also when there is nothing yet
                if bare != _OPEN:
                    self._held = held
                    return "", ""
            elif not bare.startswith(_OPEN):
                self._state = "text"
                return held, ""
            self._state = "thinking"
            held = bare[len(_OPEN) :]
        if self._state == "thinking":
            reasoning, closed, rest = held.partition(_CLOSE)
            if not closed:
                cut = len(held) - _overlap(held)
                self._held = held[cut:]
                return "", held[:cut]
            self._state = "after"
            held = rest
        held = held.lstrip("\r\n")
        if held:
            self._state = "text"
        return held, reasoning

    def flush(self) -> tuple[str, str]:
        """What was held back; the choice is over."""
        held, self._held = self._held, ""
        return ("", held) if self._state == "thinking" else (held, "")


def _overlap(text: str) -> int:
    """How many characters at the end of `text` begin a closing tag."""
    for size in range(min(len(text), len(_CLOSE) - 1), 0, -1):
        if _CLOSE.startswith(text[-size:]):
            return size
    return 0
