"""What a message holds beside its fields: kept in plain and streamed answers alike, and sent back."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest

from penstock.answers import Answer
from penstock.call import Target
from penstock.errors import StreamInterrupted
from penstock.http import HttpHead, HttpResponse
from penstock.messages import ChatRequest, Message, ToolCall
from penstock.responses import Assembly, ChatResponse, Choice
from penstock_wire.openai import VENDOR_EXTRAS, OpenAIDialect, Quirks

DIALECT = OpenAIDialect(base_url="https://api.example.com/v1")
CHAT = ChatRequest(model="m", messages=(Message("user", "Hello"),), stream=True)
EVENTS = HttpHead(200, {"content-type": "text/event-stream"})
GEMINI = {"google": {"thought_signature": "c2ln"}}


def plain(finish: str = "stop", **fields: Any) -> Choice:
    """The choice of a whole message."""
    body = json.dumps({"choices": [{"index": 0, "message": fields, "finish_reason": finish}]}).encode()
    answer = DIALECT.decode(CHAT, HttpResponse(200, {}, 0.0, body))
    assert isinstance(answer, ChatResponse)
    return answer.choices[0]


def streamed(*deltas: dict[str, Any], finish: str | None = "stop") -> Choice:
    """The choice that deltas amount to; the last one carries the finish reason."""
    assembly = Assembly()
    decoder = DIALECT.decoder(CHAT, EVENTS)
    for number, delta in enumerate(deltas):
        last = number == len(deltas) - 1
        event = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish if last else None}]}
        for chunk in decoder.feed(f"data: {json.dumps(event)}\n\n".encode()):
            assembly.add(chunk)
    try:
        for chunk in decoder.close():
            assembly.add(chunk)
    except StreamInterrupted:
        assert finish is None
    return assembly.response().choices[0]


def resent(choice: Choice, **quirks: Any) -> dict[str, Any]:
    """The answer as the next turn sends it."""
    answer = Answer(response=ChatResponse((choice,)), target=Target("p", "m"), request_id="r")
    dialect = OpenAIDialect(base_url="https://api.example.com/v1", quirks=Quirks(**quirks))
    body = dialect.encode(ChatRequest(model="m", messages=(answer.message,)), "m").body
    assert body is not None
    return json.loads(body)["messages"][0]  # type: ignore[no-any-return]


def test_a_thought_signature_of_a_tool_call_comes_back_with_it() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    whole = plain("tool_calls", tool_calls=[{**call, "extra_content": GEMINI}])
    parts = streamed({"tool_calls": [{**call, "index": 0, "extra_content": GEMINI}]}, {}, finish="tool_calls")
    assert whole.tool_calls == (ToolCall("c1", "f", '{"x":1}', {"extra_content": GEMINI}),)
    assert parts == whole
    assert resent(whole)["tool_calls"] == [{**call, "extra_content": GEMINI}]


def test_a_signature_may_come_in_a_piece_of_its_own() -> None:
    choice = streamed(
        {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}]},
        {"tool_calls": [{"index": 0, "extra_content": GEMINI}]},
        {"tool_calls": [{"index": 0, "extra_content": None, "function": {"arguments": ""}}]},
        {},
        finish="tool_calls",
    )
    assert choice.tool_calls == (ToolCall("c1", "f", "{}", {"extra_content": GEMINI}),)


def test_the_call_of_a_custom_tool_goes_back_as_one() -> None:
    call = {"id": "c1", "type": "custom", "custom": {"name": "grep", "input": "free text"}}
    choice = plain("tool_calls", tool_calls=[call])
    assert resent(choice)["tool_calls"] == [call]


TEXT = {"type": "reasoning.text", "format": "f", "index": 0}


def test_reasoning_details_in_pieces_are_joined_to_what_a_plain_answer_holds() -> None:
    sealed = {"type": "reasoning.encrypted", "data": "abc", "id": "rs_1", "index": 1}
    more = {"type": "reasoning.summary", "summary": "Two.", "index": 2}
    details = [{**TEXT, "text": "Let me see.", "signature": "s"}, sealed, more]
    whole = plain(content="Hi", reasoning="Let me see.", reasoning_details=details)
    parts = streamed(
        {"reasoning": "Let ", "reasoning_details": [{**TEXT, "text": "Let "}]},
        {"reasoning": "me see.", "reasoning_details": [{**TEXT, "text": "me see."}]},
        {"reasoning_details": [{**TEXT, "signature": "s"}, sealed]},
        {"reasoning_details": [{**more, "summary": "Tw"}]},
        {"reasoning_details": [{**more, "summary": "o."}]},
        {"content": "Hi"},
    )
    assert whole.extra == {"reasoning_details": details}
    assert parts.extra == whole.extra
    assert resent(whole)["reasoning_details"] == details


def test_signed_and_sealed_details_without_an_index_stay_apart() -> None:
    one = {"type": "reasoning.encrypted", "data": "a"}
    two = {"type": "reasoning.encrypted", "data": "b"}
    signed = {"type": "reasoning.text", "text": "A", "signature": "s"}
    choice = streamed(
        {"reasoning_details": [one]}, {"reasoning_details": [two, signed]}, {"reasoning_details": [signed]}
    )
    assert choice.extra == {"reasoning_details": [one, two, signed, signed]}


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_goes_back_with_the_tool_calls_it_led_to_and_only_then(field: str) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    whole = plain("tool_calls", content=None, tool_calls=[call], **{field: "I need f."})
    parts = streamed(
        {field: "I need"}, {field: " f."}, {"tool_calls": [{**call, "index": 0}]}, {}, finish="tool_calls"
    )
    assert whole.extra == parts.extra == {field: "I need f."}
    assert whole.reasoning == parts.reasoning == "I need f."
    assert resent(whole)[field] == "I need f."
    assert plain(content="Hi", **{field: "Easy."}).extra == {}
    assert streamed({field: "Easy."}, {"content": "Hi"}).extra == {}


def test_annotations_are_kept_and_lists_grow() -> None:
    first, second = {"type": "url_citation", "n": 1}, {"type": "url_citation", "n": 2}
    whole = plain(content="Hi", annotations=[first, second])
    parts = streamed({"content": "Hi", "annotations": [first]}, {"annotations": [second]})
    assert whole.extra == parts.extra == {"annotations": [first, second]}
    assert resent(whole)["annotations"] == [first, second]


def test_audio_is_told_as_it_comes_and_whole_at_the_finish_and_goes_back_by_its_id() -> None:
    audio = {"id": "audio_1", "data": "QUJD", "transcript": "Good day", "expires_at": 9}
    whole = plain(content=None, audio=audio)
    deltas: list[dict[str, Any]] = [
        {"audio": {"id": "audio_1", "transcript": "Good "}},
        {"audio": {"data": "QU"}},
        {"audio": {"data": "JD", "transcript": "day"}},
        {"audio": {"expires_at": 9}},
        {},
    ]
    decoder = DIALECT.decoder(CHAT, EVENTS)
    live = []
    for delta in deltas:
        event = {"choices": [{"index": 0, "delta": delta}]}
        live += [chunk.extra for chunk in decoder.feed(f"data: {json.dumps(event)}\n\n".encode())]
    assert live == deltas[:4]
    assert streamed(*deltas).extra == whole.extra == {"audio": audio}
    assert resent(whole)["audio"] == {"id": "audio_1"}


def test_what_is_empty_or_noise_is_not_kept() -> None:
    noise: dict[str, Any] = {
        "role": "assistant",
        "annotations": [],
        "audio": None,
        "refusal": None,
        "token_id": 7,
    }
    assert plain(content="Hi", **noise).extra == {}
    choice = streamed({"content": "Hi", **noise}, {"content": "", "obfuscation": "x", "vendor": {}})
    assert choice.extra == {}


def test_what_a_cut_stream_had_told_is_kept() -> None:
    choice = streamed({"content": "Hi", "annotations": [{"n": 1}]}, {"content": " you"}, finish=None)
    assert choice.text == "Hi you"
    assert choice.extra == {"annotations": [{"n": 1}]}


def test_what_only_another_server_knows_is_left_out_where_it_would_be_refused() -> None:
    call = ToolCall("c1", "f", "{}", MappingProxyType({"extra_content": GEMINI}))
    extra = {"reasoning_content": "x", "reasoning_details": [1], "annotations": [2]}
    choice = Choice(tool_calls=(call,), extra=extra)
    anywhere = resent(choice)
    assert {name: anywhere[name] for name in extra} == extra
    assert anywhere["tool_calls"][0]["extra_content"] == GEMINI
    openai = resent(choice, foreign_extras=VENDOR_EXTRAS)
    assert openai == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        "annotations": [2],
    }


def test_items_of_the_responses_api_are_no_fields_of_a_chat_message() -> None:
    assert resent(Choice(text="Hi", extra={"responses_output": [{"type": "message"}]})) == {
        "role": "assistant",
        "content": "Hi",
    }
