"""What users pass in: everything wrong is named before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from penstock import Image, Message, RawPart, Schema, Text, Tool, ToolCall
from penstock.errors import InvalidRequestError
from penstock.requests import chat_request, embed_request, parse_output, schema_of

PNG = b"\x89PNG\r\n\x1a\n"


def chat(messages: Any = "hi", **parameters: Any) -> Any:
    return chat_request("openai/gpt", messages, parameters, stream=False)


def test_a_string_is_one_user_message() -> None:
    assert chat("hi").messages == (Message("user", "hi"),)


def test_dicts_in_openai_form_become_messages() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    request = chat(
        [
            {"role": "system", "content": "be brief"},
            {"role": "assistant", "content": None, "tool_calls": [call], "cache_control": {"type": "x"}},
            {"role": "tool", "content": "42", "tool_call_id": "c1"},
        ]
    )
    assert request.messages[1].tool_calls == (ToolCall("c1", "f", '{"a": 1}'),)
    assert request.messages[1].extra == {"cache_control": {"type": "x"}}
    assert request.messages[2].tool_call_id == "c1"


def test_parts_are_text_image_or_passed_through() -> None:
    image = Image.from_bytes(PNG)
    parts: list[Any] = [
        "a",
        {"type": "text", "text": "b"},
        {"type": "image_url", "image_url": {"url": "https://x.test/i.png", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "...", "format": "wav"}},
        image,
    ]
    content = chat([{"role": "user", "content": parts}]).messages[0].content
    assert content == (
        Text("a"),
        Text("b"),
        Image(url="https://x.test/i.png", detail="low"),
        RawPart({"type": "input_audio", "input_audio": {"data": "...", "format": "wav"}}),
        image,
    )


def test_a_message_made_by_hand_has_its_parts_checked_too() -> None:
    image = Image.from_bytes(PNG)
    assert chat(Message("user", ("a", image))).messages[0].content == (Text("a"), image)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match=r"messages\[0\].content\[0\] must be"):
        chat([Message("user", (3,))])  # type: ignore[arg-type]


def test_tools_are_understood_in_openai_form_and_unknown_kinds_pass_through() -> None:
    function = {"name": "f", "description": "d", "parameters": {"type": "object"}}
    request = chat(tools=[{"type": "function", "function": function}, {"type": "web_search"}, Tool("g")])
    assert request.tools == (
        Tool("f", "d", {"type": "object"}),
        RawPart({"type": "web_search"}),
        Tool("g"),
    )


@pytest.mark.parametrize(
    ("messages", "parameters", "message"),
    [
        ([], {}, "messages is empty"),
        ("", {}, "messages holds no text"),
        (3, {}, "messages must be a list, not int"),
        ({"role": "user"}, {}, "messages must be a list, not dict"),
        (["hi"], {}, r"messages\[0\] must be a Message or a dict"),
        ([{"role": "owner", "content": "x"}], {}, r"messages\[0\].role must be one of .* not 'owner'"),
        ([{"role": "user"}], {}, r"messages\[0\] has no content"),
        ([{"role": "user", "content": 3}], {}, r"messages\[0\].content must be a text or a list of parts"),
        ([{"role": "user", "content": [3]}], {}, r"messages\[0\].content\[0\] must be"),
        ("hi", {"temperature": "hot"}, "temperature: "),
        ("hi", {"max_tokens": 1.5}, "max_tokens: "),
        ("hi", {"tempature": 1}, "unknown parameter 'tempature'; did you mean 'temperature'"),
        ("hi", {"tools": {"a": 1}}, "tools must be a list, not dict"),
        ("hi", {"tools": [3]}, r"tools\[0\] must be a Tool"),
        ("hi", {"schema": 3}, "schema must be a pydantic model"),
    ],
)
def test_bad_input_names_the_parameter(messages: Any, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message) as caught:
        chat(messages, **parameters)
    assert caught.value.param is not None
    assert caught.value.status is None


@pytest.mark.parametrize("model", ["", "  ", None, 3])
def test_a_model_must_be_a_name(model: Any) -> None:
    with pytest.raises(InvalidRequestError, match="model must be a name"):
        chat_request(model, "hi", {}, stream=False)


@pytest.mark.parametrize("inputs", [[], [""], [3], 3, {"a": 1}])
def test_embedding_inputs_must_be_texts(inputs: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        embed_request("m", inputs, {})
    assert caught.value.param == "inputs"


def test_none_counts_as_not_given() -> None:
    assert chat(temperature=None, stop=None) == chat()


class Person(BaseModel):
    name: str
    age: int


@dataclass
class Point:
    x: int


def test_a_schema_is_made_of_a_model_a_dataclass_or_a_dict() -> None:
    assert schema_of(Person).name == "Person"
    assert schema_of(Point).json_schema["properties"]["x"]["type"] == "integer"
    assert schema_of({"title": "T", "type": "object"}) == Schema("T", {"title": "T", "type": "object"})


def test_output_is_parsed_into_the_shape_or_the_problem_is_named_without_quoting() -> None:
    assert parse_output(Person, '{"name": "Ada", "age": 36}') == Person(name="Ada", age=36)
    assert parse_output({"type": "object"}, '{"a": 1}') == {"a": 1}
    with pytest.raises(ValueError, match=r"^age: ") as caught:
        parse_output(Person, '{"name": "secret-name", "age": "old"}')
    assert "secret-name" not in str(caught.value)


def test_an_image_knows_its_type_from_its_bytes() -> None:
    assert Image.from_bytes(PNG).to_url().startswith("data:image/png;base64,")
    with pytest.raises(ValueError, match="unknown image format"):
        Image.from_bytes(b"nothing")
    with pytest.raises(ValueError, match="either url or data"):
        Image()
