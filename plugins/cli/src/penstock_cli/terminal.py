"""
What a model says must not steer the terminal: escape sequences and control characters are taken out.

Theory of operation
A terminal acts on ESC and on the C1 controls, U+0080 to U+009F. `ESC [` (or U+009B) opens a control
sequence that runs to its final byte, `@` to `~`. `ESC ]`, `ESC P`, `ESC X`, `ESC ^` and `ESC _` (or their C1
forms) open a string that runs to BEL, to ST, which is `ESC \\` or U+009C, or, because a string that never
ends would swallow the rest of the answer, to the end of the line. Any other `ESC` takes intermediates, space
to `/`, and one final character. A stream may be split anywhere, so the state is kept between pieces.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_GROUND, _ESCAPE, _SEQUENCE, _STRING, _STRING_ESCAPE = range(5)
_STRING_OPENERS = frozenset("]PX^_")
_STRING_OPENERS_C1 = frozenset("\x90\x98\x9d\x9e\x9f")


class Sanitizer:
    """Takes control characters and escape sequences out of text that comes in pieces."""

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state = _GROUND

    def feed(self, text: str) -> str:
        """The next piece without what a terminal would act on; line feeds and tabs stay."""
        if self._state == _GROUND and _CONTROLS.search(text) is None:
            return text
        return "".join(character for character in text if self._shows(character))

    def _shows(self, character: str) -> bool:
        """Whether a character is shown; moves the state."""
        state = self._state
        if state == _STRING_ESCAPE:
            if character == "\\":
                self._state = _GROUND
                return False
            state = self._state = _ESCAPE  # an ESC that does not end the string starts something new
        if state == _STRING:
            if character in "\x07\x9c":
                self._state = _GROUND
            elif character == "\x1b":
                self._state = _STRING_ESCAPE
            elif character == "\n":
                self._state = _GROUND
                return True
            return False
        if character in "\n\t":
            self._state = _GROUND if state == _ESCAPE else state
            return True
        if state == _ESCAPE and " " <= character <= "~":
            if character == "[":
                self._state = _SEQUENCE
            elif character in _STRING_OPENERS:
                self._state = _STRING
            elif not " " <= character <= "/":
                self._state = _GROUND
            return False
        if state == _SEQUENCE and " " <= character <= "~":
            if character >= "@":
                self._state = _GROUND
            return False
        return self._from_ground(character)

    def _from_ground(self, character: str) -> bool:
        self._state = _GROUND
        if character == "\x1b":
            self._state = _ESCAPE
        elif character == "\x9b":
            self._state = _SEQUENCE
        elif character in _STRING_OPENERS_C1:
            self._state = _STRING
        else:
            return not ("\x00" <= character < " " or "\x7f" <= character <= "\x9f")
        return False


def plain(text: str) -> str:
    """A whole text without what a terminal would act on."""
    return Sanitizer().feed(text)


def console(*, stderr: bool = False, **options: Any) -> Console:
    """
    A rich console that shows text as it is: no markup, no emoji names, no guessed highlights.

    Args:
        stderr: write there instead of stdout.
        options: as for rich's `Console`.
    """
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, **options)
