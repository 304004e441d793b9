from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.config.lines import key_lines

Where = dict[tuple[str | int, ...], int]


def paths(value: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    """Every path of what tomllib returns."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    found = {path} if path else set()
    for key, inner in items:
        found |= paths(inner, (*path, key))
    return found


EXAMPLE = '''\
# [not.a.table]
version = 1
pipeline = [  # a comment, with ] and "
    "cache",
    "retry",  # "not this"
]

[providers.openai]
api_key = "${KEY}" # = "x"
headers = { "X-A.b" = "1", nested = { deep = [1, {k = 2}] } }

  [limiter.targets."openai/gpt-4*"]
rate = '5/s'
text = """
[fake]
key = "value" \\"""
still = 1""""
raw = \'\'\'
[also.fake]
\'\'\'\'
a . "b" . 'c' = 1979-05-27 07:32:00Z
a.d = inf

[[prices]]
model = "a"
  [prices.tiers]
  low = 1
[[prices.steps]]
n = 1
[[prices.steps]]
n = 2
[[prices]]
model = "b"
[[prices.steps]]
n = 3
[late.table.inner]
x = 1
[late]
y = "\\u0041\\\\"
"qu\\"oted\\u0041" = 1
"" = 2
'''


def test_the_line_of_every_key_is_found() -> None:
    lines = key_lines(EXAMPLE)
    assert set(lines) == paths(tomllib.loads(EXAMPLE))
    text = EXAMPLE.splitlines()
    assert lines["version",] == 2
    assert lines["pipeline",] == 3
    assert lines["pipeline", 0] == 4
    assert lines["pipeline", 1] == 5
    assert lines["providers",] == lines["providers", "openai"] == 8
    assert lines["providers", "openai", "headers", "nested", "deep", 1, "k"] == 10
    assert text[lines["limiter", "targets", "openai/gpt-4*", "rate"] - 1] == "rate = '5/s'"
    assert text[lines["limiter", "targets", "openai/gpt-4*", "raw"] - 1] == "raw = '''"
    assert text[lines["limiter", "targets", "openai/gpt-4*", "a", "d"] - 1] == "a.d = inf"
    assert text[lines["prices", 0, "steps", 1, "n"] - 1] == "n = 2"
    assert text[lines["prices", 1, "steps", 0, "n"] - 1] == "n = 3"
    assert lines["prices",] == lines["prices", 0]
    assert text[lines["late",] - 1] == "[late]"
    assert text[lines["late", "table"] - 1] == "[late.table.inner]"


def test_line_ends_of_windows_count_once() -> None:
    assert key_lines(EXAMPLE.replace("\n", "\r\n")) == key_lines(EXAMPLE)


def test_an_empty_text_has_no_keys() -> None:
    assert key_lines("") == key_lines("\n\n# only this") == {}


KEYS = st.one_of(
    st.sampled_from(["a", "b", "c-d", "1", "e_f"]),
    st.text(alphabet="ab .#'\"\\[]{}=,\té\U0001f600", max_size=5),
)
SCALARS = st.one_of(
    st.sampled_from(["1", "-2.5e3", "true", "inf", "0xFF", "1979-05-27 07:32:00Z", "07:32:00"]),
    st.text(alphabet="ab \"'\\#[]{}=,\té\U0001f600", max_size=8).map(json.dumps),
    st.sampled_from(
        [
            "'#[a]'",
            "''",
            '""',
            '"""\n[x]\n"""',
            '"""a""""',
            '"""""',
            "'''\ny = 1'''",
            '"""\\\n  """',
            "''''a'''''",
        ]
    ).filter(lambda text: text != '"""""'),
)
GAPS = st.sampled_from(["", " ", "\n", "  # c ]}\"'\n", "\n\n\t"])
INSIDE = st.sampled_from(["", " ", "\t"])


def quoted(key: str, bare: bool) -> str:
    if bare and key and all(c in "abcdef123-_" for c in key):
        return key
    if "'" not in key and not bare:
        return f"'{key}'"
    return json.dumps(key, ensure_ascii=bare).replace("\\ud83d\\ude00", "\\U0001F600")


class Writer:
    """Writes a random document and notes where it put every key."""

    def __init__(self, draw: Any) -> None:
        self.draw, self.text, self.lines = draw, "", Where()

    def put(self, path: tuple[str | int, ...], force: bool = True) -> None:
        line = self.text.count("\n") + 1
        for length in range(1, len(path)):
            self.lines.setdefault(path[:length], line)
        self.lines[path] = line

    def value(self, path: tuple[str | int, ...], depth: int, inline: bool = False) -> None:
        kind = self.draw(st.sampled_from(["scalar", "array", "table"] if depth else ["scalar"]))
        if kind == "scalar":
            self.text += self.draw(SCALARS.filter(lambda text: not (inline and "\n" in text)))
        elif kind == "array":
            self.text += "["
            for index in range(self.draw(st.integers(0, 3))):
                self.text += ("," if index else "") + self.draw(GAPS)
                self.put((*path, index))
                self.value((*path, index), depth - 1, inline)
                self.text += self.draw(GAPS)
            self.text += "]"
        else:
            self.text += "{"
            for index, key in enumerate(self.draw(st.lists(KEYS, max_size=3, unique=True))):
                self.text += ("," if index else "") + self.draw(INSIDE)
                self.put((*path, key))
                self.text += (
                    quoted(key, self.draw(st.booleans())) + self.draw(INSIDE) + "=" + self.draw(INSIDE)
                )
                self.value((*path, key), depth - 1, inline=True)
                self.text += self.draw(INSIDE)
            self.text += "}"

    def pairs(self, table: tuple[str | int, ...]) -> None:
        for key in self.draw(st.lists(KEYS, max_size=3, unique=True)):
            dotted = self.draw(st.sampled_from([(key,), (key,), (key, "x"), (key, "y", key)]))
            self.text += self.draw(st.sampled_from(["", "\n", "# a = 1\n"])) + self.draw(INSIDE)
            self.put((*table, *dotted))
            space = self.draw(INSIDE)
            self.text += f"{space}.{space}".join(quoted(part, self.draw(st.booleans())) for part in dotted)
            self.text += self.draw(INSIDE) + "=" + self.draw(INSIDE)
            self.value((*table, *dotted), depth=2)
            self.text += self.draw(st.sampled_from(["\n", " # end\n", "\r\n"]))


@st.composite
def documents(draw: Any) -> tuple[str, Where]:
    writer = Writer(draw)
    writer.pairs(())
    taken = {path[0] for path in writer.lines}
    counts: dict[tuple[str | int, ...], int] = {}
    for name in draw(st.lists(st.sampled_from(["t", "u", "v"]), max_size=5)):
        array = name == "v"
        keys: tuple[str | int, ...] = (name,)
        deeper = draw(st.sampled_from(["", "w", "é."]))
        if not array and (name in taken or deeper):
            keys = (name, deeper, f"n{len(writer.lines)}")
        taken.add(name)
        parts = ".".join(quoted(str(key), draw(st.booleans())) for key in keys)
        path = keys
        if array:
            counts[keys] = counts.get(keys, -1) + 1
            path = (*keys, counts[keys])
        writer.text += draw(st.sampled_from(["", "\n", " \t"]))
        writer.put(path)
        writer.text += f"[[{parts}]]\n" if array else f"[ {parts} ] # [x]\n"
        writer.pairs(path)
        if array and draw(st.booleans()):
            writer.put((*path, "zz"))
            writer.text += f"[{parts}.zz]\n"
            writer.pairs((*path, "zz"))
    return writer.text, writer.lines


@given(documents())
def test_the_scanner_agrees_with_tomllib_and_with_the_writer(document: tuple[str, Where]) -> None:
    text, expected = document
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # two random keys that collide
        return
    lines = key_lines(text)
    assert set(lines) == paths(parsed)
    assert lines == expected


def test_the_random_documents_are_mostly_valid() -> None:
    """Guards the test above against a writer that only makes what tomllib refuses."""
    valid = total = 0

    @given(documents())
    def count(document: tuple[str, Where]) -> None:
        nonlocal valid, total
        total += 1
        try:
            tomllib.loads(document[0])
        except tomllib.TOMLDecodeError:
            return
        valid += bool(document[1])

    count()
    assert valid > total / 4


def test_real_project_files_are_scanned_whole() -> None:
    root = Path(__file__).parents[2]
    for file in [root / "pyproject.toml", *root.glob("plugins/*/pyproject.toml")]:
        text = file.read_text()
        assert set(key_lines(text)) == paths(tomllib.loads(text)), file.name
