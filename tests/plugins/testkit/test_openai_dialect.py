"""The OpenAI dialect: its answers, refusals and headers, read without the codec of any plugin."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable
from typing import Any

import pytest

from penstock_testkit import RateLimits, Simulator
from penstock_testkit.plan import Data, Plan, body_of, head_of

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}
CLOCK = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object"}}}


def messages(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": messages("Hello there"), **fields}


def parsed(plan: Plan) -> Any:
    return json.loads(body_of(plan))


def streamed(plan: Plan) -> list[Any]:
    lines = body_of(plan).decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


def test_a_plain_answer_is_derived_from_the_prompt(plan_of: Callable[..., Plan]) -> None:
    answer = parsed(plan_of(Simulator(), chat()))
    choice = answer["choices"][0]
    assert choice["message"]["content"] == "This is the simulated answer to: Hello there"
    assert (choice["finish_reason"], answer["object"]) == ("stop", "chat.completion")
    assert answer["usage"]["total_tokens"] == 8 + 8


def test_the_same_requests_get_the_same_bytes(plan_of: Callable[..., Plan]) -> None:
    one, other = Simulator(), Simulator()
    for _ in range(3):
        assert plan_of(one, chat(stream=True)) == plan_of(other, chat(stream=True))


def test_a_text_of_the_settings_is_what_models_say(plan_of: Callable[..., Plan]) -> None:
    assert parsed(plan_of(Simulator(text="Yes."), chat()))["choices"][0]["message"]["content"] == "Yes."
    shout = Simulator(text=lambda request, prompt: f"{request.model}: {prompt.upper()}")
    assert parsed(plan_of(shout, chat()))["choices"][0]["message"]["content"] == "gpt-4o: HELLO THERE"


def test_a_stream_says_the_same_as_a_plain_answer(plan_of: Callable[..., Plan]) -> None:
    text = "  Grüße,\n\nWörld 🌍 \u2028 end \n"
    events = streamed(plan_of(Simulator(text=text), chat(stream=True)))
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert "".join(event["choices"][0]["delta"].get("content") or "" for event in events) == text
    assert [e["choices"][0]["finish_reason"] for e in events].count("stop") == 1
    assert all("usage" not in event for event in events)


def test_usage_comes_in_a_last_event_when_it_is_asked_for(plan_of: Callable[..., Plan]) -> None:
    body = chat(stream=True, stream_options={"include_usage": True})
    *events, last = streamed(plan_of(Simulator(), body))
    assert all(event["usage"] is None for event in events)
    assert last["choices"] == []
    assert last["usage"] == parsed(plan_of(Simulator(), chat()))["usage"]


def test_the_parts_of_a_stream_are_marked_for_faults(plan_of: Callable[..., Plan]) -> None:
    body = chat(stream=True, stream_options={"include_usage": True})
    parts = [step.part for step in plan_of(Simulator(text="a b"), body) if isinstance(step, Data)]
    assert parts == ["other", "content", "content", "finish", "usage", "done"]


def test_several_choices_are_asked_for_with_n(plan_of: Callable[..., Plan]) -> None:
    plain = parsed(plan_of(Simulator(text="Hi"), chat(n=3)))
    assert [c["message"]["content"] for c in plain["choices"]] == ["Hi", "Hi (2)", "Hi (3)"]
    texts = ["", "", ""]
    for event in streamed(plan_of(Simulator(text="Hi"), chat(n=3, stream=True))):
        choice = event["choices"][0]
        texts[choice["index"]] += choice["delta"].get("content") or ""
    assert texts == ["Hi", "Hi (2)", "Hi (3)"]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_token_limit_ends_the_answer_with_length(plan_of: Callable[..., Plan], name: str) -> None:
    choice = parsed(plan_of(Simulator(text="one two three"), chat(**{name: 2})))["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("one two", "length")


def test_a_stop_sequence_ends_the_text(plan_of: Callable[..., Plan]) -> None:
    choice = parsed(plan_of(Simulator(text="one two three"), chat(stop=[" three"])))["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("one two", "stop")


def test_a_tool_the_prompt_names_is_called_with_fitting_arguments(plan_of: Callable[..., Plan]) -> None:
    body = chat(messages=messages("Please get weather now"), tools=[WEATHER, CLOCK])
    choice = parsed(plan_of(Simulator(), body))["choices"][0]
    (call,) = choice["message"]["tool_calls"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"name": "name", "age": 1}


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, []),
        ({"tool_choice": "required"}, ["get_weather"]),
        ({"tool_choice": {"type": "function", "function": {"name": "get_time"}}}, ["get_time"]),
        ({"messages": messages("get_weather and get_time")}, ["get_weather", "get_time"]),
        ({"messages": messages("get_weather and get_time"), "tool_choice": "none"}, []),
        ({"messages": messages("get_weather, get_time"), "parallel_tool_calls": False}, ["get_weather"]),
    ],
)
def test_which_tools_are_called(
    plan_of: Callable[..., Plan], fields: dict[str, Any], names: list[str]
) -> None:
    message = parsed(plan_of(Simulator(), chat(tools=[WEATHER, CLOCK], **fields)))["choices"][0]["message"]
    assert [call["function"]["name"] for call in message.get("tool_calls", [])] == names


def test_a_tool_result_is_answered_with_text(plan_of: Callable[..., Plan]) -> None:
    history = [
        *messages("get weather"),
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]
    choice = parsed(plan_of(Simulator(text="Sunny."), chat(messages=history, tools=[WEATHER])))["choices"][0]
    assert choice["message"]["content"] == "Sunny."


def test_streamed_tool_calls_come_in_pieces_that_join(plan_of: Callable[..., Plan]) -> None:
    body = chat(messages=messages("get weather and get time"), tools=[WEATHER, CLOCK], stream=True)
    calls: dict[int, list[str]] = {}
    for event in streamed(plan_of(Simulator(), body)):
        for delta in event["choices"][0]["delta"].get("tool_calls", []):
            name = delta["function"].get("name", "")
            calls.setdefault(delta["index"], [name, ""])[1] += delta["function"]["arguments"]
    assert calls == {0: ["get_weather", '{"name": "name", "age": 1}'], 1: ["get_time", "{}"]}


def test_structured_output_is_an_instance_of_the_schema(plan_of: Callable[..., Plan]) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
    choice = parsed(plan_of(Simulator(), chat(response_format=wanted)))["choices"][0]
    assert json.loads(choice["message"]["content"]) == {"name": "name", "age": 1}


def test_embeddings_are_unit_vectors_that_depend_on_the_text_alone(plan_of: Callable[..., Plan]) -> None:
    body = {"model": "text-embedding-3-small", "input": ["a", "b", "a"], "dimensions": 8}
    data = parsed(plan_of(Simulator(), body, path="/v1/embeddings"))["data"]
    first, second, third = (item["embedding"] for item in data)
    assert first == third != second
    assert len(first) == 8
    assert math.isclose(math.hypot(*first), 1.0, abs_tol=1e-4)


def test_base64_embeddings_hold_the_same_floats(plan_of: Callable[..., Plan]) -> None:
    body = {"model": "m", "input": "a", "dimensions": 4}
    plain = parsed(plan_of(Simulator(), body, path="/v1/embeddings"))["data"][0]["embedding"]
    packed = parsed(plan_of(Simulator(), {**body, "encoding_format": "base64"}, path="/v1/embeddings"))
    unpacked = struct.unpack("<4f", base64.b64decode(packed["data"][0]["embedding"]))
    assert unpacked == pytest.approx(plain, abs=1e-6)


def test_the_models_are_listed_and_found_one_by_one(plan_of: Callable[..., Plan]) -> None:
    simulator = Simulator(models=["model-a", "org/model-b"])
    listed = parsed(plan_of(simulator, b"", method="GET", path="/v1/models"))
    assert [model["id"] for model in listed["data"]] == ["model-a", "org/model-b"]
    found = parsed(plan_of(simulator, b"", method="GET", path="/v1/models/org/model-b"))
    assert found["id"] == "org/model-b"
    missing = plan_of(simulator, b"", method="GET", path="/v1/models/model-c")
    assert head_of(missing).status == 404  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "request_", "status", "code", "param"),
    [
        ({"api_key": "right"}, {"headers": {"authorization": "Bearer wrong"}}, 401, "invalid_api_key", None),
        ({"api_key": "right"}, {}, 401, "invalid_api_key", None),
        ({"models": ["other"]}, {}, 404, "model_not_found", "model"),
        ({}, {"body": b"{nonsense"}, 400, None, None),
        ({}, {"body": {"messages": []}}, 400, None, None),
        ({}, {"body": {"model": "m"}}, 400, "missing_required_parameter", "messages"),
        ({}, {"body": {"model": "m", "messages": []}}, 400, "empty_array", "messages"),
        ({}, {"body": {"model": "m", "messages": "hi"}}, 400, "invalid_type", "messages"),
        ({}, {"body": {"model": "m", "messages": ["hi"]}}, 400, "invalid_type", "messages[0]"),
        ({}, {"body": chat(temperature=3)}, 400, "decimal_above_max_value", "temperature"),
        ({}, {"body": chat(max_tokens=0)}, 400, "integer_below_min_value", "max_tokens"),
        ({}, {"body": chat(top_p="much")}, 400, "invalid_type", "top_p"),
        ({}, {"path": "/v1/nothing"}, 404, None, None),
        ({}, {"method": "GET"}, 405, "method_not_supported", None),
        ({}, {"path": "/v1/embeddings", "body": {"model": "m", "input": []}}, 400, None, "input"),
    ],
)
def test_a_refusal_has_the_shape_of_openai(
    plan_of: Callable[..., Plan],
    options: dict[str, Any],
    request_: dict[str, Any],
    status: int,
    code: str | None,
    param: str | None,
) -> None:
    plan = plan_of(Simulator(**options), request_.pop("body", None), **request_)
    head = head_of(plan)
    assert head is not None
    error = parsed(plan)["error"]
    assert (head.status, error["code"], error["param"]) == (status, code, param)
    assert set(error) == {"message", "type", "param", "code"}
    assert "x-request-id" in head.headers


@pytest.mark.parametrize("headers", [{"authorization": "Bearer right"}, {"api-key": "right"}])
def test_the_right_key_is_accepted(plan_of: Callable[..., Plan], headers: dict[str, str]) -> None:
    assert head_of(plan_of(Simulator(api_key="right"), headers=headers)).status == 200  # type: ignore[union-attr]


def test_a_wrong_key_is_shown_by_its_ends_only(plan_of: Callable[..., Plan]) -> None:
    headers = {"authorization": "Bearer sk-proj-secretsecretsecret-wxyz"}
    body = body_of(plan_of(Simulator(api_key="right"), headers=headers))
    assert b"sk-proj*" in body
    assert b"secret" not in body


def test_the_rate_limit_headers_sink_and_recover(plan_of: Callable[..., Plan]) -> None:
    simulator = Simulator(limits=RateLimits(requests=60, tokens=6000))

    def remaining(at: float) -> tuple[str, str]:
        head = head_of(plan_of(simulator, at=at))
        assert head is not None
        names = ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")
        return head.headers[names[0]], head.headers[names[1]]

    assert [remaining(0.0), remaining(0.0), remaining(1.0)] == [("59", "1s"), ("58", "2s"), ("58", "2s")]


def test_enforced_limits_refuse_with_the_wait_that_helps(plan_of: Callable[..., Plan]) -> None:
    simulator = Simulator(limits=RateLimits(requests=2, enforce=True))
    statuses = []
    for at in (0.0, 0.0, 0.0, 30.0):
        head = head_of(plan_of(simulator, at=at))
        assert head is not None
        statuses.append((head.status, head.headers.get("retry-after")))
    assert statuses == [(200, None), (200, None), (429, "30"), (200, None)]
