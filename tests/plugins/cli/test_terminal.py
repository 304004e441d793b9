"""What a model says must not steer the terminal, however it is split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_cli.terminal import Sanitizer, plain

HOSTILE = [
    ("plain text, ümlaut, 漢字, 🙂\n\tnext", "plain text, ümlaut, 漢字, 🙂\n\tnext"),
    ("\x1b[31mred\x1b[0m", "red"),
    ("\x1b[2J\x1b[1;1Hover", "over"),
    ("\x1b]0;new title\x07after", "after"),
    ("\x1b]8;;http://evil.test\x1b\\link\x1b]8;;\x1b\\", "link"),
    ("\x1b]52;c;Y2xpcGJvYXJk\x9cafter", "after"),
    ("\x9b31mred", "red"),
    ("\x9d0;title\x9cafter", "after"),
    ("\x1bPq#0;2;0;0;0\x1b\\after", "after"),
    ("\x1b(Bcharset", "charset"),
    ("\x1bcreset", "reset"),
    ("over\rwrite", "overwrite"),
    ("bell\x07 back\x08space null\x00 delete\x7f", "bell backspace null delete"),
    ("\x1b]0;a string that never ends\nthe next line is shown", "\nthe next line is shown"),
    ("\x1b[12\x1b[31mred", "red"),
    ("\x1bébc", "ébc"),
    ("ends in an escape \x1b", "ends in an escape "),
]


@pytest.mark.parametrize(("said", "shown"), HOSTILE)
def test_control_sequences_are_taken_out(said: str, shown: str) -> None:
    assert plain(said) == shown


@pytest.mark.parametrize(("said", "shown"), HOSTILE)
def test_a_sequence_split_over_pieces_is_still_taken_out(said: str, shown: str) -> None:
    sanitizer = Sanitizer()
    assert "".join(sanitizer.feed(character) for character in said) == shown


@given(st.text(alphabet=st.sampled_from("ab[]P\\;0mé\x1b\x9b\x9c\x9d\x07\n\t\r ")), st.integers(0, 40))
def test_nothing_a_terminal_acts_on_is_left(text: str, at: int) -> None:
    sanitizer = Sanitizer()
    shown = sanitizer.feed(text[:at]) + sanitizer.feed(text[at:])
    assert not [c for c in shown if (c < " " and c not in "\n\t") or "\x7f" <= c <= "\x9f"]
    assert shown == plain(text)
