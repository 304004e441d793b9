"""Entries: what is read is equal to what was written, in few bytes, and never a pickle."""

from __future__ import annotations

import contextlib
import json
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.call import Target
from penstock.messages import ToolCall
from penstock.responses import (
    Assembly,
    ChatResponse,
    Choice,
    Chunk,
    EmbedResponse,
    ToolCallDelta,
    Usage,
)
from penstock_cache.entry import (
    CorruptEntry,
    Decoder,
    Entry,
    Unstorable,
    at_hand,
    decode,
    encode,
    kept_as,
    record,
    revive,
)
from penstock_cache.key import SCHEMA

TARGET = Target("openai", "gpt-4o")
TEXT = st.text(max_size=8) | st.sampled_from(["\ud800", "é\n", "a" * 2000])
COUNT = st.none() | st.integers(0, 10**6)
USAGE = st.none() | st.builds(Usage, COUNT, COUNT, COUNT, COUNT)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
EXTRA = st.dictionaries(TEXT, JSON, max_size=2)
FINISH = st.sampled_from([None, "stop", "length", "tool_calls"])
CHOICE = st.builds(
    Choice,
    text=TEXT,
    reasoning=TEXT,
    refusal=TEXT,
    tool_calls=st.lists(st.builds(ToolCall, TEXT, TEXT, TEXT, EXTRA), max_size=2).map(tuple),
    finish_reason=FINISH,
    raw_finish_reason=st.none() | TEXT,
    logprobs=JSON,
    extra=EXTRA,
)
RESPONSE = st.builds(
    ChatResponse,
    choices=st.lists(CHOICE, min_size=1, max_size=2).map(tuple),
    model=TEXT,
    id=TEXT,
    usage=USAGE,
    extra=EXTRA,
    upstream_id=st.none() | TEXT,
)
DELTA = st.builds(ToolCallDelta, st.integers(0, 2), TEXT, TEXT, TEXT, st.none() | EXTRA)
CHUNK = st.builds(
    Chunk,
    text=TEXT,
    reasoning=TEXT,
    refusal=TEXT,
    tool_calls=st.just(()) | st.lists(DELTA, max_size=2),
    finish_reason=FINISH,
    raw_finish_reason=st.none() | TEXT,
    usage=USAGE,
    choice=st.integers(0, 1),
    logprobs=JSON,
) | st.builds(Chunk, TEXT)
FLOATS = st.floats(allow_nan=False) | st.floats(allow_nan=False, width=32) | st.just(1)
VECTORS = st.lists(st.lists(FLOATS, max_size=4).map(tuple), max_size=3).map(tuple)
EMBEDDED = st.builds(EmbedResponse, VECTORS, TEXT, USAGE, st.none() | TEXT)


@settings(max_examples=200, deadline=None)
@given(RESPONSE | EMBEDDED)
def test_an_answer_is_read_as_it_was_written(answer: Any) -> None:
    entry = Entry(1.25, 61.5, TARGET, answer)
    assert decode(encode(entry)) == entry
    assert decode(encode(entry)).response() == answer


@settings(max_examples=200, deadline=None)
@given(st.lists(CHUNK, min_size=1, max_size=6), EXTRA)
def test_a_stream_is_replayed_event_by_event_and_adds_up(chunks: list[Chunk], extra: Any) -> None:
    assembly = Assembly()
    for chunk in chunks:
        assembly.add(chunk)
    assembly.model, assembly.id, assembly.extra = "m", "id", extra
    response = assembly.response("up")
    rest, log = kept_as(response, [record(chunk) for chunk in chunks])
    assert log is not None
    entry = decode(encode(Entry(0.0, 1.0, TARGET, rest, log)))
    assert [revive(event) for event in entry.log or ()] == chunks
    assert entry.response() == response


def test_a_stream_that_was_begun_anew_is_kept_from_its_last_beginning() -> None:
    chunks = [Chunk("bro"), Chunk("a", reset=True), Chunk("b"), Chunk(finish_reason="stop", reset=False)]
    assembly = Assembly()
    for chunk in chunks:
        assembly.add(chunk)
    response = assembly.response()
    rest, log = kept_as(response, [record(chunk) for chunk in chunks])
    assert [revive(event) for event in log or ()] == [Chunk("a"), Chunk("b"), Chunk(finish_reason="stop")]
    assert Entry(0.0, 1.0, TARGET, rest, log).response() == response


def test_events_that_do_not_add_up_to_the_answer_are_not_kept() -> None:
    response = ChatResponse((Choice("rewritten", finish_reason="stop"),))
    assert kept_as(response, ["original"]) == (response, None)


def test_a_recorded_event_does_not_change_with_its_chunk() -> None:
    chunk = Chunk("a", tool_calls=[ToolCallDelta(0, "id", "f", "{")])
    event = record(chunk)
    chunk.text = "b"
    chunk.tool_calls[0].arguments = "changed"
    assert revive(event).tool_calls[0].arguments == "{"
    assert revive(event).text == "a"
    revive(event).tool_calls[0].arguments = "changed by one reader"
    assert revive(event).tool_calls[0].arguments == "{"


def test_pieces_of_text_are_kept_as_bare_strings() -> None:
    assert record(Chunk("piece")) == "piece"


def test_long_answers_are_compressed_and_short_ones_are_not() -> None:
    short = encode(Entry(0.0, 1.0, TARGET, ChatResponse((Choice("a" * 100),))))
    long = encode(Entry(0.0, 1.0, TARGET, ChatResponse((Choice("a" * 4000),))))
    assert json.loads(short)[0] == SCHEMA
    assert len(long) < 300
    assert json.loads(zlib.decompress(long[1:]))[3:5] == list(TARGET)


def test_vectors_take_four_bytes_where_that_is_exact() -> None:
    exact = encode(Entry(0.0, 1.0, TARGET, EmbedResponse(((0.5,) * 1000,))))
    double = encode(Entry(0.0, 1.0, TARGET, EmbedResponse(((0.1,) * 1000,))))
    assert 4000 < len(exact) < 4200
    assert 8000 < len(double) < 8200


@pytest.mark.parametrize(
    "answer",
    [
        ChatResponse((Choice("a"),), extra={"k": object()}),
        ChatResponse((Choice("a", logprobs={1, 2}),)),
        EmbedResponse(((2**60 + 1,),)),
        EmbedResponse((("text",),)),  # type: ignore[arg-type]
    ],
)
def test_what_would_not_come_back_equal_is_refused(answer: Any) -> None:
    with pytest.raises(Unstorable):
        encode(Entry(0.0, 1.0, TARGET, answer))


GOOD = encode(Entry(0.0, 1.0, TARGET, ChatResponse((Choice("a"),))))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"\x80\x04K\x01.",
        b"Z" + GOOD,
        b"V" + GOOD,
        GOOD[:-1],
        GOOD.replace(b"[%d," % SCHEMA, b"[99,", 1),
        GOOD[:-1] + b',["a",["too","few"]]]',
        b'V[%d,0,1,"p","m","f",[[3],"m",null,null]]\nshort' % SCHEMA,
    ],
)
def test_whatever_else_the_store_gives_back_is_no_entry(data: bytes) -> None:
    with pytest.raises(CorruptEntry):
        decode(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40) | st.binary(max_size=20).map(lambda tail: GOOD[:20] + tail))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with contextlib.suppress(CorruptEntry):
        decode(data)


def test_a_remembered_decoding_follows_its_bytes() -> None:
    decoder = Decoder()
    first = decoder("k", GOOD)
    assert decoder("k", bytes(bytearray(GOOD))) is first
    other = encode(Entry(5.0, 6.0, TARGET, ChatResponse((Choice("b"),))))
    assert decoder("k", other).created == 5.0
    for number in range(200):
        decoder(str(number), GOOD)
    assert len(decoder._recent) <= Decoder.MAX_ENTRIES


# At hand


def test_a_short_answer_is_kept_as_it_is_and_a_long_one_as_bytes() -> None:
    short = Entry(0.0, 1.0, TARGET, ChatResponse((Choice("a" * 300),), extra={"system_fingerprint": "fp"}))
    assert at_hand(short) is short
    assert isinstance(at_hand(Entry(0.0, 1.0, TARGET, ChatResponse((Choice("a" * 4000),)))), bytes)
    calls = (ToolCall("1", "f", "{}"),)
    assert isinstance(at_hand(Entry(0.0, 1.0, TARGET, ChatResponse((Choice("a", tool_calls=calls),)))), bytes)


@pytest.mark.parametrize(
    "answer",
    [
        ChatResponse((Choice("a"),), extra={"k": "v" * 5000}),
        ChatResponse((Choice("a"),), extra={"k" * 5000: 1}),
        ChatResponse((Choice("a", reasoning="r" * 5000),)),
        ChatResponse((Choice("a"),), id="i" * 5000),
        ChatResponse((Choice("a"),), model="m" * 5000),
        ChatResponse((Choice("a"),), upstream_id="u" * 5000),
        ChatResponse((Choice("a"),) * 50),
        ChatResponse((Choice("\U0001f600" * 1000),)),
    ],
    ids=["extra", "key", "reasoning", "id", "model", "upstream", "choices", "wide"],
)
def test_whatever_is_large_in_an_answer_counts(answer: ChatResponse) -> None:
    assert isinstance(at_hand(Entry(0.0, 1.0, TARGET, answer)), bytes)


def test_what_the_caller_writes_into_his_answer_is_not_in_the_one_that_is_kept() -> None:
    extra = {"system_fingerprint": "fp"}
    entry = at_hand(Entry(0.0, 1.0, TARGET, ChatResponse((Choice("a"),), extra=extra)))
    extra["mine"] = "poison"
    assert isinstance(entry, Entry)
    assert entry.response() == ChatResponse((Choice("a"),), extra={"system_fingerprint": "fp"})
    assert len(entry) > 400
