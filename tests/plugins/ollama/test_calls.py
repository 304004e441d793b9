"""Calls through the client in every colour, against the simulated server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from penstock import (
    AuthenticationError,
    Image,
    InvalidRequestError,
    Message,
    ModelNotFoundError,
    QueueFullError,
    StreamInterrupted,
    Tool,
)
from penstock.errors import MalformedResponse, PermissionDeniedError, QuotaExceededError, RateLimitError
from penstock_testkit import Simulator, faults
from penstock_testkit.faults import Fault
from penstock_testkit.ollama import OllamaDialect

MODEL = "ollama/llama3.2:3b"
World = Callable[..., Any]
WEATHER = Tool(
    "get_weather",
    "The weather in a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


@pytest.fixture
def ollama(world: World) -> World:
    """A world with Ollama in it: `ollama(faults, dialect=..., simulator options)`."""

    def make(
        script: Any = (), *, dialect: OllamaDialect | None = None, config: Any = None, **options: Any
    ) -> Any:
        simulator = Simulator(script, dialects=[dialect or OllamaDialect()], **options)
        return world(simulator=simulator, providers={"ollama": config or {}})

    return make


def test_a_chat_is_one_request(ollama: World) -> None:
    world = ollama(text="Hello there, friend")
    answer = world.chat("Hi", MODEL, temperature=0.5)
    assert answer.text == "Hello there, friend"
    assert answer.finish_reason == "stop"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7, 3)
    assert answer.response.extra["total_duration"] > 0
    assert world.count == 1


def test_a_stream_says_what_a_plain_answer_says(ollama: World) -> None:
    world = ollama(text="Hello there, friend")
    chunks, stream = world.stream("Hi", MODEL)
    assert [chunk.text for chunk in chunks if chunk.text] == ["Hello", " there,", " friend"]
    plain = world.chat("Hi", MODEL)
    assert stream.answer.text == plain.text
    assert stream.answer.usage == plain.usage
    assert stream.answer.response.extra.keys() == plain.response.extra.keys()
    assert world.count == 2


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("streamed", [True, False])
def test_tools_are_called_and_their_results_are_named(ollama: World, ids: bool, streamed: bool) -> None:
    world = ollama(dialect=OllamaDialect(tool_ids=ids))
    question = Message("user", "please get weather")
    if streamed:
        answer = world.stream([question], MODEL, tools=[WEATHER])[1].answer
    else:
        answer = world.chat([question], MODEL, tools=[WEATHER])
    (call,) = answer.tool_calls
    assert (call.name, call.parsed()) == ("get_weather", {"city": "city"})
    assert answer.finish_reason == "tool_calls"
    result = Message("tool", "21 degrees", tool_call_id=call.id)
    assert world.chat([question, answer.message, result], MODEL, tools=[WEATHER]).text
    sent = world.simulator.requests[-1].json["messages"]
    assert sent[1]["tool_calls"][0]["function"]["arguments"] == {"city": "city"}
    assert sent[2]["tool_name"] == "get_weather"


def test_thoughts_are_reasoning(ollama: World) -> None:
    world = ollama(text="Four")
    plain = world.chat("2+2", MODEL, reasoning_effort="high")
    streamed = world.stream("2+2", MODEL, reasoning_effort="high")[1].answer
    assert plain.reasoning == streamed.reasoning == "The user wants an answer."
    assert plain.text == streamed.text == "Four"


class Point(BaseModel):
    x: int
    y: int


def test_structured_output_is_parsed(ollama: World) -> None:
    world = ollama()
    assert world.chat("a point", MODEL, schema=Point).parsed == Point(x=1, y=1)
    assert world.simulator.requests[0].json["format"]["type"] == "object"


def test_images_arrive_beside_the_text(ollama: World) -> None:
    world = ollama()
    picture = Image.from_bytes(b"\x89PNG\r\n")
    world.chat([{"role": "user", "content": ["What is this?", picture]}], MODEL)
    (message,) = world.simulator.requests[-1].json["messages"]
    assert message["images"] == [picture.to_base64()]


def test_texts_become_vectors(ollama: World) -> None:
    world = ollama(dimensions=4)
    vectors = world.embed(["a", "b", "a"], "ollama/nomic-embed-text")
    assert vectors.vectors[0] == vectors.vectors[2] != vectors.vectors[1]
    assert all(len(vector) == 4 for vector in vectors.vectors)
    assert vectors.usage.input_tokens == 3
    assert world.count == 1


def test_models_are_listed(ollama: World) -> None:
    world = ollama(models=["a:1b", "b:2b"])
    models = world.run(world.client.models("ollama"))
    assert [(model.id, model.provider) for model in models] == [("a:1b", "ollama"), ("b:2b", "ollama")]
    assert models[0].extra["details"]["parameter_size"] == "3.2B"
    assert world.count == 1


@pytest.mark.parametrize(
    ("fault", "kind", "requests"),
    [
        (faults.status(404), ModelNotFoundError, 1),
        (faults.status(401), AuthenticationError, 1),
        (faults.status(403), PermissionDeniedError, 1),
        (faults.status(400), InvalidRequestError, 1),
        (faults.quota(), QuotaExceededError, 1),
        (faults.status(503), QueueFullError, 3),
        (faults.status(429), RateLimitError, 3),
        (faults.html(), MalformedResponse, 3),
        (faults.empty(), MalformedResponse, 3),
        (faults.malformed(), MalformedResponse, 3),
    ],
    ids=repr,
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_failure_is_of_its_class_after_exactly_so_many_requests(
    ollama: World, fault: Fault, kind: type[Exception], requests: int, streamed: bool
) -> None:
    if streamed and fault.label == "empty()":
        kind = StreamInterrupted  # a stream without a line is a cut
    world = ollama([fault] * 3)
    with pytest.raises(kind) as caught:
        (world.stream if streamed else world.chat)("Hi", MODEL)
    assert type(caught.value) is kind
    assert world.count == requests


def test_a_model_that_is_not_there_is_named_by_the_server(ollama: World) -> None:
    world = ollama(models=["other:1b"])
    with pytest.raises(ModelNotFoundError, match=r"llama3\.2:3b.*not found") as caught:
        world.chat("Hi", MODEL)
    assert caught.value.negative_ttl == 30.0


@pytest.mark.parametrize(
    "fault",
    [faults.cut(after=2), faults.reset(after=2), faults.unterminated(), faults.error_event(500, after=2)],
    ids=repr,
)
def test_a_stream_cut_after_its_first_words_carries_them_and_is_not_repeated(
    ollama: World, fault: Fault
) -> None:
    world = ollama([fault], text="one two three")
    with pytest.raises(StreamInterrupted) as caught:
        world.stream("Hi", MODEL)
    assert caught.value.partial is not None
    assert caught.value.partial.text.startswith("one two")
    assert caught.value.partial.model == "llama3.2:3b"
    assert world.count == 1


def test_an_error_line_before_any_word_is_retried(ollama: World) -> None:
    world = ollama([faults.error_event(500)], text="Hello")
    assert world.stream("Hi", MODEL)[1].answer.text == "Hello"
    assert world.count == 2


def test_keep_alives_are_no_words(ollama: World) -> None:
    world = ollama([faults.keep_alives(5.0, after=1)], text="one two")
    with pytest.raises(StreamInterrupted, match="no data for 60 s") as caught:
        world.stream("Hi", MODEL)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "one"


def test_an_empty_conversation_loads_the_model(ollama: World) -> None:
    # The client refuses one, but a message of the caller's own may say nothing.
    world = ollama()
    answer = world.chat("Hi", MODEL, extra={"messages": []})
    assert (answer.text, answer.finish_reason) == ("", "other")
    assert answer.response.raw_finish_reason == "load"


def test_what_cannot_be_said_is_refused_before_anything_is_sent(ollama: World) -> None:
    world = ollama()
    for prompt in ("Hi", "a long prompt " * 1000):
        with pytest.raises(InvalidRequestError, match="n out"):
            world.chat(prompt, MODEL, n=2)
    image = Image.from_url("https://example.com/a.png")
    with pytest.raises(InvalidRequestError, match="fetches no images"):
        world.chat([{"role": "user", "content": [image]}], MODEL)
    assert world.count == 0
