"""
The whole way to a real server: both clients, the installed pipeline, llama.cpp's own llama-server.

The model's output is a script that the prompt chooses, so the answers are known to the letter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from penstock import (
    AsyncClient,
    AuthenticationError,
    Client,
    Image,
    InvalidRequestError,
    Message,
    ProviderError,
    Tool,
    UsageError,
)

pytestmark = pytest.mark.system

KEY = "sk-test"
HELLO = "Hello! I am a tiny scripted model."
WEATHER = Tool(
    "get_weather",
    "The weather in a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f64540"
    "0000000049454e44ae426082"
)


class Caller:
    """A client of one colour and transport whose calls all look the same; `llama/tiny` is the model."""

    def __init__(self, colour: str, transport: str, base_url: str, key: str | None = KEY) -> None:
        options: dict[str, Any] = {
            "config": False,
            "environ": {},
            "transport": transport,
            "providers": {"llama": {"plugin": "openai", "base_url": base_url, "api_key": key}},
        }
        self._runner = asyncio.Runner() if colour == "async" else None
        self.client: Any = AsyncClient(**options) if self._runner is not None else Client(**options)

    def run(self, coroutine: Any) -> Any:
        """Wait for what a method of the client gave; the blocking one has waited already."""
        return coroutine if self._runner is None else self._runner.run(coroutine)

    def chat(self, prompt: Any, **parameters: Any) -> Any:
        return self.run(self.client.chat("llama/tiny", prompt, timeout=60, **parameters))

    def stream(self, prompt: Any, *, take: int | None = None, **parameters: Any) -> tuple[list[Any], Any]:
        """The chunks, at most `take` before the stream is closed, and the stream."""
        parameters["timeout"] = 60
        chunks: list[Any] = []
        if self._runner is None:
            with self.client.stream("llama/tiny", prompt, **parameters) as stream:
                for chunk in stream:
                    chunks.append(chunk)
                    if len(chunks) == take:
                        break
            return chunks, stream

        async def read() -> Any:
            async with self.client.stream("llama/tiny", prompt, **parameters) as stream:
                async for chunk in stream:
                    chunks.append(chunk)
                    if len(chunks) == take:
                        break
            return stream

        return chunks, self._runner.run(read())

    def embed(self, inputs: Any) -> Any:
        return self.run(self.client.embed("llama/tiny", inputs, timeout=60))

    def close(self) -> None:
        self.run(self.client.close())
        if self._runner is not None:
            self._runner.close()


MakeCaller = Callable[..., Caller]


@pytest.fixture(params=["blocking wire", "async wire", "blocking turbo", "async turbo"])
def make_caller(request: pytest.FixtureRequest) -> Iterator[MakeCaller]:
    """Makes callers of one colour and transport, and closes them; each test runs with all."""
    made: list[Caller] = []

    def make(base_url: str, key: str | None = KEY) -> Caller:
        made.append(Caller(*request.param.split(), base_url, key))
        return made[-1]

    yield make
    for caller in made:
        caller.close()


@pytest.fixture
def caller(make_caller: MakeCaller, llama: Any) -> Caller:
    """A caller of the chat server."""
    return make_caller(llama.base_url)


def test_a_chat_is_answered(caller: Caller) -> None:
    answer = caller.chat("Hi")
    assert answer.text == HELLO
    assert answer.finish_reason == "stop"
    assert str(answer.target) == "llama/tiny"
    assert answer.usage.output_tokens == 10
    assert answer.usage.input_tokens > 0
    assert [attempt.number for attempt in answer.attempts] == [1]


def test_a_conversation_is_answered(caller: Caller) -> None:
    answer = caller.chat(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            Message("assistant", HELLO),
            {"role": "user", "content": [{"type": "text", "text": "Again"}]},
        ],
        temperature=0,
    )
    assert answer.text == HELLO


def test_the_longest_answer_allowed_ends_with_length(caller: Caller) -> None:
    answer = caller.chat("LONG", max_tokens=5)
    assert answer.text == " one two three four five"
    assert answer.finish_reason == "length"
    assert answer.usage.output_tokens == 5


def test_a_stream_arrives_token_by_token_and_ends_with_usage(caller: Caller) -> None:
    chunks, stream = caller.stream("Hi")
    texts = [chunk.text for chunk in chunks if chunk.text]
    assert "".join(texts) == HELLO
    assert len(texts) > 3
    answer = stream.answer
    assert answer.text == HELLO
    assert answer.finish_reason == "stop"
    assert answer.usage == caller.chat("Hi").usage


def test_characters_split_over_tokens_arrive_whole(caller: Caller) -> None:
    chunks, stream = caller.stream("EMOJI")
    assert stream.answer.text == "Café~☕^🙂"
    assert all("\N{REPLACEMENT CHARACTER}" not in chunk.text for chunk in chunks)


def test_an_empty_answer_is_an_answer(caller: Caller) -> None:
    answer = caller.chat("EMPTY")
    assert answer.text == ""
    assert answer.finish_reason == "stop"
    _, stream = caller.stream("EMPTY")
    assert stream.answer.text == ""


@pytest.mark.parametrize("streamed", [False, True])
def test_the_model_calls_a_tool_and_gets_its_result(caller: Caller, streamed: bool) -> None:
    question = Message("user", "What is the weather in Paris?")
    answer = (
        caller.stream([question], tools=[WEATHER])[1].answer
        if streamed
        else caller.chat([question], tools=[WEATHER])
    )
    (call,) = answer.tool_calls
    assert call.name == "get_weather"
    assert call.parsed() == {"city": "Paris"}
    assert call.id
    assert answer.finish_reason == "tool_calls"
    result = Message("tool", "21 degrees", tool_call_id=call.id)
    assert caller.chat([question, answer.message, result], tools=[WEATHER]).text == HELLO


class Verdict(BaseModel):
    answer: int


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_comes_back_as_the_model_that_was_asked_for(caller: Caller, streamed: bool) -> None:
    answer = (
        caller.stream("JSON", schema=Verdict)[1].answer if streamed else caller.chat("JSON", schema=Verdict)
    )
    assert answer.parsed == Verdict(answer=42)


def test_texts_become_vectors(make_caller: MakeCaller, llama_embed: Any) -> None:
    caller = make_caller(llama_embed.base_url, None)
    embeddings = caller.embed(["the quick brown fox", "the quick brown fox"])
    first, second = embeddings.vectors
    assert len(first) == len(second) > 100
    assert first == pytest.approx(second, abs=1e-4)
    assert sum(x * x for x in first) == pytest.approx(1, abs=1e-3)
    assert embeddings.usage.input_tokens > 0
    (other,) = caller.embed("a lazy dog").vectors
    assert len(other) == len(first)
    assert other != pytest.approx(first, abs=1e-2)


def test_the_models_are_listed(caller: Caller) -> None:
    models = caller.run(caller.client.models("llama"))
    assert [model.provider for model in models] == ["llama"]
    assert "tiny" in models[0].id


def test_a_wrong_key_is_an_authentication_error_after_one_request(make_caller: MakeCaller, tap: Any) -> None:
    caller = make_caller(tap.base_url, "sk-wrong-0123456789")
    with pytest.raises(AuthenticationError) as caught:
        caller.chat("Hi")
    assert caught.value.status == 401
    assert "sk-wrong" not in str(caught.value)
    assert tap.requests == 1


def test_a_wrong_key_fails_a_stream_before_it_begins(make_caller: MakeCaller, tap: Any) -> None:
    with pytest.raises(AuthenticationError):
        make_caller(tap.base_url, "sk-wrong-0123456789").stream("Hi")
    assert tap.requests == 1


def test_an_image_the_server_cannot_read_is_refused_after_one_request(
    make_caller: MakeCaller, tap: Any
) -> None:
    # llama-server calls this a 500, but it is no failure of the server: asking again cannot help.
    picture = {"role": "user", "content": ["What is this?", Image.from_bytes(PIXEL)]}
    with pytest.raises(ProviderError) as caught:
        make_caller(tap.base_url).chat([picture])
    assert not caught.value.retryable
    assert len(caught.value.attempts) == 1
    assert tap.requests == 1


def test_embeddings_of_a_server_without_them_are_refused_after_one_request(
    make_caller: MakeCaller, tap: Any
) -> None:
    with pytest.raises(ProviderError) as caught:
        make_caller(tap.base_url).embed("hello")
    assert caught.value.status == 501
    assert not caught.value.retryable
    assert tap.requests == 1


def test_a_prompt_beyond_the_window_is_refused_after_one_request(make_caller: MakeCaller, tap: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        make_caller(tap.base_url).chat("unknown " * 4000)
    assert caught.value.status == 400
    assert tap.requests == 1


def test_a_stream_closed_early_leaves_the_server_free(caller: Caller) -> None:
    # The server has two slots: were they not given back, the third call would wait for ever.
    for _ in range(3):
        chunks, stream = caller.stream("LONG", take=3)
        assert len(chunks) == 3
        with pytest.raises(UsageError, match="has not reached its end"):
            _ = stream.answer
    assert caller.chat("Hi").text == HELLO


def test_calls_at_the_same_time_do_not_mix(llama: Any) -> None:
    async def ask() -> list[str]:
        providers = {"llama": {"plugin": "openai", "base_url": llama.base_url, "api_key": KEY}}
        async with AsyncClient(False, environ={}, providers=providers) as client:
            calls = [client.chat("llama/tiny", prompt, timeout=60) for prompt in ("Hi", "JSON", "EMOJI") * 2]
            return [answer.text for answer in await asyncio.gather(*calls)]

    assert asyncio.run(ask()) == [HELLO, '{"answer":42}', "Café~☕^🙂"] * 2
