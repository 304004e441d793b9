"""The simulator's Responses API says what its chat completions say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock_testkit import Simulator, faults
from penstock_testkit.openai_responses import OpenAIResponsesDialect
from penstock_testkit.plan import body_of, head_of


def post(fields: Any, path: str = "/v1/responses", *script: Any, **options: Any) -> tuple[int, str]:
    simulator = Simulator(script, dialects=[OpenAIResponsesDialect()], **options)
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    plan = simulator.receive(method="POST", target=path, headers={}, body=body, at=0.0, wall=0.0)
    head = head_of(plan)
    assert head is not None
    return head.status, body_of(plan).decode()


def events(text: str) -> list[dict[str, Any]]:
    found = []
    for block in text.split("\n\n")[:-1]:
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def test_a_plain_answer_is_a_message() -> None:
    status, text = post({"model": "m", "input": "Hello", "store": False}, text="Good day.")
    answer = json.loads(text)
    assert status == 200
    assert answer["status"] == "completed"
    assert answer["output"][0]["content"][0]["text"] == "Good day."
    assert answer["store"] is False
    assert answer["usage"]["total_tokens"] == answer["usage"]["input_tokens"] + 2


def test_a_stream_ends_with_the_whole_answer_as_its_terminal_event() -> None:
    _, text = post({"model": "m", "input": "Hello", "stream": True}, text="Good day to you.")
    told = events(text)
    deltas = [event["delta"] for event in told if event["type"] == "response.output_text.delta"]
    assert "".join(deltas) == "Good day to you."
    assert told[-1]["type"] == "response.completed"
    plain = json.loads(post({"model": "m", "input": "Hello"}, text="Good day to you.")[1])
    assert told[-1]["response"] == plain


def test_a_limit_makes_it_incomplete() -> None:
    answer = json.loads(post({"model": "m", "input": "Hi", "max_output_tokens": 1}, text="Good day.")[1])
    assert (answer["status"], answer["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


def test_tools_are_called_and_their_results_read() -> None:
    tool = {"type": "function", "name": "now", "parameters": {"type": "object", "properties": {}}}
    fields = {
        "model": "m",
        "input": "Hi",
        "tools": [tool],
        "tool_choice": {"type": "function", "name": "now"},
    }
    call = json.loads(post(fields)[1])["output"][0]
    assert (call["type"], call["name"], call["arguments"]) == ("function_call", "now", "{}")
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "noon"}
    turn = {**fields, "tool_choice": "auto", "input": [{"role": "user", "content": "now"}, call, result]}
    answer = json.loads(post(turn)[1])
    assert answer["output"][0]["type"] == "message"


def test_a_format_is_kept() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wanted = {"format": {"type": "json_schema", "name": "x", "schema": schema}}
    answer = json.loads(post({"model": "m", "input": "Hi", "text": wanted})[1])
    assert isinstance(json.loads(answer["output"][0]["content"][0]["text"])["n"], int)


@pytest.mark.parametrize(
    ("fields", "status"),
    [(b"{", 400), ({"model": "m"}, 400), ({"model": "m", "input": []}, 400), ({"input": "Hi"}, 400)],
)
def test_a_bad_request_is_refused_as_by_openai(fields: Any, status: int) -> None:
    assert post(fields)[0] == status


def test_an_unknown_model_and_a_wrong_key_are_refused() -> None:
    assert post({"model": "x", "input": "Hi"}, models=["m"])[0] == 404
    assert post({"model": "m", "input": "Hi"}, api_key="sk-1")[0] == 401


def test_an_error_event_has_a_type() -> None:
    _, text = post({"model": "m", "input": "Hi", "stream": True}, "/v1/responses", faults.error_event(503))
    assert events(text)[-1]["type"] == "error"


def test_everything_else_is_answered_as_before() -> None:
    chat = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    assert json.loads(post(chat, "/v1/chat/completions")[1])["object"] == "chat.completion"
