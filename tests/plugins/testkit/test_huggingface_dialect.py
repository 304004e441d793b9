"""Hugging Face's router and TGI: their answers and refusals, read without the codec of any plugin."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from penstock_testkit import RateLimits, Simulator, faults
from penstock_testkit.huggingface import RouterDialect, TGIDialect, loading
from penstock_testkit.plan import Plan, body_of, head_of

MODEL = "org/name"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hello there"}]}
PlanOf = Callable[..., Plan]


def router(*arguments: Any, **options: Any) -> Simulator:
    return Simulator(*arguments, dialects=[RouterDialect()], **options)


def tgi(*arguments: Any, **options: Any) -> Simulator:
    return Simulator(*arguments, dialects=[TGIDialect()], **options)


def parsed(plan: Plan) -> Any:
    return json.loads(body_of(plan))


def status(plan: Plan) -> int:
    head = head_of(plan)
    assert head is not None
    return head.status


def events(plan: Plan) -> list[Any]:
    blocks = body_of(plan).decode().split("\n\n")
    assert blocks[-1] == ""
    return [json.loads(block.removeprefix("data:")) for block in blocks[:-1] if not block.endswith("[DONE]")]


def generate(prompt: str = "Hello there", **parameters: Any) -> dict[str, Any]:
    return {"inputs": prompt, "parameters": parameters}


def test_the_router_answers_in_the_openai_dialect_with_headers_of_its_own(plan_of: PlanOf) -> None:
    plan = plan_of(router(), CHAT)
    assert parsed(plan)["choices"][0]["message"]["content"] == "This is the simulated answer to: Hello there"
    head = head_of(plan)
    assert head is not None
    assert head.headers["x-powered-by"] == "huggingface-moon"
    assert body_of(plan_of(router(), CHAT | {"stream": True})).endswith(b"data: [DONE]\n\n")


def test_the_router_lists_providers(plan_of: PlanOf) -> None:
    listed = parsed(plan_of(router(models=[MODEL]), method="GET", path="/v1/models"))
    (model,) = listed["data"]
    assert model["id"] == MODEL
    assert [entry["status"] for entry in model["providers"]] == ["live", "error"]


def test_a_suffix_is_no_part_of_the_name_the_router_looks_for(plan_of: PlanOf) -> None:
    simulator = router(models=[MODEL])
    assert status(plan_of(simulator, CHAT | {"model": f"{MODEL}:fastest"})) == 200
    refused = plan_of(simulator, CHAT | {"model": "org/other"})
    assert (status(refused), parsed(refused)["error"]["code"]) == (400, "model_not_supported")


def test_the_pipeline_gives_a_vector_for_each_text(plan_of: PlanOf) -> None:
    path = f"/hf-inference/models/{MODEL}/pipeline/feature-extraction"
    vectors = parsed(plan_of(router(dimensions=4), {"inputs": ["a", "b"]}, path=path))
    assert [len(vector) for vector in vectors] == [4, 4]
    missing = plan_of(router(models=["org/other"]), {"inputs": ["a"]}, path=path)
    assert parsed(missing) == {"error": "Model org/name does not exist"}


@pytest.mark.parametrize("simulate", [router, tgi])
def test_a_wrong_key_is_refused(plan_of: PlanOf, simulate: Any) -> None:
    simulator = simulate(api_key="hf_right")
    assert status(plan_of(simulator, CHAT)) == 401
    assert status(plan_of(simulator, CHAT, headers={"authorization": "Bearer hf_right"})) == 200


def test_tgi_generates_with_details_on_demand(plan_of: PlanOf) -> None:
    answer = parsed(plan_of(tgi(text="one two"), generate(), path="/generate"))
    assert answer == {"generated_text": "one two", "details": None}
    details = parsed(plan_of(tgi(text="one two"), generate(details=True), path="/generate"))["details"]
    assert (details["finish_reason"], details["generated_tokens"]) == ("eos_token", 3)
    assert [token["text"] for token in details["tokens"]] == ["one", " two", "</s>"]


def test_tgi_says_why_an_answer_ended(plan_of: PlanOf) -> None:
    def ended(**parameters: Any) -> tuple[str, str]:
        body = generate(details=True, **parameters)
        answer = parsed(plan_of(tgi(text="one two three"), body, path="/generate"))
        return answer["generated_text"], answer["details"]["finish_reason"]

    assert ended(max_new_tokens=2) == ("one two", "length")
    assert ended(stop=["two"]) == ("one two", "stop_sequence")
    assert ended() == ("one two three", "eos_token")


def test_a_generated_stream_ends_with_the_whole_text_and_no_mark(plan_of: PlanOf) -> None:
    plan = plan_of(tgi(text="one two"), generate(details=True), path="/generate_stream")
    assert body_of(plan).startswith(b'data:{"index": 1')
    first, second, last = events(plan)
    assert first["generated_text"] is None
    assert second["token"]["text"] == " two"
    assert (last["generated_text"], last["token"]["special"]) == ("one two", True)
    assert last["details"]["input_length"] == 2


def test_the_root_answers_as_the_old_inference_did(plan_of: PlanOf) -> None:
    (answer,) = parsed(plan_of(tgi(text=" yes"), generate("Well:"), path="/"))
    assert answer["generated_text"] == "Well: yes"
    streamed = events(plan_of(tgi(text=" yes"), generate("Well:") | {"stream": True}, path="/"))
    assert streamed[-1]["generated_text"] == "Well: yes"


def test_an_endpoint_gives_vectors_on_both_of_its_paths(plan_of: PlanOf) -> None:
    plain = parsed(plan_of(tgi(dimensions=3), {"inputs": ["a", "b"]}, path="/"))
    openai = parsed(plan_of(tgi(dimensions=3), {"input": ["a", "b"]}, path="/v1/embeddings"))
    assert [entry["embedding"] for entry in openai["data"]] == plain
    assert [len(vector) for vector in plain] == [3, 3]


def test_a_grammar_is_followed(plan_of: PlanOf) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    body = generate(grammar={"type": "json", "value": schema})
    assert "a" in json.loads(parsed(plan_of(tgi(), body, path="/generate"))["generated_text"])
    endless = generate(grammar={"type": "json", "value": {"$ref": "#/missing"}})
    assert status(plan_of(tgi(), endless, path="/generate")) == 422


def test_tgi_tells_its_model_and_window(plan_of: PlanOf) -> None:
    simulator = Simulator(dialects=[TGIDialect(model=MODEL, window=99)])
    info = parsed(plan_of(simulator, method="GET", path="/info"))
    assert (info["model_id"], info["max_total_tokens"]) == (MODEL, 99)
    assert parsed(plan_of(simulator, method="GET", path="/v1/models"))["data"][0]["id"] == MODEL
    assert status(plan_of(simulator, method="GET", path="/health")) == 200


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"temperature": 0}, "`temperature` must be strictly positive"),
        ({"top_p": 1.0}, "`top_p` must be > 0.0 and < 1.0"),
        ({"max_new_tokens": 5000}, "`inputs` tokens + `max_new_tokens` must be <= 4096"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "up to 4 stop sequences"),
    ],
)
def test_tgi_validates_and_a_stream_says_so_inside_its_200(
    plan_of: PlanOf, parameters: dict[str, Any], said: str
) -> None:
    plain = plan_of(tgi(), generate(**parameters), path="/generate")
    assert (status(plain), parsed(plain)["error_type"]) == (422, "validation")
    assert said in parsed(plain)["error"]
    streamed = plan_of(tgi(), generate(**parameters), path="/generate_stream")
    assert status(streamed) == 200
    assert events(streamed) == [parsed(plain)]


@pytest.mark.parametrize(("simulate", "path"), [(tgi, "/generate"), (router, "/v1/chat/completions")])
def test_a_body_without_its_field_is_refused_in_plain_text(plan_of: PlanOf, simulate: Any, path: str) -> None:
    plan = plan_of(simulate(), {"model": "x"}, path=path)
    assert status(plan) == 422
    assert body_of(plan).startswith(
        b"Failed to deserialize the JSON body into the target type: missing field"
    )


def test_chats_of_tgi_have_no_id_and_their_errors_end_with_done(plan_of: PlanOf) -> None:
    assert parsed(plan_of(tgi(), CHAT))["id"] == ""
    assert all(event["id"] == "" for event in events(plan_of(tgi(), CHAT | {"stream": True})))
    broken = body_of(plan_of(tgi([faults.error_event(422)]), CHAT | {"stream": True}))
    assert b'"http_status_code": 422' in broken
    assert broken.endswith(b"data: [DONE]\n\n")


def test_an_enforced_limit_fills_the_queue_of_tgi(plan_of: PlanOf) -> None:
    simulator = tgi(limits=RateLimits(requests=1, enforce=True))
    assert status(plan_of(simulator, generate(), path="/generate")) == 200
    refused = plan_of(simulator, generate(), path="/generate")
    assert (status(refused), parsed(refused)["error_type"]) == (429, "overloaded")


def test_loading_says_how_long_it_guesses(plan_of: PlanOf) -> None:
    plan = plan_of(router([loading(577.5)]), CHAT)
    assert status(plan) == 503
    assert parsed(plan) == {"error": "Model org/name is currently loading", "estimated_time": 577.5}


@pytest.mark.parametrize("path", ["/v1/other", "/hf-inference/models/x"])
def test_other_paths_of_the_router_are_not_found(plan_of: PlanOf, path: str) -> None:
    plan = plan_of(router(), CHAT, path=path)
    assert (status(plan), body_of(plan)) == (404, b"Not Found")
    assert status(plan_of(router(), method="GET")) == 405
