"""Whole calls through the client in every colour, against the simulated router and TGI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from penstock import AsyncClient, Client, errors
from penstock_testkit import faults
from penstock_testkit.huggingface import TGIDialect, loading

MODEL = "hf/meta-llama/Llama-3.1-8B-Instruct"
Hub = Callable[..., Any]
each_api = pytest.mark.parametrize("api", ["router", "chat", "generate"])


@each_api
def test_an_answer_is_the_same_plain_and_streamed(hub: Hub, api: str) -> None:
    world = hub(api)
    plain = world.chat("Say one two", model=MODEL)
    chunks, stream = world.stream("Say one two", model=MODEL)
    assert plain.text == "This is the simulated answer to: Say one two"
    assert "".join(chunk.text for chunk in chunks) == stream.answer.text == plain.text
    assert plain.finish_reason == stream.answer.finish_reason == "stop"
    assert plain.usage == stream.answer.usage
    assert plain.usage.input_tokens
    assert world.count == 2


@each_api
def test_the_longest_answer_is_what_was_asked_for(hub: Hub, api: str) -> None:
    answer = hub(api).chat(model=MODEL, max_tokens=2)
    assert answer.text == "This is"
    assert answer.finish_reason == "length"


def test_a_model_of_the_router_keeps_its_suffix(hub: Hub) -> None:
    world = hub("router", pipeline=[])
    world.chat(model=f"{MODEL}:cheapest")
    (request,) = world.simulator.requests
    assert request.model == "meta-llama/Llama-3.1-8B-Instruct:cheapest"
    assert request.headers["authorization"].startswith("Bearer hf_")


@each_api
def test_vectors_come_back_for_each_text(hub: Hub, api: str) -> None:
    world = hub(api)
    vectors = world.embed(["a", "b"], model=MODEL).vectors
    assert [len(vector) for vector in vectors] == [32, 32]
    assert vectors[0] != vectors[1]


def test_many_texts_go_in_requests_of_32(hub: Hub) -> None:
    world = hub("router")
    assert len(world.embed([f"text {n}" for n in range(70)], model=MODEL).vectors) == 70
    assert [len(request.json["inputs"]) for request in world.simulator.requests] == [32, 32, 6]


def test_the_router_lists_who_serves_a_model_and_how(hub: Hub) -> None:
    world = hub("router")
    models = world.run(world.client.models("hf"))
    model = next(each for each in models if each.id == "meta-llama/Llama-3.1-8B-Instruct")
    assert model.context_length == 131072
    assert model.capabilities == {"chat", "stream", "tools"}
    assert model.extra["providers"][0]["pricing"] == {"input": 0.02, "output": 0.05}


def test_the_native_api_lists_its_one_model(hub: Hub) -> None:
    world = hub("generate")
    (model,) = world.run(world.client.models("hf"))
    assert (model.id, model.context_length) == ("meta-llama/Llama-3.1-8B-Instruct", 4096)


@each_api
def test_an_estimate_of_loading_is_waited_for_but_never_longer_than_a_minute(hub: Hub, api: str) -> None:
    world = hub(api, [loading(20.0), loading(577.375)])
    before = world.now()
    assert world.chat(model=MODEL).text
    waited = world.now() - before
    assert 80.0 <= waited <= 82.0
    assert world.count == 3


def test_a_wrong_key_is_told_once(hub: Hub) -> None:
    world = hub("router", simulator={"api_key": "hf_another0123456789"})
    with pytest.raises(errors.AuthenticationError, match="Invalid username or password"):
        world.chat(model=MODEL)
    assert world.count == 1


@pytest.mark.parametrize(
    ("fault", "kind", "requests"),
    [
        (faults.status(402), errors.QuotaExceededError, 1),
        (faults.status(403), errors.PermissionDeniedError, 1),
        (faults.status(404), errors.ModelNotFoundError, 1),
        (faults.status(429), errors.RateLimitError, 3),
        (faults.status(503), errors.OverloadedError, 3),
        (faults.html(502), errors.ServerError, 3),
    ],
    ids=lambda value: getattr(value, "label", None),
)
def test_refusals_of_the_router(
    hub: Hub, fault: Any, kind: type[errors.ProviderError], requests: int
) -> None:
    world = hub("router", [fault] * requests)
    with pytest.raises(kind) as caught:
        world.chat(model=MODEL)
    assert type(caught.value) is kind
    assert world.count == requests


@pytest.mark.parametrize("streamed", [False, True])
def test_a_full_queue_of_tgi_is_busy_and_not_broken(hub: Hub, streamed: bool) -> None:
    world = hub("generate", [faults.error_event(429) if streamed else faults.status(429)], pipeline=[])
    call = world.stream if streamed else world.chat
    with pytest.raises(errors.QueueFullError) as caught:
        call(model=MODEL)
    assert not caught.value.counts
    assert caught.value.throttled


def test_a_prompt_that_does_not_fit_is_refused_inside_a_200_stream(hub: Hub) -> None:
    world = hub("generate")
    with pytest.raises(errors.ContextLengthError):
        world.stream(model=MODEL, max_tokens=5000)
    assert world.count == 1


@each_api
def test_a_stream_that_breaks_after_its_first_token_carries_what_had_come(hub: Hub, api: str) -> None:
    world = hub(api, [faults.error_event(500, after=2)])
    with pytest.raises(errors.StreamInterrupted) as caught:
        world.stream(model=MODEL)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "This is"
    assert world.count == 1


@each_api
@pytest.mark.parametrize("fault", [faults.cut(after=2), faults.unterminated()], ids=["cut", "unterminated"])
def test_a_stream_without_its_end_is_interrupted(hub: Hub, api: str, fault: Any) -> None:
    world = hub(api, [fault])
    with pytest.raises(errors.StreamInterrupted):
        world.stream(model=MODEL)
    assert world.count == 1


@each_api
def test_broken_bodies_are_tried_again(hub: Hub, api: str) -> None:
    world = hub(api, [faults.malformed(), faults.html()])
    assert world.chat(model=MODEL).text
    assert world.count == 3


def test_what_the_server_does_not_accept_is_told_in_its_words(hub: Hub) -> None:
    world = hub("generate")
    with pytest.raises(errors.InvalidRequestError, match="`inputs` cannot be empty"):
        world.chat(model=MODEL, extra={"inputs": ""})
    assert world.count == 1


@pytest.mark.parametrize("api", ["chat", "generate"])
def test_calls_work_over_real_sockets(penstock_simulator: Callable[..., Any], api: str) -> None:
    server = penstock_simulator([loading(0.0)], dialects=[TGIDialect(spaced=True)])
    table = {"plugin": "huggingface", "api": api, "base_url": server.origin}
    options: dict[str, Any] = {"config": False, "environ": {}, "providers": {"hf": table}, "pipeline": []}
    with Client(**options) as client:
        with pytest.raises(errors.ModelLoadingError):
            client.chat(MODEL, "Hi")
        with client.stream(MODEL, "Hi") as stream:
            said = stream.read().text

    async def asynchronous() -> str:
        async with AsyncClient(**options) as client, client.stream(MODEL, "Hi") as stream:
            return (await stream.read()).text

    assert asyncio.run(asynchronous()) == said == "This is the simulated answer to: Hi"
    assert server.count() == 3
