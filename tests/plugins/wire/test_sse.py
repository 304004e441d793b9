from __future__ import annotations

import base64
import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import MalformedResponse
from penstock_wire.jsonbytes import dumps, loads_bytes
from penstock_wire.ndjson import NDJSONDecoder
from penstock_wire.sse import ServerEvent, SSEDecoder

FOLDER = Path(os.environ.get("PENSTOCK_RECORDINGS", "/nonexistent"))


def decode(*pieces: bytes, flush: bool = False, **options: int) -> list[ServerEvent]:
    decoder = SSEDecoder(flush=flush, **options)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.close()


def each_byte(body: bytes) -> list[bytes]:
    return [body[n : n + 1] for n in range(len(body))]


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[a:b] for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_line_end_of_the_standard_ends_a_line(end: bytes) -> None:
    body = end.join([b"event: ping", b"data: one", b"", b"data:two", b"", b""])
    expected = [("one", "ping"), ("two", None)]
    assert decode(body) == expected
    assert decode(*each_byte(body)) == expected


def test_a_crlf_cut_between_two_reads_is_one_line_end() -> None:
    assert decode(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [("a\nb", None)]


def test_a_cr_at_the_end_of_a_read_dispatches_without_waiting_for_what_follows() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\r\r") == [("a", None)]


def test_data_lines_are_joined_and_only_one_space_is_dropped() -> None:
    assert decode(b"data:  a\ndata\ndata: b\n\n") == [(" a\n\nb", None)]


def test_comments_ids_and_unknown_fields_make_no_event() -> None:
    assert decode(b": ping\n\nid: 4\n\nretry: 10\n\nfoo: bar\n\ndata: x\n\n") == [("x", None)]


def test_an_event_type_without_data_does_not_leak_into_the_next_event() -> None:
    assert decode(b"event: ping\n\ndata: x\n\n") == [("x", None)]


def test_line_separators_of_unicode_are_text() -> None:
    text = "a\u2028b\u2029c\u0085d\x0b\x0ce"
    assert decode(f"data: {text}\n\n".encode()) == [(text, None)]


def test_one_byte_order_mark_is_dropped_and_only_at_the_start() -> None:
    mark = b"\xef\xbb\xbf"
    assert decode(*each_byte(mark + b"data: " + mark + b"x\n\n")) == [("\ufeffx", None)]


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    assert decode(b"data: \xff\n\n") == [("\ufffd", None)]


def test_an_event_without_its_blank_line_is_dropped_unless_flush_is_asked() -> None:
    assert decode(b"data: a\n\ndata: b") == [("a", None)]
    assert decode(b"data: a\n\ndata: b", flush=True) == [("a", None), ("b", None)]
    assert decode(b"data: a\n\nevent: e\ndata: b\n", flush=True) == [("a", None), ("b", "e")]


@pytest.mark.parametrize(
    "body", [b"data: " + b"x" * 100, b"data: " + b"x" * 100 + b"\n\n", b"data: xxxxxxxxxx\n" * 9]
)
def test_an_event_over_the_limit_is_malformed_however_it_arrives(body: bytes) -> None:
    for pieces in ([body], each_byte(body)):
        with pytest.raises(MalformedResponse, match="larger than 64 bytes"):
            decode(*pieces, max_event_bytes=64)


def test_keep_alive_comments_never_add_up_to_the_limit() -> None:
    assert decode(*[b": ping\n"] * 50, b"data: x\n\n", max_event_bytes=64) == [("x", None)]


def test_a_large_event_in_single_bytes_is_linear() -> None:
    body = b"data: " + b"x" * 300_000 + b"\n\n"
    assert len(decode(*each_byte(body))[0].data) == 300_000


LINES = st.lists(
    st.one_of(
        st.sampled_from([b"", b"", b"data", b"data:", b"event: e", b": c", b"id: 1", b"\xef\xbb\xbfdata: m"]),
        st.binary(max_size=12).map(lambda raw: b"data: " + raw.replace(b"\n", b"").replace(b"\r", b"")),
        st.text(max_size=8).map(
            lambda t: b"data:" + t.replace("\n", "").replace("\r", "").encode("utf-8", "ignore")
        ),
    ),
    max_size=12,
)


@given(
    LINES,
    st.lists(st.sampled_from([b"\n", b"\r", b"\r\n"]), min_size=12, max_size=12),
    st.lists(st.integers(0, 999), max_size=8),
)
def test_the_same_events_come_out_however_the_bytes_are_split(
    lines: list[bytes], ends: list[bytes], places: list[int]
) -> None:
    body = b"".join(line + end for line, end in zip(lines, ends, strict=False))
    whole = decode(body, flush=True)
    assert decode(*each_byte(body), flush=True) == whole
    assert decode(*cut(body, places), flush=True) == whole


@given(st.lists(st.text(max_size=20), max_size=6))
def test_what_a_server_writes_is_what_comes_out(texts: list[str]) -> None:
    written = [dumps(text).decode() for text in texts]
    body = "".join(f"data: {text}\n\n" for text in written).encode()
    assert [event.data for event in decode(body)] == written


def edge_cases() -> list[Any]:
    path = FOLDER / "edge" / "stream_edge_cases.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else []


@pytest.mark.skipif(not edge_cases(), reason="PENSTOCK_RECORDINGS names no folder of recorded traffic")
@pytest.mark.parametrize("case", edge_cases(), ids=lambda case: case["name"])
def test_the_edge_cases_decode_whole_byte_by_byte_and_at_random_splits(case: dict[str, Any]) -> None:
    given_pieces = [base64.b64decode(piece) for piece in case["chunks_b64"]]
    body = b"".join(given_pieces)
    random_cuts = [cut(body, [seed * 7, seed * 31, seed * 101, seed * 1009]) for seed in range(1, 9)]
    for pieces in (given_pieces, [body], each_byte(body), *random_cuts):
        if case["kind"] == "json":
            assert loads_bytes(b"".join(pieces)) == json.loads(case["expect"][0])
            continue
        decoder: Any = SSEDecoder() if case["kind"] == "sse" else NDJSONDecoder()
        found = [item for piece in pieces for item in decoder.feed(piece)] + decoder.close()
        if case["kind"] == "ndjson":
            assert found == case["expect"]
            continue
        for item, expected in zip(found, case["expect"], strict=True):
            assert item.event == expected["event"]
            if "data_len" in expected:
                assert len(item.data) == expected["data_len"]
            else:
                assert item.data == expected["data"]
