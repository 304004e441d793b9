from __future__ import annotations

import base64
import contextlib
import copy
import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock import errors
from penstock.http import HttpHead, HttpResponse
from penstock.messages import ChatRequest, EmbedRequest, Message, ModelsRequest, ToolCall
from penstock.provider import Codec
from penstock.responses import Assembly, ChatResponse, Chunk, Usage
from penstock_wire.openai import OpenAIDialect, Quirks

DIALECT = OpenAIDialect(base_url="https://api.example.com/v1")
CHAT = ChatRequest(model="m", messages=(Message("user", "Hello"),), stream=True)
EVENTS = HttpHead(200, {"content-type": "text/event-stream", "x-request-id": "req_9"})


def answer(payload: Any, dialect: OpenAIDialect = DIALECT, request: Any = CHAT) -> Any:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return dialect.decode(request, HttpResponse(200, EVENTS.headers, 0.0, body))


def message(finish: Any = "stop", **fields: Any) -> dict[str, Any]:
    return {"id": "a1", "model": "m-1", "choices": [{"index": 0, "message": fields, "finish_reason": finish}]}


def delta(finish: Any = None, index: int = 0, **fields: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": fields, "finish_reason": finish}
    return {"id": "a1", "model": "m-1", "choices": [choice]}


def sse(*payloads: Any, done: bool = True) -> bytes:
    texts = [text if isinstance(text, str) else json.dumps(text) for text in payloads]
    return "".join(f"data: {text}\n\n" for text in [*texts, *(["[DONE]"] if done else [])]).encode()


def play(
    *payloads: Any, done: bool = True, dialect: OpenAIDialect = DIALECT
) -> tuple[list[Chunk], errors.ProviderError | None]:
    """The chunks of a stream, read in one piece and byte by byte, and what ended it."""
    body = payloads[0] if isinstance(payloads[0], bytes) else sse(*payloads, done=done)
    results = []
    for pieces in ([body], [body[n : n + 1] for n in range(len(body))]):
        decoder = dialect.decoder(CHAT, EVENTS)
        chunks: list[Chunk] = []
        error = None
        try:
            for piece in pieces:
                chunks += decoder.feed(piece)
            chunks += decoder.close()
        except errors.ProviderError as caught:
            error = caught
        results.append((chunks, error))
    (chunks, error), (again, error_again) = results
    assert type(error) is type(error_again)
    assert error is not None or chunks == again
    return chunks, error


def said(*payloads: Any, dialect: OpenAIDialect = DIALECT) -> ChatResponse:
    chunks, error = play(*payloads, dialect=dialect)
    assert error is None
    assembly = Assembly()
    for chunk in chunks:
        assembly.add(chunk)
    return assembly.response()


def test_the_dialect_is_a_codec() -> None:
    assert isinstance(DIALECT, Codec)


# Plain answers


def test_a_plain_answer() -> None:
    payload = message(content="Hi", refusal=None) | {
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 5,
            "total_tokens": 14,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 3},
        },
        "system_fingerprint": "fp",
        "created": 1,
    }
    found = answer(payload)
    assert (found.text, found.finish_reason, found.model, found.id) == ("Hi", "stop", "m-1", "a1")
    assert found.usage == Usage(9, 5, 4, 3)
    assert found.extra == {"system_fingerprint": "fp"}
    assert found.upstream_id == "req_9"


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("eos_token", "other"),
        ("", "other"),
        (None, None),
        (7, None),
    ],
)
def test_unknown_finish_reasons_are_other_and_keep_their_word(raw: Any, normal: str | None) -> None:
    choice = answer(message(raw, content="x")).choices[0]
    assert choice.finish_reason == normal
    assert choice.raw_finish_reason == (raw if isinstance(raw, str) else None)


@pytest.mark.parametrize(
    "fields",
    [
        {"content": "ok", "reasoning_content": "hm"},
        {"content": "ok", "reasoning": "hm"},
        {"content": "ok", "reasoning": "hm", "reasoning_content": "", "reasoning_details": [{"text": "hm"}]},
        {"content": "ok", "reasoning_details": [{"type": "reasoning.text", "text": "h"}, {"summary": "m"}]},
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": "ok"},
            ]
        },
        {"content": [{"type": "thinking", "thinking": "hm"}, "ok"]},
    ],
)
def test_reasoning_is_found_wherever_a_server_puts_it(fields: dict[str, Any]) -> None:
    for found in (answer(message(**fields)), said(delta(**fields), delta("stop"))):
        assert (found.text, found.reasoning) == ("ok", "hm")


def test_tool_calls_with_text_or_objects_as_arguments() -> None:
    calls = [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": None, "function": {"name": "g", "arguments": {"y": "ü"}}},
        {"id": "c", "type": "custom", "custom": {"name": "h", "input": "free text"}},
        "nonsense",
    ]
    expected = (
        ToolCall("a", "f", '{"x":1}'),
        ToolCall("", "g", '{"y":"ü"}'),
        ToolCall("c", "h", "free text", {"type": "custom"}),
    )
    assert answer(message("tool_calls", content=None, tool_calls=calls)).tool_calls == expected
    old = answer(message("function_call", content=None, function_call={"name": "f", "arguments": "{}"}))
    assert old.tool_calls == (ToolCall("", "f", "{}"),)


def test_several_choices_come_in_the_order_of_their_index() -> None:
    choices = [
        {"index": 1, "message": {"content": "b"}, "finish_reason": "length"},
        {
            "index": 0,
            "message": {"refusal": "no", "content": None},
            "finish_reason": "stop",
            "logprobs": {"content": []},
        },
    ]
    found = answer({"choices": choices})
    assert [(c.text, c.refusal, c.finish_reason) for c in found.choices] == [
        ("", "no", "stop"),
        ("b", "", "length"),
    ]
    assert found.choices[0].logprobs == {"content": []}


def test_a_filtered_choice_without_a_message() -> None:
    found = answer(
        {"choices": [{"index": 0, "finish_reason": "content_filter", "content_filter_results": {}}]}
    )
    assert (found.text, found.finish_reason) == ("", "content_filter")


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (None, None),
        ({}, None),
        ({"total_tokens": 4}, None),
        ({"prompt_tokens": 3}, Usage(3)),
        ({"prompt_tokens": True, "completion_tokens": -1}, None),
        ({"prompt_tokens": 3.0, "completion_tokens": 2.5}, Usage(3)),
        ({"input_tokens": 3, "output_tokens": 2}, Usage(3, 2)),
        ({"prompt_tokens": 3, "completion_tokens": 2, "prompt_cache_hit_tokens": 1}, Usage(3, 2, 1)),
    ],
)
def test_missing_usage_is_unknown_and_never_zero(raw: Any, usage: Usage | None) -> None:
    assert answer(message(content="x") | {"usage": raw}).usage == usage


def test_output_includes_reasoning_also_where_the_server_counts_it_beside() -> None:
    raw = {
        "prompt_tokens": 12,
        "completion_tokens": 2,
        "total_tokens": 334,
        "completion_tokens_details": {"reasoning_tokens": 320},
    }
    assert answer(message(content="x") | {"usage": raw}).usage == Usage(12, 322, None, 320)


def test_an_error_in_a_200_is_raised_before_the_choices_are_read() -> None:
    payload = message(content="x") | {"error": {"message": "Provider returned error", "code": 429}}
    with pytest.raises(errors.RateLimitError, match="reported an error") as caught:
        answer(payload)
    assert caught.value.status == 429
    assert answer(message(content="x") | {"error": None}).text == "x"


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "an empty body"),
        (b"  \n", "an empty body"),
        (b"<html><body>Log in, key sk-abcdefgh12345678</body></html>", "HTML instead of JSON"),
        (b'{"choices": [', "broken JSON"),
        (b"[]", "JSON that is no object"),
        (b"{}", "no choices"),
        (b'{"choices": []}', "no choices"),
        (b'{"choices": {"a": 1}}', "no choices"),
    ],
)
def test_a_200_that_is_no_answer_is_malformed_and_shows_no_secret(body: bytes, what: str) -> None:
    with pytest.raises(errors.MalformedResponse, match=what) as caught:
        answer(body)
    assert "abcdefgh" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_white_space_before_an_answer_is_a_keep_alive() -> None:
    assert answer(b"\n   \n" + json.dumps(message(content="x")).encode()).text == "x"


# Streams


def test_a_stream_with_usage_after_the_finish_reason() -> None:
    chunks, error = play(
        delta(role="assistant", content=""),
        delta(content="Hel"),
        delta(content="lo"),
        delta("stop"),
        {"id": "a1", "model": "m-1", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
    )
    assert error is None
    assert chunks == [
        Chunk(text="Hel"),
        Chunk(text="lo"),
        Chunk(finish_reason="stop", raw_finish_reason="stop"),
        Chunk(usage=Usage(1, 2)),
    ]


def test_the_decoder_knows_model_id_and_what_else_was_said() -> None:
    decoder = DIALECT.decoder(CHAT, EVENTS)
    assert (decoder.model, decoder.id, decoder.complete, decoder.ended) == ("", "", False, False)
    list(decoder.feed(sse({"model": "", "id": "", "choices": [], "prompt_filter_results": [1]}, done=False)))
    list(decoder.feed(sse(delta(content="x"), delta("stop") | {"citations": ["u"]}, done=False)))
    assert (decoder.model, decoder.id, decoder.complete, decoder.ended) == ("m-1", "a1", True, False)
    assert decoder.extra == {"prompt_filter_results": [1], "citations": ["u"]}
    list(decoder.feed(b"data: [DONE]\n\n" + sse(delta(content="junk"))))
    assert decoder.ended
    assert list(decoder.feed(b"data: more\n\n")) == []


def test_the_last_usage_wins_and_a_repeated_finish_reason_is_told_once() -> None:
    chunks, _ = play(
        delta(content="x") | {"usage": {"prompt_tokens": 1, "completion_tokens": 1}},
        delta("stop") | {"x_groq": {"id": "r", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}},
        delta("stop", content="") | {"usage": {"prompt_tokens": 1, "completion_tokens": 3}},
    )
    assert [chunk.finish_reason for chunk in chunks] == [None, "stop", None]
    assert [chunk.usage.output_tokens for chunk in chunks if chunk.usage] == [1, 2, 3]


def test_a_stream_without_done_is_whole_after_its_finish_reason() -> None:
    assert play(delta(content="x"), delta("eos"), done=False)[1] is None


@pytest.mark.parametrize("body", [sse(delta(content="x")), sse(delta(content="x"), delta(""), done=False)])
def test_a_stream_without_a_finish_reason_is_interrupted_whatever_else_ends_it(body: bytes) -> None:
    chunks, error = play(body)
    assert isinstance(error, errors.StreamInterrupted)
    assert [chunk.text for chunk in chunks] == ["x"]


def test_a_stream_that_is_cut_inside_an_event_is_interrupted() -> None:
    body = sse(delta(content="x"), delta("stop"))
    _, error = play(body[: body.index(b'"stop"')])
    assert isinstance(error, errors.StreamInterrupted)


def test_the_last_event_may_lack_its_blank_line_and_be_followed_by_junk() -> None:
    body = sse(delta(content="x"), done=False) + b"data: " + json.dumps(delta("stop")).encode()
    for end in (b"", b"\n", b'"'):
        chunks, error = play(body + end)
        assert error is None
        assert chunks[-1].finish_reason == "stop"


def test_one_choice_of_two_that_is_whole_does_not_make_the_answer_whole() -> None:
    _, error = play(delta(content="a"), delta(content="b", index=1), delta("stop"))
    assert isinstance(error, errors.StreamInterrupted)
    found = said(delta(content="a"), delta(content="b", index=1), delta("stop"), delta("length", index=1))
    assert [(c.text, c.finish_reason) for c in found.choices] == [("a", "stop"), ("b", "length")]


def test_what_is_no_json_object_is_skipped() -> None:
    noise = ["", ": keepalive", "ping", "3", '"x"', "[1]", '{"type": "ping"}', '{"choices": [null, 4]}']
    assert said(*noise, delta("stop", content="x"), *noise).text == "x"


def test_broken_json_in_a_stream_is_malformed_after_what_came_before() -> None:
    chunks, error = play(delta(content="x"), '{"choices": [', delta("stop"))
    assert isinstance(error, errors.MalformedResponse)
    assert [chunk.text for chunk in chunks] == ["x"] or chunks == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (
            b'event: error\ndata: {"error": {"code": "tool_use_failed", "status_code": 400}}\n\n',
            errors.InvalidRequestError,
        ),
        (
            b'event: error\ndata: {"code": 400, "details": "too many logprobs"}\n\n',
            errors.InvalidRequestError,
        ),
        (b"event: error\ndata: plain words\n\n", errors.ServerError),
        (
            b'data: {"error": {"message": "Input validation error", "http_status_code": 422}}\n\n',
            errors.InvalidRequestError,
        ),
        (
            b'data: {"error": "Request failed during generation", "error_type": "generation"}\n\n',
            errors.ServerError,
        ),
        (
            b'data: {"error": {"code": "server_error"}, "choices": [{"delta": {}}]}\n\n',
            errors.ServerError,
        ),
        (b'data: {"error": {"type": "overloaded_error"}}\n\n', errors.OverloadedError),
        (
            b'data: {"object": "error", "message": "maximum context length", "code": 400}\n\n',
            errors.ContextLengthError,
        ),
        (
            b'data: [{"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}]\n\n',
            errors.OverloadedError,
        ),
        (b'data: {"choices": [], "x_groq": {"error": "over capacity"}}\n\n', errors.ServerError),
    ],
)
def test_an_error_event_is_raised_after_the_chunks_before_it(
    body: bytes, kind: type[errors.ProviderError]
) -> None:
    decoder = DIALECT.decoder(CHAT, EVENTS)
    chunks = []
    found = decoder.feed(sse(delta(content="x"), done=False) + body + b"data: [DONE]\n\n")
    with pytest.raises(errors.ProviderError) as caught:
        chunks.extend(found)  # keeps what came before the error
    assert type(caught.value) is kind
    assert chunks == [Chunk(text="x")]
    assert list(decoder.close()) == []


def test_a_header_of_a_200_is_no_hint_to_wait() -> None:
    head = HttpHead(200, {"retry-after": "2"})
    with pytest.raises(errors.RateLimitError) as caught:
        list(DIALECT.decoder(CHAT, head).feed(b'data: {"error": {"message": "m", "code": 429}}\n\n'))
    assert caught.value.retry_after is None


def test_a_document_instead_of_a_stream_is_read_whole() -> None:
    payload = message(
        "tool_calls", content="hm", tool_calls=[{"id": "a", "function": {"name": "f", "arguments": "{}"}}]
    )
    chunks, error = play(json.dumps(payload).encode())
    assert error is None
    assert [c.text for c in chunks if c.text] == ["hm"]
    assert chunks[-1].finish_reason == "tool_calls"
    assert isinstance(
        play(b'\n {"error": {"message": "m", "type": "overloaded_error"}}')[1], errors.OverloadedError
    )
    assert isinstance(play(b"<html></html>")[1], errors.MalformedResponse)
    assert isinstance(play(b"  ")[1], errors.StreamInterrupted)


def test_an_event_over_the_limit_is_malformed() -> None:
    small = OpenAIDialect(base_url="https://api.example.com/v1", max_event_bytes=200)
    _, error = play(delta(content="x" * 300), delta("stop"), dialect=small)
    assert isinstance(error, errors.MalformedResponse)


def call(
    id: Any = None, index: Any = None, name: Any = None, arguments: Any = None, **more: Any
) -> dict[str, Any]:
    piece: dict[str, Any] = {"function": {"name": name, "arguments": arguments}, **more}
    if id is not None:
        piece["id"] = id
    if index is not None:
        piece["index"] = index
    return piece


TOOL_STREAMS: dict[str, tuple[list[dict[str, Any]], list[tuple[str, str, str]]]] = {
    "by index": (
        [
            call("a", 0, "f", ""),
            call(None, 0, None, '{"x"'),
            call("b", 1, "g", ""),
            call(None, 1, None, "{}"),
            call(None, 0, None, ":1}"),
        ],
        [("a", "f", '{"x":1}'), ("b", "g", "{}")],
    ),
    "every parallel call has index 0": (
        [call("a", 0, "f", "{}"), call("b", 0, "f", '{"y":2}')],
        [("a", "f", "{}"), ("b", "f", '{"y":2}')],
    ),
    "no index": (
        [call("a", None, "f", "{"), call("", None, None, "}"), call("b", None, "g", "{}")],
        [("a", "f", "{}"), ("b", "g", "{}")],
    ),
    "no id and no index": (
        [call(None, None, "f", "{"), call(None, None, None, "}"), call(None, None, "g", "{}")],
        [("", "f", "{}"), ("", "g", "{}")],
    ),
    "the id is repeated and the name null": (
        [call("0", 0, "f", "{"), call("0", 0, None, "}")],
        [("0", "f", "{}")],
    ),
    "the id comes late": ([call(None, 0, "f", ""), call("a", 0, None, "{}")], [("a", "f", "{}")]),
    "indices begin at 1": ([call("a", 1, "f", "{"), call(None, 1, "", "}")], [("a", "f", "{}")]),
    "arguments are an object": ([call("a", 0, "f", {"x": 1})], [("a", "f", '{"x":1}')]),
    "fields of the wrong type": (
        [call(5, "0", ["f"], None), call("a", True, "f", "{}")],
        [("a", "f", "{}")],
    ),
}


@pytest.mark.parametrize(("pieces", "calls"), TOOL_STREAMS.values(), ids=TOOL_STREAMS)
def test_the_pieces_of_tool_calls_find_their_call(
    pieces: list[dict[str, Any]], calls: list[tuple[str, str, str]]
) -> None:
    one_each = said(*(delta(tool_calls=[piece]) for piece in pieces), delta("tool_calls"))
    together = said(delta(tool_calls=pieces), delta("tool_calls"))
    for found in (one_each, together):
        assert [(c.id, c.name, c.arguments) for c in found.tool_calls] == calls


def test_the_old_function_call_streams_as_one_tool_call() -> None:
    found = said(
        delta(function_call={"name": "f", "arguments": ""}),
        delta(function_call={"arguments": "{}"}),
        delta("function_call"),
    )
    assert found.tool_calls == (ToolCall("", "f", "{}"),)
    assert found.finish_reason == "tool_calls"


def test_refusals_and_logprobs_stream() -> None:
    with_logprobs = delta(content="x")
    with_logprobs["choices"][0]["logprobs"] = {"content": [1]}
    chunks, _ = play(delta(refusal="no"), with_logprobs, delta("stop"))
    assert chunks[0] == Chunk(refusal="no")
    assert chunks[1].logprobs == {"content": [1]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>hm</think>\n\nok", ("ok", "hm")),
        ("  <think>a<b</think>ok</think>", ("ok</think>", "a<b")),
        ("no <think>tag</think>", ("no <think>tag</think>", "")),
        ("<think>never closed </th", ("", "never closed </th")),
        ("<thin", ("<thin", "")),
        ("<b>ok</b>", ("<b>ok</b>", "")),
    ],
)
def test_think_tags_are_taken_out_when_asked_however_they_are_split(
    text: str, expected: tuple[str, str]
) -> None:
    opted = OpenAIDialect(base_url="https://api.example.com/v1", quirks=Quirks(think_tags=True))
    plain = answer(message(content=text), opted)
    by_letter = said(*(delta(content=letter) for letter in text), delta("stop"), dialect=opted)
    whole = said(delta("stop", content=text), dialect=opted)
    for found in (plain, by_letter, whole):
        assert (found.text, found.reasoning) == expected
    assert answer(message(content=text)).text == text


# Embeddings and models


def vectors(*entries: Any, count: int | None = None, dimensions: int | None = None) -> Any:
    payload = {"data": list(entries), "model": "e", "usage": {"prompt_tokens": 2, "total_tokens": 2}}
    inputs = ("x",) * (len(entries) if count is None else count)
    return answer(payload, request=EmbedRequest(model="e", inputs=inputs, dimensions=dimensions))


def packed(code: str, numbers: list[float]) -> str:
    values: Any = map(int, numbers) if code == "b" else numbers
    return base64.b64encode(struct.pack(f"<{len(numbers)}{code}", *values)).decode()


def test_vectors_come_in_the_order_of_the_inputs_from_numbers_and_from_base64() -> None:
    found = vectors({"index": 1, "embedding": packed("f", [0.5, -2.0])}, {"index": 0, "embedding": [1, 0.25]})
    assert found.vectors == ((1.0, 0.25), (0.5, -2.0))
    assert found.usage == Usage(2)
    assert found.model == "e"


@pytest.mark.parametrize("code", ["f", "d", "b"])
@pytest.mark.parametrize("known", [True, False])
def test_the_packing_of_base64_is_told_by_its_size_or_its_values(code: str, known: bool) -> None:
    numbers = [float(n % 7 - 3) if code == "b" else ((n * 37) % 101 - 50) / 1024 for n in range(256)]
    if code == "b":
        numbers = [float((n * 53) % 251 - 125) for n in range(256)]
    found = vectors({"index": 0, "embedding": packed(code, numbers)}, dimensions=256 if known else None)
    assert found.vectors[0] == tuple(numbers)


def test_a_short_or_zero_vector_is_float32() -> None:
    assert vectors({"embedding": packed("f", [0.0, 1.0])}).vectors == ((0.0, 1.0),)
    assert vectors({"embedding": packed("f", [0.0] * 128)}).vectors == ((0.0,) * 128,)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {},
        {"embedding": []},
        {"embedding": ["x"]},
        {"embedding": "%%%"},
        {"embedding": "AAA="},
        {"embedding": ""},
        {"embedding": [1], "index": 7},
        {"embedding": [1], "index": "0"},
        {"embedding": [[1.0]]},
    ],
)
def test_what_is_no_vector_is_malformed(entry: Any) -> None:
    with pytest.raises(errors.MalformedResponse):
        vectors(entry)


def test_a_missing_or_repeated_vector_is_malformed() -> None:
    with pytest.raises(errors.MalformedResponse, match="1 vectors for 2 inputs"):
        vectors({"embedding": [1]}, count=2)
    with pytest.raises(errors.MalformedResponse, match="index"):
        vectors({"embedding": [1], "index": 0}, {"embedding": [1], "index": 0})


@pytest.mark.parametrize(
    ("item", "context"),
    [
        ({"id": "a"}, None),
        ({"id": "a", "max_model_len": 4096}, 4096),
        ({"id": "a", "context_window": 8192, "meta": 3}, 8192),
        ({"id": "a", "meta": {"n_ctx_train": 2048}}, 2048),
        ({"id": "a", "context_length": "many"}, None),
    ],
)
def test_models_with_every_name_of_the_context_length(item: dict[str, Any], context: int | None) -> None:
    for payload in ({"data": [item, {"no": "id"}, None]}, [item], item):
        found = answer(payload, request=ModelsRequest())
        assert [(model.id, model.provider, model.context_length) for model in found.models] == [
            ("a", "openai", context)
        ]
    with pytest.raises(errors.MalformedResponse):
        answer({"object": "list"}, request=ModelsRequest())


# Whatever a server sends

BODIES: list[Any] = [
    message(
        "tool_calls", content="x", tool_calls=[call("a", 0, "f", "{}")], reasoning_details=[{"text": "t"}]
    )
    | {"usage": {"prompt_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 1}}, "error": None},
    message(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "t"}]}], refusal="r"),
    delta(
        "stop",
        content="x",
        tool_calls=[call("a", 0, "f", "{}")],
        function_call={"name": "f"},
        role="assistant",
    )
    | {"x_groq": {"usage": {"prompt_tokens": 1}}, "usage": None},
    {
        "data": [{"index": 0, "embedding": [0.5], "id": "a", "meta": {"n_ctx_train": 1}}],
        "usage": {"prompt_tokens": 1},
    },
    {"error": {"message": "m", "type": "t", "param": "p", "code": "c", "metadata": {"headers": {"A": "b"}}}},
]
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([[], {}, [None], {"a": 1}, "", -1, 10**30, [[]], [{}], "[DONE]"]),
)


def mutate(payload: Any, draw: Callable[[Any], Any]) -> Any:
    """Replace, drop or add something at one to four places of a document."""
    payload = copy.deepcopy(payload)
    for _ in range(draw(st.integers(1, 4))):
        here, parent, key = payload, None, None
        while isinstance(here, dict | list) and here and draw(st.integers(0, 4)):
            keys = sorted(here) if isinstance(here, dict) else range(len(here))
            parent, key = here, draw(st.sampled_from(list(keys)))
            here = parent[key]
        if parent is None:
            payload = payload if draw(st.integers(0, 5)) else copy.deepcopy(draw(ODD))
        elif draw(st.integers(0, 3)) == 0 and isinstance(parent, dict):
            del parent[key]
        else:
            parent[key] = copy.deepcopy(draw(ODD))
    return payload


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_mutated_answer_decodes_or_raises_an_error_of_ours(data: st.DataObject) -> None:
    payload = mutate(data.draw(st.sampled_from(BODIES)), data.draw)
    dialect = OpenAIDialect(
        base_url="https://x.example.com", quirks=Quirks(think_tags=data.draw(st.booleans()))
    )
    for request in (CHAT, EmbedRequest(model="e", inputs=("x",)), ModelsRequest()):
        with contextlib.suppress(errors.ProviderError):
            answer(payload, dialect, request)
    decoder = dialect.decoder(CHAT, EVENTS)
    try:
        list(decoder.feed(sse(payload, mutate(payload, data.draw), done=False)))
        list(decoder.close())
    except errors.ProviderError:
        pass


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.sampled_from([b"data: ", b"\n\n", b"{", b'{"choices":[{}]}', b"event: error\n"]),
        ),
        max_size=12,
    )
)
def test_any_bytes_decode_or_raise_an_error_of_ours(pieces: list[bytes]) -> None:
    decoder = DIALECT.decoder(CHAT, EVENTS)
    try:
        for piece in pieces:
            list(decoder.feed(piece))
        list(decoder.close())
    except errors.ProviderError:
        pass
    with contextlib.suppress(errors.ProviderError):
        answer(b"".join(pieces))
