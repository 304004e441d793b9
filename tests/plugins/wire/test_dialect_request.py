from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest

from penstock.errors import InvalidRequestError
from penstock.messages import (
    ChatRequest,
    EmbedRequest,
    Image,
    Message,
    ModelsRequest,
    RawPart,
    Schema,
    Text,
    Tool,
    ToolCall,
)
from penstock_wire.openai import OpenAIDialect, Paths, Quirks, reasons
from penstock_wire.openai.schema import strict_schema

DIALECT = OpenAIDialect(
    base_url="https://api.example.com/v1/", headers={"Authorization": "Bearer sk-secret-1234"}
)
HELLO = (Message("user", "Hello"),)


def encode(dialect: OpenAIDialect = DIALECT, model: str = "small", **fields: Any) -> dict[str, Any]:
    fields.setdefault("messages", HELLO)
    body = dialect.encode(ChatRequest(model="any/small", **fields), model).body
    assert body is not None
    return json.loads(body)  # type: ignore[no-any-return]


def dialect(**quirks: Any) -> OpenAIDialect:
    return OpenAIDialect(base_url="https://api.example.com/v1", quirks=Quirks(**quirks))


def test_a_plain_request_holds_the_model_and_the_messages_only() -> None:
    assert encode() == {"model": "small", "messages": [{"role": "user", "content": "Hello"}]}


def test_urls_and_headers_are_ready_made() -> None:
    request = DIALECT.encode(ChatRequest(model="m", messages=HELLO, stream=True), "m")
    assert (request.method, request.url) == ("POST", "https://api.example.com/v1/chat/completions")
    assert request.stream
    assert request.headers == {
        "authorization": "Bearer sk-secret-1234",
        "content-type": "application/json",
        "accept": "text/event-stream",
    }
    request.headers["x-added"] = "by a stage"
    assert "x-added" not in DIALECT.encode(ChatRequest(model="m", messages=HELLO, stream=True), "m").headers


def test_paths_may_hold_the_model_and_urls_a_query() -> None:
    azure = OpenAIDialect(
        base_url="https://x.example.com?api-version=1", paths=Paths(chat="/d/{model}/chat/completions")
    )
    request = azure.encode(ChatRequest(model="m", messages=HELLO), "a/b c")
    assert request.url == "https://x.example.com/d/a%2Fb%20c/chat/completions?api-version=1"
    assert azure.base_url == "https://x.example.com"


def test_nothing_of_a_key_is_in_the_repr() -> None:
    assert "secret" not in repr(DIALECT)


def test_every_parameter_is_sent_under_its_name() -> None:
    fields: dict[str, Any] = {
        "temperature": 0.0,
        "top_p": 0.5,
        "stop": ["a", "b"],
        "seed": 0,
        "n": 2,
        "presence_penalty": 0.1,
        "frequency_penalty": -0.1,
        "logit_bias": {"50256": -100},
        "logprobs": True,
        "top_logprobs": 3,
        "parallel_tool_calls": False,
        "response_format": {"type": "json_object"},
        "reasoning_effort": "low",
        "user": "u",
        "metadata": {"k": "v"},
        "max_tokens": 5,
    }
    payload = encode(**fields)
    assert {name: payload[name] for name in fields} == fields


def test_extra_passes_through_and_may_override_but_never_the_streaming() -> None:
    payload = encode(temperature=0.5, stream=True, extra={"temperature": 1, "top_k": None, "stream": False})
    assert payload["temperature"] == 1
    assert payload["top_k"] is None
    assert payload["stream"] is True


def test_usage_is_asked_for_on_streams_and_other_stream_options_are_kept() -> None:
    assert encode(stream=True)["stream_options"] == {"include_usage": True}
    options = {"include_obfuscation": False}
    assert encode(stream=True, extra={"stream_options": options})["stream_options"] == {
        "include_usage": True,
        **options,
    }
    assert "stream_options" not in encode(dialect(stream_usage=False), stream=True)
    assert "stream_options" not in encode()


def test_a_conversation_with_images_tools_and_results() -> None:
    call = ToolCall("c1", "weather", "")
    messages = (
        Message("developer", "Be brief."),
        Message(
            "user",
            (
                Text("What is this?"),
                Image.from_bytes(b"\x89PNG....", detail="low"),
                Image.from_url("https://example.com/a.png"),
                RawPart(MappingProxyType({"type": "input_audio", "input_audio": {"data": "AA=="}})),
            ),
            name="ada",
        ),
        Message("assistant", None, tool_calls=(call,), extra={"refusal": None}),
        Message("tool", "20 degrees", tool_call_id="c1"),
    )
    assert encode(messages=messages)["messages"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "name": "ada",
            "content": [
                {"type": "text", "text": "What is this?"},
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/png;base64,iVBORy4uLi4=", "detail": "low"},
                },
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                {"type": "input_audio", "input_audio": {"data": "AA=="}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
            ],
            "refusal": None,
        },
        {"role": "tool", "content": "20 degrees", "tool_call_id": "c1"},
    ]
    assert (
        encode(dialect(developer_role="developer"), messages=messages)["messages"][0]["role"] == "developer"
    )


def test_tools_and_the_choice_of_one_by_name() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = (
        Tool("weather", "The weather.", MappingProxyType(schema), strict=True),
        Tool("now"),
        RawPart({"type": "custom", "custom": {"name": "grep"}}),
    )
    payload = encode(tools=tools, tool_choice="weather")
    assert payload["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "The weather.",
                "parameters": schema,
                "strict": True,
            },
        },
        {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}},
        {"type": "custom", "custom": {"name": "grep"}},
    ]
    assert payload["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert encode(tools=tools, tool_choice="required")["tool_choice"] == "required"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("o1", True),
        ("o3-mini", True),
        ("openai/o4-mini", True),
        ("ft:o4-mini:org::id", True),
        ("gpt-5", True),
        ("gpt-5.1", True),
        ("gpt-5-nano-2025-08-07", True),
        ("gpt-6", True),
        ("gpt-5-chat-latest", False),
        ("gpt-5.2-chat-latest", False),
        ("gpt-4o", False),
        ("gpt-3.5-turbo", False),
        ("gpt-oss-120b", False),
        ("gpt-image-1", False),
        ("olmo-2", False),
        ("", False),
    ],
)
def test_reasoning_models_take_max_completion_tokens(model: str, expected: bool) -> None:
    assert reasons(model) is expected
    by_model = encode(dialect(max_tokens="by_model"), model, max_tokens=9)
    assert by_model["max_completion_tokens" if expected else "max_tokens"] == 9
    assert (
        encode(dialect(max_tokens="max_completion_tokens"), model, max_tokens=9)["max_completion_tokens"] == 9
    )
    assert encode(dialect(), model, max_tokens=9)["max_tokens"] == 9


def test_a_field_may_have_another_name_at_a_server() -> None:
    payload = encode(dialect(renamed=(("seed", "random_seed"),)), seed=7)
    assert payload["random_seed"] == 7
    assert "seed" not in payload


PERSON = {
    "title": "Person",
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "title": "Name"},
        "age": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
        "home": {"$ref": "#/$defs/Place", "description": "where"},
        "tags": {"type": "array", "items": {"allOf": [{"$ref": "#/$defs/Tag"}]}},
    },
    "required": ["name"],
    "$defs": {
        "Place": {"type": "object", "properties": {"city": {"type": "string"}}},
        "Tag": {"enum": ["a", "b"], "type": "string"},
    },
}


def test_a_schema_is_made_strict_and_the_input_left_alone() -> None:
    before = json.dumps(PERSON)
    sent = encode(schema=Schema("person", PERSON))["response_format"]["json_schema"]
    assert sent == {
        "name": "person",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "age": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                "home": {"$ref": "#/$defs/Place"},
                "tags": {"type": "array", "items": {"$ref": "#/$defs/Tag"}},
            },
            "required": ["name", "age", "home", "tags"],
            "additionalProperties": False,
            "$defs": {
                "Place": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}},
                    "required": ["city"],
                    "additionalProperties": False,
                },
                "Tag": {"enum": ["a", "b"], "type": "string"},
            },
        },
    }
    assert json.dumps(PERSON) == before


def test_a_property_may_be_called_like_a_keyword() -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}, "not": {"type": "integer"}}}
    strict = strict_schema(schema)
    assert strict is not None
    assert strict["required"] == ["title", "not"]


def test_the_root_of_a_recursive_schema_is_inlined() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    strict = strict_schema({"$ref": "#/$defs/Node", "$defs": {"Node": node}})
    assert strict is not None
    assert strict["type"] == "object"
    assert strict["properties"] == {"next": {"$ref": "#/$defs/Node"}}
    assert strict["$defs"]["Node"]["additionalProperties"] is False


LOOSE = [
    {"type": "object", "additionalProperties": {"type": "integer"}},
    {"type": "object", "properties": {"x": {}}},
    {"type": "object", "properties": {"x": {"type": "object"}}},
    {"type": "object", "properties": {"x": {"type": "array"}}},
    {"type": "object", "properties": {"x": {"type": "array", "prefixItems": [{"type": "string"}]}}},
    {"type": "object", "properties": {"x": {"not": {"type": "string"}}}},
    {"type": "array", "items": {"type": "string"}},
    {"anyOf": [{"type": "object", "properties": {}}]},
    {"$ref": "#/$defs/Missing"},
    {"type": "object", "properties": "nonsense"},
]


@pytest.mark.parametrize("schema", LOOSE)
def test_a_schema_that_cannot_be_strict_is_sent_as_it_is(schema: dict[str, Any]) -> None:
    sent = encode(schema=Schema("loose", schema))["response_format"]["json_schema"]
    assert sent == {"name": "loose", "strict": False, "schema": schema}


def test_a_server_without_json_schema_gets_json_mode_and_the_schema_in_words() -> None:
    payload = encode(dialect(schema_as="json_object"), schema=Schema("person", PERSON))
    assert payload["response_format"] == {"type": "json_object"}
    assert payload["messages"][0]["role"] == "system"
    assert '"Person"' in payload["messages"][0]["content"]
    assert payload["messages"][1:] == [{"role": "user", "content": "Hello"}]


def test_embeddings_and_models() -> None:
    request = EmbedRequest(model="e", inputs=("a", "b"), dimensions=3, extra={"input_type": "query"})
    sent = dialect(embedding_format="base64").encode(request, "e-small")
    assert sent.url == "https://api.example.com/v1/embeddings"
    assert json.loads(sent.body or b"") == {
        "model": "e-small",
        "input": ["a", "b"],
        "encoding_format": "base64",
        "dimensions": 3,
        "input_type": "query",
    }
    models = DIALECT.encode(ModelsRequest(), "")
    assert (models.method, models.url, models.body) == ("GET", "https://api.example.com/v1/models", None)
    assert "content-type" not in models.headers


def test_what_json_cannot_hold_is_refused_before_it_is_sent() -> None:
    with pytest.raises(InvalidRequestError, match="object is not JSON"):
        encode(extra={"x": object()})


RULES = dialect(reasoning_rules=True, max_tokens="by_model")
SAMPLING: dict[str, Any] = {
    "temperature": 0.2,
    "top_p": 0.5,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "logprobs": True,
    "top_logprobs": 2,
    "logit_bias": {"1": 1.0},
}


@pytest.mark.parametrize("name", SAMPLING)
@pytest.mark.parametrize(
    ("model", "effort"), [("o3", None), ("openai/o4-mini", "low"), ("gpt-5", None), ("gpt-5.1", "low")]
)
def test_a_reasoning_model_takes_no_sampling_and_the_error_names_the_way_out(
    name: str, model: str, effort: str | None
) -> None:
    value = SAMPLING[name]
    with pytest.raises(InvalidRequestError, match=rf"takes no {name}=.*extra={{'{name}'") as caught:
        encode(RULES, model, reasoning_effort=effort, **{name: value})
    assert caught.value.param == name
    assert caught.value.status is None
    assert encode(RULES, model, reasoning_effort=effort, extra={name: value})[name] == value
    assert encode(model=model, reasoning_effort=effort, **{name: value})[name] == value


@pytest.mark.parametrize(
    ("model", "effort"),
    [("gpt-5.1", "none"), ("gpt-5.2", None), ("gpt-4o", None), ("gpt-5-chat-latest", None), ("gpt-6", None)],
)
def test_sampling_is_sent_to_models_that_take_it_or_may_take_it(model: str, effort: str | None) -> None:
    payload = encode(RULES, model, reasoning_effort=effort, **SAMPLING)
    assert {name: payload[name] for name in SAMPLING} == SAMPLING


def test_neutral_values_are_sent_to_every_model() -> None:
    neutral = {"temperature": 1.0, "top_p": 1.0, "presence_penalty": 0.0, "logprobs": False}
    payload = encode(RULES, "o3", **neutral)
    assert {name: payload[name] for name in neutral} == neutral


def test_the_effort_may_be_in_extra() -> None:
    with pytest.raises(InvalidRequestError, match="with reasoning_effort='high'"):
        encode(RULES, "gpt-5.1", temperature=0.2, extra={"reasoning_effort": "high"})
    assert encode(RULES, "gpt-5.1", temperature=0.2, extra={"reasoning_effort": "none"})["temperature"] == 0.2


# The fields of a chat completion request, as OpenAI describes them.
BY_FIELD: dict[str, Any] = {
    "frequency_penalty": 0.1,
    "logit_bias": {"1": 2},
    "logprobs": True,
    "max_tokens": 5,
    "metadata": {"k": "v"},
    "n": 2,
    "parallel_tool_calls": True,
    "presence_penalty": 0.1,
    "reasoning_effort": "minimal",
    "response_format": {"type": "text"},
    "seed": 1,
    "stop": ["x"],
    "temperature": 0.5,
    "tool_choice": "auto",
    "top_logprobs": 1,
    "top_p": 0.5,
    "user": "u",
}
BY_EXTRA: dict[str, Any] = {
    "audio": {"voice": "alloy", "format": "wav"},
    "function_call": "auto",
    "functions": [{"name": "f"}],
    "max_completion_tokens": 7,
    "modalities": ["text", "audio"],
    "prediction": {"type": "content", "content": "x"},
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "safety_identifier": "s",
    "service_tier": "flex",
    "store": True,
    "verbosity": "low",
    "web_search_options": {},
}


def test_every_parameter_of_the_api_can_be_sent() -> None:
    payload = encode(stream=True, tools=(Tool("f"),), extra=BY_EXTRA, **BY_FIELD)
    assert payload == {
        "model": "small",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [
            {
                "type": "function",
                "function": {"name": "f", "parameters": {"type": "object", "properties": {}}},
            }
        ],
        **BY_FIELD,
        **BY_EXTRA,
    }
