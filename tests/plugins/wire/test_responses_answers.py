from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock import errors
from penstock.http import HttpHead, HttpResponse
from penstock.messages import ChatRequest, Message, ToolCall
from penstock.provider import Codec
from penstock.responses import Assembly, ChatResponse, Chunk, Usage
from penstock_wire.openai import ResponsesDialect

DIALECT = ResponsesDialect(base_url="https://api.example.com/v1")
CHAT = ChatRequest(model="m", messages=(Message("user", "Hello"),), stream=True)
EVENTS = HttpHead(200, {"content-type": "text/event-stream", "x-request-id": "req_9"})

MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hi \u2028 👋", "annotations": [], "logprobs": []}],
}
REASONING = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "First."}, {"type": "summary_text", "text": "Then."}],
    "encrypted_content": "gAAA",
    "status": None,
}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "weather",
    "arguments": '{"city":"Rome"}',
    "status": "completed",
}
CUSTOM = {"type": "custom_tool_call", "id": "ct_1", "call_id": "call_2", "name": "grep", "input": "free text"}
USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 17,
}


def response(*items: Any, **fields: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "gpt-x",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "output": list(items),
        "usage": USAGE,
        "store": False,
        "service_tier": "default",
        "temperature": 1.0,
        "tools": [],
        **fields,
    }


def decode(payload: Any) -> ChatResponse:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    answer = DIALECT.decode(CHAT, HttpResponse(200, EVENTS.headers, 0.0, body))
    assert isinstance(answer, ChatResponse)
    return answer


def events(
    *items: Any, deltas: bool = True, ends: bool = True, whole: bool = True, **fields: Any
) -> list[dict[str, Any]]:
    """The events of a response, told by deltas, by ends, or only by the terminal event."""
    found: list[dict[str, Any]] = [
        {"type": "response.created", "response": response(status="in_progress", usage=None)}
    ]
    for index, item in enumerate(items):
        at = {"output_index": index, "item_id": item["id"]}
        if deltas or ends:
            begun = {**item, "arguments": "", "input": "", "content": [], "summary": []}
            found.append({"type": "response.output_item.added", "output_index": index, "item": begun})
        if deltas and item["type"] == "message":
            for place, part in enumerate(item["content"]):
                name = "refusal" if part["type"] == "refusal" else "output_text"
                text = part.get("refusal") or part["text"]
                event = {"type": f"response.{name}.delta", "content_index": place, **at}
                found += [{**event, "delta": text[:2], "logprobs": []}, {**event, "delta": text[2:]}]
                found.append({**event, "type": f"response.{name}.done", "text": text, "refusal": text})
        if deltas and item["type"] == "reasoning":
            for place, part in enumerate(item["summary"]):
                event = {"type": "response.reasoning_summary_text.delta", "summary_index": place, **at}
                found += [{**event, "delta": part["text"][:3]}, {**event, "delta": part["text"][3:]}]
                found.append({**event, "type": "response.reasoning_summary_text.done", "text": part["text"]})
        for name, kind in (("arguments", "function_call_arguments"), ("input", "custom_tool_call_input")):
            if deltas and name in item:
                event = {"type": f"response.{kind}.delta", **at}
                found += [{**event, "delta": item[name][:4]}, {**event, "delta": item[name][4:]}]
                found.append({"type": f"response.{kind}.done", **at, name: item[name]})
        if ends:
            found.append({"type": "response.output_item.done", "output_index": index, "item": item})
    ended = response(*(items if whole else ()), **fields)
    return [*found, {"type": f"response.{ended['status']}", "response": ended}]


def sse(*payloads: dict[str, Any]) -> bytes:
    return "".join(f"event: {p.get('type')}\ndata: {json.dumps(p)}\n\n" for p in payloads).encode()


def play(body: bytes) -> tuple[list[Chunk], ChatResponse, errors.ProviderError | None]:
    """A stream read in one piece and byte by byte: chunks, what they amount to, and what ended it."""
    results = []
    for pieces in ([body], [body[n : n + 1] for n in range(len(body))]):
        decoder, assembly = DIALECT.decoder(CHAT, EVENTS), Assembly()
        chunks: list[Chunk] = []
        error = None
        try:
            for piece in pieces:
                chunks += decoder.feed(piece)
            chunks += decoder.close()
        except errors.ProviderError as caught:
            error = caught
        for chunk in chunks:
            assembly.add(chunk)
        assembly.model, assembly.id, assembly.extra = decoder.model, decoder.id, decoder.extra
        results.append((chunks, assembly.response(decoder.upstream_id), error))
    (chunks, answer, error), (again, answer_again, error_again) = results
    assert type(error) is type(error_again)
    assert error is not None or (chunks == again and answer == answer_again)
    return chunks, answer, error


def test_the_dialect_is_a_codec() -> None:
    assert isinstance(DIALECT, Codec)


def test_an_answer_of_reasoning_text_and_calls() -> None:
    answer = decode(response(REASONING, MESSAGE, CALL, CUSTOM))
    (choice,) = answer.choices
    assert choice.text == "Hi \u2028 👋"
    assert choice.reasoning == "First.Then."
    assert choice.tool_calls == (
        ToolCall("call_1", "weather", '{"city":"Rome"}'),
        ToolCall("call_2", "grep", "free text", {"type": "custom"}),
    )
    assert (choice.finish_reason, choice.raw_finish_reason) == ("tool_calls", "completed")
    assert answer.usage == Usage(10, 7, 4, 5)
    assert (answer.model, answer.id, answer.upstream_id) == ("gpt-x", "resp_1", "req_9")
    assert answer.extra == {"service_tier": "default"}


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"deltas": False},
        {"ends": False},
        {"deltas": False, "ends": False},
        {"whole": False},
    ],
    ids=["all", "no deltas", "no ends", "terminal only", "empty terminal"],
)
def test_a_stream_says_the_same_however_its_texts_are_told(told: dict[str, bool]) -> None:
    items = (REASONING, MESSAGE, CALL, CUSTOM)
    _, answer, error = play(sse(*events(*items, **told)))
    assert error is None
    assert answer == decode(response(*items))


def test_events_without_an_index_are_told_apart_by_the_ids_of_their_items() -> None:
    stripped = []
    for event in events(MESSAGE, CALL, CUSTOM):
        if event["type"] == "response.output_item.done" or "delta" in event:
            event.pop("output_index")
        stripped.append(event)
    _, answer, error = play(sse(*stripped))
    assert error is None
    assert answer == decode(response(MESSAGE, CALL, CUSTOM))


def test_chunks_come_as_they_are_told() -> None:
    chunks, _, _ = play(sse(*events(MESSAGE)))
    assert [chunk.text for chunk in chunks] == ["Hi", " \u2028 👋", ""]
    assert chunks[-1].finish_reason == "stop"
    assert chunks[-1].usage == Usage(10, 7, 4, 5)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("odd", "other")],
)
def test_an_incomplete_answer_says_why(reason: str, finish: str) -> None:
    fields = {"status": "incomplete", "incomplete_details": {"reason": reason}}
    answer = decode(response(MESSAGE, **fields))
    assert (answer.finish_reason, answer.raw_finish_reason) == (finish, reason)
    _, streamed, error = play(sse(*events(MESSAGE, **fields)))
    assert error is None
    assert streamed == answer


def test_a_cancelled_answer_is_an_other_end() -> None:
    answer = decode(response(MESSAGE, status="cancelled"))
    assert (answer.finish_reason, answer.raw_finish_reason) == ("other", "cancelled")


def test_a_refusal_is_no_text() -> None:
    refused = {**MESSAGE, "content": [{"type": "refusal", "refusal": "I will not."}]}
    answer = decode(response(refused))
    assert (answer.text, answer.refusal, answer.finish_reason) == ("", "I will not.", "stop")
    assert play(sse(*events(refused)))[1] == answer


def test_reasoning_text_of_open_models_is_read() -> None:
    item = {
        "type": "reasoning",
        "id": "rs",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "Hm"}],
    }
    assert decode(response(item, MESSAGE)).reasoning == "Hm"
    event = {"type": "response.reasoning_text.delta", "output_index": 0, "content_index": 0, "delta": "Hm"}
    body = sse(event, *events(item, MESSAGE, deltas=False))
    assert play(body)[1].reasoning == "Hm"


def test_items_are_kept_only_when_they_say_more_than_text_and_calls() -> None:
    def kept(*items: Any, **fields: Any) -> Any:
        return decode(response(*items, **fields)).choices[0].extra.get("responses_output")

    assert kept(MESSAGE, CALL) is None
    assert kept(REASONING, CALL) == [
        {name: value for name, value in REASONING.items() if value is not None},
        CALL,
    ]
    husk = {"type": "reasoning", "id": "rs_1", "summary": []}
    assert kept(husk, MESSAGE) is None
    assert kept(husk, MESSAGE, store=True) == [husk, MESSAGE]
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    assert kept(search, MESSAGE) == [search, MESSAGE]
    phased = {**MESSAGE, "phase": "commentary"}
    assert kept(phased) == [phased]
    cited = {**MESSAGE, "content": [{"type": "output_text", "text": "x", "annotations": [{"n": 1}]}]}
    assert kept(cited) == [cited]


def test_an_answer_goes_back_in_the_next_turn_as_its_items() -> None:
    choice = decode(response(REASONING, CALL)).choices[0]
    message = Message("assistant", choice.text or None, tool_calls=choice.tool_calls, extra=choice.extra)
    body = DIALECT.encode(ChatRequest(model="m", messages=(message,)), "m").body
    assert json.loads(body or b"")["input"] == list(choice.extra["responses_output"])


NESTED = {"type": "error", "error": {"code": "server_is_overloaded", "message": "Busy.", "type": "x"}}
FLAT = {"type": "error", "code": "rate_limit_exceeded", "message": "Slow down.", "param": None}
FAILED = {
    "type": "response.failed",
    "response": response(status="failed", error={"code": "server_error", "message": "Broken."}),
}


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (NESTED, errors.OverloadedError),
        (FLAT, errors.RateLimitError),
        (FAILED, errors.ServerError),
        ({"type": "response.failed", "response": response(status="failed")}, errors.ServerError),
        ({"error": {"message": "Bad.", "type": "invalid_request_error"}}, errors.InvalidRequestError),
    ],
    ids=["nested", "flat", "failed", "failed without a word", "untyped"],
)
def test_an_error_event_is_an_error_after_what_came_before(
    event: dict[str, Any], kind: type[errors.ProviderError]
) -> None:
    before = events(MESSAGE)[:3]
    chunks, answer, error = play(sse(*before, event))
    assert type(error) is kind
    assert answer.text == "Hi"
    assert [chunk.text for chunk in chunks] == ["Hi"]


def test_a_failed_response_in_a_plain_200_is_an_error() -> None:
    with pytest.raises(errors.ServerError, match="Broken"):
        decode(FAILED["response"])
    with pytest.raises(errors.ServerError):
        decode(response(status="failed"))


@pytest.mark.parametrize("payload", [b"", b"<html>", b"[]", b"7", b"{}", b'{"output": null}'])
def test_a_200_without_output_is_malformed(payload: bytes) -> None:
    with pytest.raises(errors.MalformedResponse):
        decode(payload)


def test_a_stream_without_its_terminal_event_is_cut() -> None:
    body = sse(*events(MESSAGE)[:-1])
    _, answer, error = play(body + b"data: [DONE]\n\n")
    assert type(error) is errors.StreamInterrupted
    assert "terminal event" in str(error)
    assert answer.text == "Hi \u2028 👋"


def test_keep_alives_unknown_events_and_what_comes_after_the_end_do_nothing() -> None:
    noise = [
        {"type": "keepalive", "sequence_number": 466},
        {"type": "response.web_search_call.searching", "output_index": 0},
        {"type": "response.output_text.annotation.added", "annotation": {}},
    ]
    body = b": ping\n\ndata:\n\n" + sse(*noise, *events(MESSAGE), *noise, NESTED)
    chunks, answer, error = play(body)
    assert error is None
    assert answer == decode(response(MESSAGE))
    assert len(chunks) == 3


def test_the_framing_names_an_event_whose_data_does_not() -> None:
    body = b'event: response.output_text.delta\ndata: {"delta": "Hi"}\n\n' + sse(events(MESSAGE)[-1])
    assert play(body)[1].text == "Hi"


def test_a_call_that_only_the_terminal_event_tells_is_not_lost() -> None:
    told = [event for event in events(MESSAGE, CALL) if event.get("output_index") != 1]
    assert play(sse(*told))[1].tool_calls == (ToolCall("call_1", "weather", '{"city":"Rome"}'),)


def test_a_whole_document_answers_a_streamed_request_and_events_a_plain_one() -> None:
    body = json.dumps(response(MESSAGE, CALL)).encode()
    assert play(body)[1] == decode(body)
    assert decode(sse(*events(MESSAGE, CALL))) == decode(body)
    with pytest.raises(errors.StreamInterrupted):
        decode(sse(*events(MESSAGE)[:-1]))


def test_logprobs_are_kept_as_they_were_sent() -> None:
    part = {"type": "output_text", "text": "Hi", "logprobs": [{"token": "Hi", "logprob": -0.1}]}
    item = {**MESSAGE, "content": [part]}
    assert decode(response(item)).choices[0].logprobs == [part["logprobs"]]
    event = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hi"}
    body = sse({**event, "logprobs": part["logprobs"]}, events(item)[-1])
    assert play(body)[1].choices[0].logprobs == [part["logprobs"]]


ODD = st.sampled_from([None, 0, -1, 1.5, True, "", "x", [], [[]], {}, {"type": []}, {"id": {}}])


def _mutated(value: Any, draw: st.DrawFn) -> Any:
    """The value with one leaf or branch replaced."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: _mutated(value[key], draw)}
    if isinstance(value, list) and value and draw(st.booleans()):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], _mutated(value[place], draw), *value[place + 1 :]]
    return draw(ODD)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_the_server_sends_it_decodes_or_is_an_error_of_ours(data: st.DataObject) -> None:
    draw = data.draw
    payloads: list[Any] = copy.deepcopy(events(REASONING, MESSAGE, CALL, CUSTOM))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(payloads) - 1))
        payloads[place] = _mutated(payloads[place], draw)
    body = "".join(f"data: {json.dumps(payload)}\n\n" for payload in payloads).encode()
    play(body[: draw(st.integers(0, len(body)))])
    whole = _mutated(response(REASONING, MESSAGE, CALL, CUSTOM), draw)
    with contextlib.suppress(errors.ProviderError):
        decode(json.dumps(whole).encode())
