from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest

from penstock.errors import InvalidRequestError
from penstock.messages import ChatRequest, EmbedRequest, Image, Message, RawPart, Schema, Text, Tool, ToolCall
from penstock_wire.openai import Quirks, ResponsesDialect

DIALECT = ResponsesDialect(base_url="https://api.example.com/v1", headers={"Authorization": "Bearer sk-1"})
HELLO = (Message("user", "Hello"),)


def encode(dialect: ResponsesDialect = DIALECT, model: str = "gpt-4o", **fields: Any) -> dict[str, Any]:
    fields.setdefault("messages", HELLO)
    body = dialect.encode(ChatRequest(model="any", **fields), model).body
    assert body is not None
    return json.loads(body)  # type: ignore[no-any-return]


def items(*messages: Message, **quirks: Any) -> list[Any]:
    dialect = ResponsesDialect(base_url="https://api.example.com/v1", quirks=Quirks(**quirks))
    return encode(dialect, messages=messages)["input"]  # type: ignore[no-any-return]


def test_a_plain_request_stores_nothing_at_the_server() -> None:
    assert encode() == {"model": "gpt-4o", "input": [{"role": "user", "content": "Hello"}], "store": False}
    sent = DIALECT.encode(ChatRequest(model="m", messages=HELLO, stream=True), "m")
    assert sent.url == "https://api.example.com/v1/responses"
    assert sent.stream
    assert sent.headers["accept"] == "text/event-stream"
    assert json.loads(sent.body or b"")["stream"] is True


def test_everything_but_chats_goes_where_it_went() -> None:
    assert DIALECT.encode(EmbedRequest(model="e", inputs=("a",)), "e").url.endswith("/v1/embeddings")


def test_parameters_go_where_this_api_wants_them() -> None:
    payload = encode(
        temperature=0.5,
        top_p=0.9,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        max_tokens=7,
        logprobs=True,
        top_logprobs=3,
        parallel_tool_calls=False,
        user="u",
        metadata={"k": "v"},
        reasoning_effort="low",
        response_format={"type": "json_object"},
        n=1,
    )
    assert payload == {
        "model": "gpt-4o",
        "input": [{"role": "user", "content": "Hello"}],
        "temperature": 0.5,
        "top_p": 0.9,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "max_output_tokens": 7,
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 3,
        "parallel_tool_calls": False,
        "user": "u",
        "metadata": {"k": "v"},
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "json_object"}},
        "store": False,
    }


@pytest.mark.parametrize(
    ("name", "value"), [("stop", "x"), ("seed", 1), ("n", 2), ("logit_bias", {"1": 2.0})]
)
def test_what_this_api_has_no_place_for_is_refused_by_name_and_extra_sends_it_anyway(
    name: str, value: Any
) -> None:
    with pytest.raises(InvalidRequestError, match=f"no '{name}'") as caught:
        encode(**{name: value})
    assert caught.value.param == name
    assert caught.value.status is None
    assert encode(extra={name: value})[name] == value


def test_extra_adds_to_reasoning_text_and_include_and_overrides_the_rest() -> None:
    payload = encode(
        model="o4-mini",
        reasoning_effort="low",
        response_format={"type": "text"},
        extra={
            "reasoning": {"summary": "auto"},
            "text": {"verbosity": "low"},
            "include": ["web_search_call.action.sources", "reasoning.encrypted_content"],
            "previous_response_id": "resp_1",
            "instructions": "Be brief.",
        },
    )
    assert payload["reasoning"] == {"effort": "low", "summary": "auto"}
    assert payload["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert payload["include"] == ["reasoning.encrypted_content", "web_search_call.action.sources"]
    assert payload["previous_response_id"] == "resp_1"
    assert payload["instructions"] == "Be brief."
    stored = encode(model="o4-mini", extra={"store": True})
    assert stored["store"] is True
    assert "include" not in stored


def test_sealed_reasoning_is_asked_of_models_that_reason_only() -> None:
    assert encode(model="gpt-5-mini")["include"] == ["reasoning.encrypted_content"]
    assert "include" not in encode(model="gpt-4.1")


def test_a_conversation_with_images_tools_and_results_becomes_items() -> None:
    custom = ToolCall("c2", "grep", "free text", MappingProxyType({"type": "custom"}))
    found = items(
        Message("system", "Be brief."),
        Message("developer", (Text("Be kind."),)),
        Message(
            "user",
            (
                Text("What is this?"),
                Image.from_bytes(b"\x89PNG....", detail="low"),
                RawPart({"type": "image_url", "image_url": {"url": "https://example.com/a.png", "x": 1}}),
                RawPart({"type": "file", "file": {"file_id": "file_1"}}),
                RawPart({"type": "text", "text": "More.", "x": 1}),
                RawPart({"type": "input_file", "file_id": "file_2"}),
            ),
        ),
        Message("assistant", "I look.", tool_calls=(ToolCall("c1", "weather", ""), custom)),
        Message("tool", "20 degrees", name="weather", tool_call_id="c1"),
        Message("tool", (Text("a"), Image.from_url("https://example.com/b.png")), tool_call_id="c2"),
        Message("assistant", (Text("Done."),)),
    )
    assert found == [
        {"role": "system", "content": "Be brief."},
        {"role": "system", "content": [{"type": "input_text", "text": "Be kind."}]},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {
                    "type": "input_image",
                    "image_url": "data:image/png;base64,iVBORy4uLi4=",
                    "detail": "low",
                },
                {"type": "input_image", "image_url": "https://example.com/a.png", "x": 1},
                {"type": "input_file", "file_id": "file_1"},
                {"type": "input_text", "text": "More.", "x": 1},
                {"type": "input_file", "file_id": "file_2"},
            ],
        },
        {"role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "grep", "input": "free text"},
        {"type": "function_call_output", "call_id": "c1", "output": "20 degrees"},
        {
            "type": "custom_tool_call_output",
            "call_id": "c2",
            "output": [
                {"type": "input_text", "text": "a"},
                {"type": "input_image", "image_url": "https://example.com/b.png"},
            ],
        },
        {"role": "assistant", "content": [{"type": "output_text", "text": "Done."}]},
    ]
    assert items(Message("developer", "x"), developer_role="developer")[0]["role"] == "developer"


def test_the_items_of_an_earlier_answer_go_back_as_they_were() -> None:
    output = [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"},
    ]
    call = ToolCall("c1", "f", "{}")
    message = Message("assistant", "Hm.", tool_calls=(call,), extra={"responses_output": output})
    assert items(message, Message("tool", "1", tool_call_id="c1")) == [
        *output,
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
    ]


def test_the_message_of_a_chat_completion_can_go_on_here() -> None:
    extra = {"annotations": [1], "audio": {"id": "a"}, "reasoning_content": "x", "phase": "commentary"}
    message = Message("assistant", "Hi", extra=extra)
    assert items(message, foreign_extras=frozenset({"reasoning_content"})) == [
        {"role": "assistant", "content": "Hi", "phase": "commentary"}
    ]
    refused = Message("assistant", "Well,", extra={"refusal": "no."})
    assert items(refused) == [
        {
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Well,"}, {"type": "refusal", "refusal": "no."}],
        }
    ]
    assert items(Message("assistant", None, extra={"refusal": "No."}))[0]["content"] == [
        {"type": "refusal", "refusal": "No."}
    ]
    assert items(Message("assistant", "Hi", extra={"refusal": None})) == [
        {"role": "assistant", "content": "Hi"}
    ]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (Message("user", "Hi", name="ada"), "no place for the name of a speaker"),
        (Message("tool", "20"), "tool_call_id is missing"),
        (Message("assistant", (Image.from_url("https://example.com/a.png"),)), "no image from an assistant"),
    ],
)
def test_messages_this_api_cannot_hold_are_refused_with_their_place(message: Message, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"messages\[0\].*{words}") as caught:
        items(message)
    assert caught.value.param == "messages"


def test_tools_and_the_choice_of_one() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = (
        Tool("weather", "The weather.", MappingProxyType(schema), strict=True),
        Tool("now"),
        RawPart({"type": "custom", "custom": {"name": "grep"}}),
        RawPart({"type": "web_search"}),
    )
    payload = encode(tools=tools, tool_choice="weather")
    assert payload["tools"] == [
        {
            "type": "function",
            "name": "weather",
            "description": "The weather.",
            "parameters": schema,
            "strict": True,
        },
        {
            "type": "function",
            "name": "now",
            "parameters": {"type": "object", "properties": {}},
            "strict": False,
        },
        {"type": "custom", "name": "grep"},
        {"type": "web_search"},
    ]
    assert payload["tool_choice"] == {"type": "function", "name": "weather"}
    chat_form = {"type": "function", "function": {"name": "now"}}
    assert encode(tools=tools, tool_choice=chat_form)["tool_choice"] == {"type": "function", "name": "now"}
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [chat_form]}}
    assert encode(tools=tools, tool_choice=allowed)["tool_choice"] == {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "now"}],
    }
    assert encode(tools=tools, tool_choice="required")["tool_choice"] == "required"


def test_a_schema_is_a_format_of_the_text() -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    assert encode(schema=Schema("person", schema))["text"]["format"] == {
        "type": "json_schema",
        "name": "person",
        "schema": {**schema, "required": ["name"], "additionalProperties": False},
        "strict": True,
    }
    chat_form = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": False}}
    assert encode(response_format=chat_form)["text"]["format"] == {
        "type": "json_schema",
        "name": "person",
        "schema": schema,
        "strict": False,
    }
    worded = ResponsesDialect(base_url="https://x.example", quirks=Quirks(schema_as="json_object"))
    payload = encode(worded, schema=Schema("person", schema))
    assert payload["text"] == {"format": {"type": "json_object"}}
    assert '"name"' in payload["input"][0]["content"]


def test_reasoning_models_take_no_sampling_here_either() -> None:
    strict = ResponsesDialect(base_url="https://x.example", quirks=Quirks(reasoning_rules=True))
    with pytest.raises(InvalidRequestError, match=r"takes no temperature=0\.2 because it reasons"):
        encode(strict, "o3", temperature=0.2)
    with pytest.raises(InvalidRequestError, match="with reasoning_effort='low'"):
        encode(strict, "gpt-5.2", temperature=0.2, extra={"reasoning": {"effort": "low"}})
    assert encode(strict, "gpt-5.2", temperature=0.2, reasoning_effort="none")["temperature"] == 0.2
