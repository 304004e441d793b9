"""The simulator as an Ollama server: what it answers on `/api`, byte for byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock_testkit import Simulator, faults
from penstock_testkit.ollama import OllamaDialect
from penstock_testkit.plan import Head, body_of, head_of


def ask(
    simulator: Simulator, path: str, payload: Any = None, method: str | None = None
) -> tuple[Head, bytes]:
    plan = simulator.receive(
        method=method or ("GET" if payload is None else "POST"),
        target=path,
        headers={},
        body=b"" if payload is None else json.dumps(payload).encode(),
        at=0.0,
        wall=0.0,
    )
    head = head_of(plan)
    assert head is not None
    return head, body_of(plan)


def make(*arguments: Any, dialect: OllamaDialect | None = None, **options: Any) -> Simulator:
    return Simulator(*arguments, dialects=[dialect or OllamaDialect()], **options)


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "m:1b", "messages": [{"role": "user", "content": "please get weather"}], **fields}


def documents(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body.splitlines()]


def test_it_streams_unless_it_is_told_not_to() -> None:
    simulator = make(text="one two")
    head, body = ask(simulator, "/api/chat", chat())
    assert head.headers["content-type"] == "application/x-ndjson"
    told = documents(body)
    assert [line["message"]["content"] for line in told] == ["one", " two", ""]
    assert [line["done"] for line in told] == [False, False, True]
    assert (told[-1]["prompt_eval_count"], told[-1]["eval_count"]) == (9, 2)
    head, body = ask(simulator, "/api/chat", chat(stream=False))
    assert head.headers["content-type"].startswith("application/json")
    assert json.loads(body)["message"]["content"] == "one two"


def test_counts_of_zero_are_left_out() -> None:
    _, body = ask(make(text=""), "/api/chat", chat(stream=False))
    assert "eval_count" not in json.loads(body)


def test_options_of_the_request_hold() -> None:
    _, body = ask(make(text="a b c d"), "/api/chat", chat(stream=False, options={"num_predict": 2}))
    answer = json.loads(body)
    assert (answer["message"]["content"], answer["done_reason"]) == ("a b", "length")
    _, body = ask(make(text="a b c d"), "/api/chat", chat(stream=False, options={"stop": ["c"]}))
    assert json.loads(body)["message"]["content"] == "a b "


def test_tool_calls_come_whole_with_ids_or_without() -> None:
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
    _, body = ask(make(), "/api/chat", chat(tools=tools))
    (call,) = documents(body)[0]["message"]["tool_calls"]
    assert call["function"] == {"index": 0, "name": "get_weather", "arguments": {}}
    assert call["id"]
    _, body = ask(make(dialect=OllamaDialect(tool_ids=False)), "/api/chat", chat(tools=tools))
    assert "id" not in documents(body)[0]["message"]["tool_calls"][0]


def test_a_prompt_beyond_the_window_is_cut_silently_or_refused_on_demand() -> None:
    messages = [{"role": "user", "content": "word " * 500}]
    dialect = OllamaDialect(window=100)
    _, body = ask(make(dialect=dialect), "/api/chat", chat(stream=False, messages=messages))
    assert json.loads(body)["prompt_eval_count"] == 100
    head, body = ask(make(dialect=dialect), "/api/chat", chat(messages=messages, truncate=False))
    assert (head.status, "context length" in json.loads(body)["error"]) == (400, True)
    wide = chat(messages=messages, truncate=False, options={"num_ctx": 1000})
    assert ask(make(dialect=dialect), "/api/chat", wide)[0].status == 200


def test_an_empty_request_loads_or_unloads() -> None:
    _, body = ask(make(), "/api/chat", {"model": "m", "messages": []})
    assert json.loads(body)["done_reason"] == "load"
    _, body = ask(make(), "/api/chat", {"model": "m", "keep_alive": 0})
    assert json.loads(body)["done_reason"] == "unload"


def test_generate_puts_the_text_elsewhere() -> None:
    _, body = ask(make(text="one two"), "/api/generate", {"model": "m", "prompt": "Hi"})
    assert "".join(line["response"] for line in documents(body)) == "one two"


def test_a_rule_for_texts_sees_the_request_that_came() -> None:
    def rule(request: Any, prompt: str) -> str:
        return f"{request.path} {prompt}"

    _, body = ask(make(text=rule), "/api/chat", chat(stream=False))
    assert json.loads(body)["message"]["content"] == "/api/chat please get weather"


@pytest.mark.parametrize(
    ("payload", "status", "said"),
    [
        (chat(think="extreme"), 400, "invalid think value"),
        (chat(think=True), 400, "does not support thinking"),
        (chat(tools=[{"type": "function", "function": {"name": "f"}}]), 400, "does not support tools"),
        ({"messages": []}, 400, "model is required"),
        ([], 400, "cannot unmarshal"),
        (chat(messages=[{"role": "user", "content": [{"type": "text"}]}]), 400, "cannot unmarshal array"),
        (chat(model="other"), 404, "not found, try pulling it first"),
    ],
)
def test_what_the_real_server_refuses_is_refused(payload: Any, status: int, said: str) -> None:
    simulator = make(dialect=OllamaDialect(capabilities=("completion",)), models=["m:1b"])
    head, body = ask(simulator, "/api/chat", payload)
    assert head.status == status
    assert said in json.loads(body)["error"]


def test_paths_and_methods_that_do_not_exist_are_refused_as_plain_text() -> None:
    assert ask(make(), "/api/nothing")[1] == b"404 page not found"
    assert ask(make(), "/api/chat", method="GET")[0].status == 405
    assert ask(make(), "/api/tags", {})[0].status == 405


def test_every_kind_of_failure_has_its_words() -> None:
    from typing import get_args

    from penstock_testkit.failure import Kind

    for kind in get_args(Kind):
        simulator = make([faults.status(500, kind=kind), faults.error_event(kind=kind)])
        _, body = ask(simulator, "/api/chat", chat())
        assert body
        _, body = ask(simulator, "/api/chat", chat())
        assert list(documents(body)[0]) == ["error"]


def test_a_key_is_checked() -> None:
    head, body = ask(make(api_key="k"), "/api/tags")
    assert head.status == 401
    assert "signin_url" in json.loads(body)


def test_the_rest_of_the_api_answers() -> None:
    simulator = make(models=["a:1b"])
    assert ask(simulator, "/")[1] == b"Ollama is running"
    assert [model["name"] for model in json.loads(ask(simulator, "/api/tags")[1])["models"]] == ["a:1b"]
    assert json.loads(ask(simulator, "/api/ps")[1])["models"][0]["context_length"] == 4096
    assert json.loads(ask(simulator, "/api/version")[1]) == {"version": "0.12.11"}
    shown = json.loads(ask(simulator, "/api/show", {"model": "a:1b"})[1])
    assert shown["model_info"]["llama.context_length"] == 131_072
    embedded = json.loads(ask(simulator, "/api/embed", {"model": "a:1b", "input": ["a", "b"]})[1])
    assert len(embedded["embeddings"]) == 2
    assert documents(ask(simulator, "/api/pull", {"model": "a:1b"})[1])[-1] == {"status": "success"}
    assert ask(simulator, "/api/pull", {"model": "b"})[0].status == 500
