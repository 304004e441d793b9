"""What a request becomes on the wire, and what is refused because Ollama cannot say it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import Image, InvalidRequestError, Message, Tool, ToolCall
from penstock.messages import ChatRequest, EmbedRequest, ModelsRequest, RawPart, Schema, Text
from penstock.requests import chat_request
from penstock_ollama import OllamaCodec
from penstock_ollama.request import Defaults

CODEC = OllamaCodec(base_url="http://127.0.0.1:11434", headers={"Authorization": "Bearer k"})
HELLO = (Message("user", "Hello"),)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def chat(codec: OllamaCodec = CODEC, messages: tuple[Message, ...] = HELLO, **fields: Any) -> dict[str, Any]:
    request = codec.encode(ChatRequest(model="x", messages=messages, **fields), "llama3.2:3b")
    assert request.body is not None
    return json.loads(request.body)  # type: ignore[no-any-return]


def refused(param: str, **fields: Any) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        chat(**fields)
    assert caught.value.param == param
    return str(caught.value)


def test_a_plain_chat_says_that_it_is_not_streamed() -> None:
    request = CODEC.encode(ChatRequest(model="x", messages=HELLO), "llama3.2:3b")
    assert (request.method, request.url, request.stream) == ("POST", "http://127.0.0.1:11434/api/chat", False)
    assert request.headers["authorization"] == "Bearer k"
    assert json.loads(request.body or b"") == {
        "model": "llama3.2:3b",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": False,
    }


def test_a_streamed_chat_is_sent_as_one() -> None:
    request = CODEC.encode(ChatRequest(model="x", messages=HELLO, stream=True), "m")
    assert request.stream
    assert json.loads(request.body or b"")["stream"] is True
    assert request.headers["accept"] == "application/x-ndjson"


def test_sampling_goes_into_the_options() -> None:
    payload = chat(
        max_tokens=5,
        temperature=0.0,
        top_p=0.9,
        seed=7,
        stop="END",
        presence_penalty=0.1,
        frequency_penalty=0.2,
    )
    assert payload["options"] == {
        "num_predict": 5,
        "temperature": 0.0,
        "top_p": 0.9,
        "seed": 7,
        "stop": ["END"],
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
    }
    assert chat(stop=["a", "b"])["options"] == {"stop": ["a", "b"]}


def test_what_is_not_given_is_not_sent() -> None:
    assert "options" not in chat()


def test_extra_options_are_found_by_their_names_and_everything_else_is_top_level() -> None:
    payload = chat(
        temperature=1.0,
        extra={"top_k": 40, "options": {"num_ctx": 8192, "temperature": 0.5}, "keep_alive": "5m", "new": [1]},
    )
    assert payload["options"] == {"temperature": 0.5, "top_k": 40, "num_ctx": 8192}
    assert payload["keep_alive"] == "5m"
    assert payload["new"] == [1]


def test_extra_options_must_be_a_mapping() -> None:
    assert "mapping" in refused("extra", extra={"options": 5})


def test_the_defaults_of_the_configuration_yield_to_the_request() -> None:
    defaults = Defaults(keep_alive="10m", num_ctx=2048, think=True, refuse_overflow=True)
    codec = OllamaCodec(base_url="http://x", defaults=defaults)
    payload = chat(codec)
    assert payload["keep_alive"] == "10m"
    assert payload["options"] == {"num_ctx": 2048}
    assert payload["think"] is True
    assert payload["truncate"] is False
    payload = chat(codec, extra={"keep_alive": 0, "num_ctx": 512, "truncate": True}, reasoning_effort="low")
    assert (payload["keep_alive"], payload["truncate"], payload["think"]) == (0, True, "low")
    assert payload["options"] == {"num_ctx": 512}


@pytest.mark.parametrize(
    ("effort", "think"),
    [("none", False), ("minimal", "low"), ("low", "low"), ("high", "high"), ("xhigh", "max")],
)
def test_reasoning_effort_is_thinking(effort: str, think: Any) -> None:
    assert chat(reasoning_effort=effort)["think"] == think


def test_an_extra_think_wins() -> None:
    assert chat(reasoning_effort="high", extra={"think": False})["think"] is False


def test_a_schema_is_the_format() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert chat(schema=Schema("answer", schema))["format"] == schema
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    assert chat(response_format=wanted)["format"] == schema
    assert chat(response_format={"type": "json_object"})["format"] == "json"
    assert "format" not in chat(response_format={"type": "text"})
    refused("response_format", response_format={"type": "grammar"})


def test_tools_are_sent_in_full_and_not_at_all_when_none_may_be_called() -> None:
    tool = Tool("f", "does f", {"type": "object", "properties": {}}, strict=True)
    assert chat(tools=(tool,), tool_choice="auto")["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": "does f",
                "parameters": {"type": "object", "properties": {}},
                "strict": True,
            },
        }
    ]
    assert "tools" not in chat(tools=(tool,), tool_choice="none")
    raw = {"type": "function", "function": {"name": "g"}}
    assert chat(tools=(RawPart(raw),))["tools"] == [raw]


def test_what_ollama_would_silently_ignore_is_refused() -> None:
    tool = (Tool("f"),)
    refused("n", n=2)
    refused("logit_bias", logit_bias={"5": 1.0})
    refused("tool_choice", tools=tool, tool_choice="required")
    refused("tool_choice", tools=tool, tool_choice={"type": "function", "function": {"name": "f"}})
    refused("parallel_tool_calls", tools=tool, parallel_tool_calls=False)
    refused("tools", tools=(RawPart({"type": "web_search"}),))
    assert "n" not in chat(n=1)


def test_what_changes_no_answer_is_sent_along() -> None:
    payload = chat(logprobs=True, top_logprobs=3, user="u", metadata={"a": "b"})
    assert (payload["logprobs"], payload["top_logprobs"]) == (True, 3)
    assert (payload["user"], payload["metadata"]) == ("u", {"a": "b"})


def test_images_go_beside_the_text_as_bare_base64() -> None:
    encoded = base64.b64encode(PNG).decode()
    parts = (
        Text("What is"),
        Image.from_bytes(PNG),
        Text("this?"),
        Image(url=f"data:image/png;base64,{encoded}"),
        Image(url="data:image/svg+xml,%3Csvg/%3E"),
    )
    (message,) = chat(messages=(Message("user", parts),))["messages"]
    assert message["content"] == "What is\nthis?"
    assert message["images"] == [encoded, encoded, base64.b64encode(b"<svg/>").decode()]


def test_an_image_by_url_is_refused_because_nobody_would_fetch_it() -> None:
    message = Message("user", (Text("?"), Image.from_url("https://example.com/cat.png?key=secret")))
    text = refused("messages", messages=(message,))
    assert "messages[0].content[1]" in text
    assert "from_path" in text
    assert "secret" not in text
    refused("messages", messages=(Message("user", (Image(url="data:image/png;base64,%%%"),)),))


def test_parts_of_other_kinds_are_refused() -> None:
    part = RawPart({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}})
    assert "'input_audio'" in refused("messages", messages=(Message("user", (part,)),))


def test_parts_with_fields_of_other_providers_keep_what_they_show() -> None:
    request = chat_request(
        "m",
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "x": 1}},
                ],
            }
        ],
        {},
        stream=False,
    )
    assert chat(messages=request.messages)["messages"] == [
        {"role": "user", "content": "Hi", "images": ["aGk="]}
    ]


def test_a_conversation_with_tools_has_objects_for_arguments_and_names_for_results() -> None:
    messages = (
        Message("developer", "Be brief."),
        Message("user", "Weather?"),
        Message(
            "assistant",
            None,
            tool_calls=(ToolCall("a", "weather", '{"city": "Paris"}'), ToolCall("b", "time", "")),
        ),
        Message("tool", "21", tool_call_id="a"),
        Message("tool", "noon", tool_call_id="b", extra={"new": 1}),
        Message("tool", "?", tool_call_id="unknown"),
        Message("tool", "!", name="other"),
    )
    sent = chat(messages=messages)["messages"]
    assert sent[0] == {"role": "system", "content": "Be brief."}
    assert sent[2] == {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": "a", "function": {"index": 0, "name": "weather", "arguments": {"city": "Paris"}}},
            {"id": "b", "function": {"index": 1, "name": "time", "arguments": {}}},
        ],
    }
    assert sent[3] == {"role": "tool", "content": "21", "tool_name": "weather", "tool_call_id": "a"}
    assert sent[4] == {
        "role": "tool",
        "content": "noon",
        "tool_name": "time",
        "tool_call_id": "b",
        "new": 1,
    }
    assert sent[5] == {"role": "tool", "content": "?", "tool_call_id": "unknown"}
    assert sent[6] == {"role": "tool", "content": "!", "tool_name": "other"}


@pytest.mark.parametrize("arguments", ["not json", "[1]", '"text"', "null"])
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    message = Message("assistant", None, tool_calls=(ToolCall("a", "f", arguments),))
    assert "messages[0].tool_calls[0]" in refused("messages", messages=(message,))


def test_a_result_answers_the_latest_call_of_its_id() -> None:
    def turn(name: str) -> tuple[Message, Message]:
        call = Message("assistant", None, tool_calls=(ToolCall("call_0", name, "{}"),))
        return call, Message("tool", "done", tool_call_id="call_0")

    sent = chat(messages=(*turn("first"), *turn("second")))["messages"]
    assert [message.get("tool_name") for message in sent] == [None, "first", None, "second"]


def test_texts_are_embedded_in_one_request() -> None:
    request = CODEC.encode(
        EmbedRequest(model="x", inputs=("a", "b"), dimensions=8, extra={"num_ctx": 512, "truncate": True}),
        "m",
    )
    assert request.url.endswith("/api/embed")
    assert json.loads(request.body or b"") == {
        "model": "m",
        "input": ["a", "b"],
        "dimensions": 8,
        "truncate": True,
        "options": {"num_ctx": 512},
    }


def test_models_are_listed_with_a_get() -> None:
    request = CODEC.encode(ModelsRequest(), "*")
    assert (request.method, request.url, request.body) == ("GET", "http://127.0.0.1:11434/api/tags", None)


def test_what_json_cannot_hold_is_refused_without_its_value() -> None:
    with pytest.raises(InvalidRequestError, match="object") as caught:
        chat(extra={"x": object()})
    assert "0x" not in str(caught.value)


def test_no_repr_shows_the_key() -> None:
    codec = OllamaCodec(base_url="http://x", headers={"authorization": "Bearer sk-secret-123456"})
    assert "secret" not in repr(codec)


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.recursive(st.none() | st.booleans() | st.text(max_size=5), st.lists, max_leaves=4),
        max_size=5,
    )
)
def test_whatever_extra_holds_is_sent_or_refused(extra: dict[str, Any]) -> None:
    try:
        payload = chat(extra=extra)
    except InvalidRequestError:
        return
    everywhere = {**payload, **payload.get("options", {})}
    assert all(everywhere[name] == value for name, value in extra.items() if name != "options")
