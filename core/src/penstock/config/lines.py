"""
Where each key of a TOML text stands, so that a message can name the line.

tomllib reads the values and drops the places; this scanner reads the places and drops the values. It is only
given text that tomllib has accepted, so it need not find errors, only boundaries.

Rules
1. A path is made of keys and, inside arrays, indexes: exactly the paths of what tomllib returns.
2. A key stands where its `key =` or its `[header]` begins; an element of an array where its value begins.
3. A table that only longer keys imply stands where the first of them does, until its own header comes.
4. A header that goes through an array of tables means its last element.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from typing import TypeAlias

Path: TypeAlias = "tuple[str | int, ...]"

_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*'""")
_STRING = re.compile(
    r'''"""(?:\\.|[^\\])*?"""(?:"{0,2})|\'\'\'.*?\'\'\'(?:'{0,2})|"(?:\\.|[^"\\])*"|'[^']*\'''', re.DOTALL
)
_SCALAR = re.compile(r"[^,\]}\n#]*")


def key_lines(text: str) -> dict[Path, int]:
    """The line, from 1, of every key, table and array element of a valid TOML text."""
    return _Scanner(text).lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self.newlines = [match.start() for match in re.finditer("\n", text)]
        self.arrays: dict[Path, int] = {}
        table: Path = ()
        self.pass_by(_GAP)
        while self.at < len(text):
            if text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)
            self.pass_by(_GAP)

    def pass_by(self, pattern: re.Pattern[str]) -> str:
        """Move behind what the pattern matches here."""
        match = pattern.match(self.text, self.at)
        assert match is not None, "only text that tomllib accepts is scanned"  # noqa: S101
        self.at = match.end()
        return match.group()

    def note(self, path: Path, start: int) -> None:
        line = bisect_left(self.newlines, start) + 1
        for length in range(1, len(path)):
            self.lines.setdefault(path[:length], line)
        self.lines[path] = line

    def header(self) -> Path:
        start = self.at
        array = self.text.startswith("[[", start)
        self.at += 2 if array else 1
        parts = self.key()
        self.at += 2 if array else 1
        path: Path = ()
        for part in parts[:-1]:
            path = (*path, part)
            if path in self.arrays:
                path = (*path, self.arrays[path])
        path = (*path, parts[-1])
        if array:
            self.arrays[path] = self.arrays.get(path, -1) + 1
            path = (*path, self.arrays[path])
        self.note(path, start)
        return path

    def key(self) -> list[str]:
        parts = []
        while True:
            self.pass_by(_BLANK)
            part = self.pass_by(_KEY)
            if part[0] == '"' and "\\" in part:
                part = next(iter(tomllib.loads(f"{part} = 0")))
            elif part[0] in "\"'":
                part = part[1:-1]
            parts.append(part)
            self.pass_by(_BLANK)
            if self.text[self.at] != ".":
                return parts
            self.at += 1

    def pair(self, table: Path) -> None:
        start = self.at
        path = (*table, *self.key())
        self.note(path, start)
        self.at += 1  # the equals sign
        self.pass_by(_BLANK)
        self.value(path)

    def value(self, path: Path) -> None:
        opening = self.text[self.at]
        if opening in "\"'":
            self.pass_by(_STRING)
        elif opening in "[{":
            self.items(path, closing="]" if opening == "[" else "}")
        else:
            self.pass_by(_SCALAR)

    def items(self, path: Path, closing: str) -> None:
        """The elements of an array, or the pairs of an inline table."""
        self.at += 1
        index = 0
        while True:
            self.pass_by(_GAP)
            if self.text[self.at] == closing:
                self.at += 1
                return
            if closing == "}":
                self.pair(path)
            else:
                self.note((*path, index), self.at)
                self.value((*path, index))
            self.pass_by(_GAP)
            if self.text[self.at] == ",":
                self.at += 1
                index += 1
