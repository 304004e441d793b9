from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import MalformedResponse
from penstock_wire.jsonbytes import dumps, loads, loads_bytes, loads_first
from penstock_wire.ndjson import NDJSONDecoder


def decode(*pieces: bytes, limit: int = 1000) -> list[str]:
    decoder = NDJSONDecoder(max_line_bytes=limit)
    return [line for piece in pieces for line in decoder.feed(piece)] + decoder.close()


def test_the_last_line_may_lack_its_line_feed() -> None:
    assert decode(b'{"a":1}\n{"b"', b":2}") == ['{"a":1}', '{"b":2}']


def test_blank_lines_and_carriage_returns_are_dropped() -> None:
    assert decode(b'\n \r\n{"a":1}\r\n\n') == ['{"a":1}']


def test_line_separators_of_unicode_are_text() -> None:
    line = '{"t":"a\u2028b"}'
    assert decode(f"{line}\n".encode()) == [line]


@pytest.mark.parametrize("body", [b"x" * 40, b"x" * 40 + b"\n"])
def test_a_line_over_the_limit_is_malformed_however_it_arrives(body: bytes) -> None:
    for pieces in ([body], [body[n : n + 1] for n in range(len(body))]):
        with pytest.raises(MalformedResponse, match="longer than 32 bytes"):
            decode(*pieces, limit=32)


@given(
    st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=9), max_size=2), max_size=5),
    st.integers(1, 9),
)
def test_lines_come_out_as_they_were_written_however_they_are_split(
    documents: list[dict[str, str]], size: int
) -> None:
    body = b"".join(dumps(document) + b"\n" for document in documents)
    lines = decode(*[body[n : n + size] for n in range(0, len(body), size)])
    assert [loads(line) for line in lines] == documents


def test_a_body_may_begin_with_white_space_or_a_byte_order_mark() -> None:
    assert loads_bytes(b"\n  \r\n {}") == {}
    assert loads_bytes(b"\xef\xbb\xbf{}") == {}


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 5000, "<html>"])
def test_what_is_no_document_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        loads(text)


def test_what_follows_the_first_document_can_be_ignored() -> None:
    assert loads_first('{"a":1}"') == {"a": 1}
    with pytest.raises(ValueError):
        loads_first('{"a":')


def test_lone_surrogates_and_odd_floats_survive_the_way_out_and_back() -> None:
    assert loads(dumps({"t": "\ud800", "n": 10**30}).decode()) == {"t": "\ud800", "n": 10**30}


def test_what_json_cannot_hold_is_a_type_error_that_names_the_type() -> None:
    with pytest.raises(TypeError, match="object"):
        dumps({"x": object()})
