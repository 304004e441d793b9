"""JSON in and out: the quick ways give what the standard library gives."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.messages import ChatRequest, Image, Message, Text, Tool, ToolCall
from penstock_wire.jsonbytes import dumps, dumps_plain, loads
from penstock_wire.openai import request as request_module
from penstock_wire.openai.quirks import Quirks
from penstock_wire.openai.request import chat_payload, is_plain

SCALAR = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from(["\ud800", "\u2028", "\x00", "\x7f", '"\\'])
)
JSON = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)
TOKENS = (
    *("{", "}", "[", "]", ",", ":", '"', '"k":', "\\", "u", "d800", "'", "a", "/*", " ", "\n", "\ufeff"),
    *("1", "-", "0", ".", "e5", "9" * 30, "NaN", "-Infinity", "true", "nul", "\x01", "\ud800"),
)
PIECES = st.lists(st.sampled_from(TOKENS), max_size=12).map("".join)


def outcome(read: Any, text: str) -> str:
    """What comes of reading, in a form that tells 1 from 1.0, -0.0 from 0.0 and NaN from others."""
    try:
        return repr(read(text))
    except ValueError:
        return "refused"


@given(JSON, st.booleans(), st.sampled_from([None, 1]))
def test_what_the_standard_library_writes_is_read_as_it_reads_it(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert repr(loads(text)) == repr(json.loads(text))


@given(PIECES)
def test_what_the_standard_library_refuses_is_refused(text: str) -> None:
    assert outcome(loads, text) == outcome(json.loads, text)


def test_numbers_beyond_all_measure_are_read_as_ever() -> None:
    assert loads("[1e400, -1e400]") == [math.inf, -math.inf]
    assert loads("123456789012345678901234567890") == 123456789012345678901234567890
    assert math.isnan(loads("NaN"))


@given(JSON)
def test_both_ways_of_writing_say_the_same(value: Any) -> None:
    assert repr(json.loads(dumps_plain(value))) == repr(json.loads(dumps(value)))


PLAIN = ChatRequest(
    model="m", messages=(Message("system", "\ud83d é"), Message("user", "b")), temperature=0.5
)


@pytest.mark.parametrize(
    "changed",
    [
        {"messages": (Message("user", (Text("a"),)),)},
        {"messages": (Message("user", (Image(url="https://a.example/b.png"),)),)},
        {"messages": (Message("assistant", None, tool_calls=(ToolCall("1", "f", "{}"),)),)},
        {"messages": (Message("user", "a", extra={"k": b"bytes"}),)},
        {"tools": (Tool("f"),)},
        {"extra": {"k": {1, 2}}},
        {"stop": ["a"]},
        {"logit_bias": {"1": 1.0}},
        {"metadata": {"k": object()}},
        {"response_format": {"type": "json_object"}},
        {"tool_choice": {"type": "function"}},
        {"temperature": Decimal("0.5")},
        {"user": b"bytes"},
        {"seed": {1}},
        {"messages": (Message("user", "a", name=Decimal(1)),)},
    ],
)
def test_a_request_that_may_hold_anything_is_not_plain(changed: dict[str, Any]) -> None:
    assert is_plain(PLAIN)
    assert not is_plain(replace(PLAIN, **changed))


def test_every_field_that_may_hold_more_than_scalars_is_looked_at() -> None:
    looked_at = {*request_module._LOOKED_AT, "tools", "extra", "messages"}
    assert {each.name for each in fields(ChatRequest)} == looked_at | {"model", "stream"}


def test_a_plain_request_is_written_as_any_other() -> None:
    payload = chat_payload(PLAIN, "m", Quirks())
    assert dumps_plain(payload) == dumps(payload)
