"""
Real local models: `make test-local`, with torch and transformers in an environment of their own.

The tiny models are made by the script in the folder that PENSTOCK_PEERS names; the scripted one says what a
word in the prompt decides.
"""

from __future__ import annotations

import asyncio
import importlib.util
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock import AsyncClient, Client, errors
from penstock.call import Timeouts
from penstock_huggingface import shelf as shelf_module
from penstock_huggingface.shelf import shelf

NEEDED = ("torch", "transformers", "gguf", "safetensors", "tokenizers")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
PEERS = os.environ.get("PENSTOCK_PEERS", "")
pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; run `make test-local`"),
    pytest.mark.skipif(not PEERS, reason="PENSTOCK_PEERS names no folder with the script that makes models"),
    # Theirs, at import and at load.
    pytest.mark.filterwarnings(
        "default::DeprecationWarning", "default::FutureWarning", "default::UserWarning"
    ),
]
HELLO = "Hello! I am a tiny scripted model."
SCRIPTED, RANDOM = "local/tiny-scripted", "local/tiny-random"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    script = Path(PEERS) / "make_tiny.py"
    subprocess.run([sys.executable, script, folder], check=True, stdout=subprocess.DEVNULL)
    return folder / "hf"


@pytest.fixture(scope="session", autouse=True)
def kept(models: Path) -> Iterator[None]:
    """Holds the scripted model in memory, so that each test does not load it again."""
    with Client(**options(models)) as client:
        client.chat(SCRIPTED, "Hi")
        yield
    assert shelf.count() == 0


def options(models: Path, **values: Any) -> dict[str, Any]:
    local = {"plugin": "huggingface", "api": "local", "path": str(models), "device": "cpu", **values}
    return {"config": False, "environ": {}, "providers": {"local": local}, "pipeline": []}


@pytest.fixture
def local(world: Callable[..., Any], models: Path) -> Callable[..., Any]:
    """Makes a world of one colour whose provider is a local model."""
    return lambda **values: world(**options(models, **values))


@pytest.fixture
def client(models: Path) -> Iterator[Client]:
    with Client(**options(models)) as made:
        yield made


def provider_of(client: Any) -> Any:
    return client._engine.parts.provider("local")


def wait_until_idle(client: Any) -> int:
    """Wait for the model's worker to have nothing to do; the tokens of the last answer."""
    (place,) = provider_of(client)._held.values()
    place.loaded.workers.submit(int).result(30)
    return max((work._made for work in provider_of(client)._work), default=0)


def test_an_answer_is_the_same_plain_and_streamed(local: Callable[..., Any]) -> None:
    world = local()
    plain = world.chat("Hi", model=SCRIPTED)
    chunks, stream = world.stream("Hi", model=SCRIPTED)
    assert plain.text == stream.answer.text == "".join(chunk.text for chunk in chunks) == HELLO
    assert len([chunk for chunk in chunks if chunk.text]) == 9
    assert plain.usage == stream.answer.usage
    assert (plain.usage.input_tokens, plain.usage.output_tokens) == (10, 10)
    assert plain.finish_reason == stream.answer.finish_reason == "stop"
    assert world.count == 0  # no request left the process


def test_characters_of_several_tokens_come_whole(local: Callable[..., Any]) -> None:
    chunks, _ = local().stream("EMOJI", model=SCRIPTED)
    assert [chunk.text for chunk in chunks if chunk.text] == ["Caf", "é", "~", "☕", "^", "🙂"]


def test_an_empty_answer_is_one(local: Callable[..., Any]) -> None:
    answer = local().chat("EMPTY", model=SCRIPTED)
    assert (answer.text, answer.finish_reason) == ("", "stop")


def test_the_length_and_stop_texts_end_an_answer(client: Client) -> None:
    answer = client.chat(SCRIPTED, "LONG", max_tokens=4)
    assert (answer.text, answer.finish_reason) == (" one two three four", "length")
    assert answer.usage.output_tokens == 4
    answer = client.chat(SCRIPTED, "LONG", stop=["r fi", "nine"])
    assert (answer.text, answer.finish_reason) == (" one two three fou", "stop")


def test_tools_go_to_the_template_and_calls_come_back(local: Callable[..., Any]) -> None:
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
    world = local()
    answer = world.chat("Weather?", model=SCRIPTED, tools=tools)
    (call,) = answer.tool_calls
    assert (call.name, call.parsed()) == ("get_weather", {"city": "Paris"})
    assert (answer.text, answer.finish_reason) == ("", "tool_calls")
    told = [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
            ],
        },
        {"role": "tool", "tool_call_id": call.id, "content": "Sunny"},
    ]
    assert world.chat(told, model=SCRIPTED, tools=tools).text == HELLO


def test_a_leading_thought_is_reasoning_where_that_is_configured(local: Callable[..., Any]) -> None:
    answer = local(think_tags=True).chat("THINK", model=SCRIPTED)
    assert (answer.reasoning, answer.text) == ("Let me think", "The answer is 42 ok")


def test_a_seed_decides_the_dice(client: Client) -> None:
    def say(seed: int) -> str:
        return client.chat(RANDOM, "Hi", temperature=1.0, seed=seed, max_tokens=12).text

    assert say(1) == say(1) != say(2)


def test_sampling_leaves_the_dice_of_the_process_alone(client: Client) -> None:
    import torch

    torch.manual_seed(5)
    expected = torch.rand(1).item()
    torch.manual_seed(5)
    client.chat(RANDOM, "Hi", temperature=1.0, seed=1, max_tokens=2)
    assert torch.rand(1).item() == expected


def test_a_prompt_that_does_not_fit_is_refused_before_the_model_runs(client: Client) -> None:
    with pytest.raises(errors.ContextLengthError, match="window 2048"):
        client.chat(SCRIPTED, "word " * 3000)
    with pytest.raises(errors.ContextLengthError, match=r"inputs\[1\]"):
        client.embed(RANDOM, ["a", "word " * 3000])


def test_a_window_bounds_an_endless_answer(models: Path) -> None:
    with Client(**options(models, max_new_tokens=100_000)) as client:
        answer = client.chat(SCRIPTED, "LONG " + "~" * 1990)
    assert answer.finish_reason == "length"
    assert answer.usage.input_tokens + answer.usage.output_tokens == 2048


def test_closing_a_stream_stops_the_model(client: Client) -> None:
    with client.stream(SCRIPTED, "LONG", max_tokens=2000) as stream:
        for _, _chunk in zip(range(3), stream, strict=False):
            pass
    assert wait_until_idle(client) < 1000
    assert client.chat(SCRIPTED, "Hi").text == HELLO


def test_cancelling_a_task_stops_the_model(models: Path) -> None:
    async def cancelled() -> int:
        async with AsyncClient(**options(models)) as client:
            await client.chat(SCRIPTED, "Hi")
            task = asyncio.ensure_future(client.chat(SCRIPTED, "LONG", max_tokens=2000))
            while not any(work._made for work in provider_of(client)._work):
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await asyncio.to_thread(wait_until_idle, client)

    assert asyncio.run(cancelled()) < 1000


def test_a_call_that_is_cancelled_in_the_queue_never_runs(models: Path) -> None:
    async def queued() -> tuple[int, str]:
        async with AsyncClient(**options(models)) as client:
            async with client.stream(SCRIPTED, "LONG", max_tokens=2000) as stream:
                await anext(stream)
                waiting = asyncio.ensure_future(client.chat(SCRIPTED, "Hi"))
                while len(provider_of(client)._work) < 2:
                    await asyncio.sleep(0.005)
                behind = [work for work in provider_of(client)._work if not work._made]
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            answer = await client.chat(SCRIPTED, "Hi")
            return behind[0]._made, answer.text

    assert asyncio.run(queued()) == (0, HELLO)


def test_the_total_time_of_a_call_holds(client: Client) -> None:
    client.chat(SCRIPTED, "Hi")
    with pytest.raises(errors.DeadlineExceeded):
        client.chat(SCRIPTED, "LONG", max_tokens=2000, timeout=0.05)
    assert wait_until_idle(client) < 1000


def test_a_model_that_is_busy_too_long_names_the_limit(client: Client) -> None:
    client.chat(SCRIPTED, "Hi")
    limits = Timeouts(first_token=0.05, attempt=0.1)
    with client.stream(SCRIPTED, "LONG", max_tokens=2000) as stream:
        next(stream)
        with pytest.raises(errors.AttemptTimeout) as caught:
            client.stream(SCRIPTED, "Hi", timeout=limits)
        assert caught.value.phase == "first_token"
        with pytest.raises(errors.AttemptTimeout) as caught:
            client.chat(SCRIPTED, "Hi", timeout=limits)
        assert caught.value.phase == "attempt"
        client.embed(SCRIPTED, "Hi")
        with pytest.raises(errors.AttemptTimeout):
            client.embed(SCRIPTED, "Hi", timeout=Timeouts(attempt=0.0))


def test_a_load_that_takes_too_long_goes_on_for_the_next_call(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads, gate = [], threading.Event()
    real = shelf_module.load

    def load(key: Any) -> Any:
        gate.wait(60)
        loads.append(key)
        return real(key)

    monkeypatch.setattr(shelf_module, "load", load)
    with pytest.raises(errors.ModelLoadingError):
        client.chat(RANDOM, "Hi", timeout=Timeouts(attempt=0.01))
    gate.set()
    assert client.chat(RANDOM, "Hi", max_tokens=1).usage.output_tokens == 1
    assert len(loads) == 1


def test_closing_the_client_interrupts_a_stream_of_another_thread(models: Path) -> None:
    client = Client(**options(models))
    begun, seen = threading.Event(), []

    def read() -> None:
        try:
            with client.stream(SCRIPTED, "LONG", max_tokens=2000) as stream:
                for _ in stream:
                    begun.set()
        except errors.StreamInterrupted as error:
            seen.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    assert begun.wait(60)
    client.close()
    reader.join(60)
    assert seen[0].partial.text.startswith(" one")


def test_a_model_is_loaded_once_for_many_threads_and_clients(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []
    real = shelf_module.load
    monkeypatch.setattr(shelf_module, "load", lambda key: loads.append(key) or real(key))
    before = shelf.count()
    answers: list[str] = []
    with Client(**options(models)) as one, Client(**options(models)) as two:
        threads = [
            threading.Thread(
                target=lambda each: answers.append(each.chat(RANDOM, "Hi", max_tokens=2).text),
                args=(each,),
            )
            for each in (one, two, one, two)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(answers) == 4
        assert len(loads) == 1
        assert shelf.count() == before + 1
    assert shelf.count() == before


def test_the_model_used_longest_ago_makes_room(models: Path) -> None:
    with Client(**options(models, max_models=1)) as client:
        client.chat(SCRIPTED, "Hi")
        client.chat(RANDOM, "Hi", max_tokens=1)
        assert [Path(source).name for source in provider_of(client).memory()] == ["tiny-random"]
        assert client.chat(SCRIPTED, "Hi").text == HELLO


def test_the_memory_of_a_model_is_what_its_weights_take(client: Client, models: Path) -> None:
    from safetensors import safe_open

    client.chat(SCRIPTED, "Hi")
    with safe_open(models / "tiny-scripted" / "model.safetensors", "pt") as file:
        weights = sum(file.get_tensor(name).nbytes for name in file.keys())  # noqa: SIM118  (no mapping)
    listed = {model.id: model for model in client.models("local")}
    assert listed["tiny-scripted"].context_length == 2048
    memory = listed["tiny-scripted"].extra["memory_bytes"]
    assert weights <= memory <= weights * 1.01  # buffers are counted too
    assert listed["tiny-random"].extra == {"loaded": False}


def test_embeddings_are_the_mean_of_the_last_states(local: Callable[..., Any], models: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    texts = ["hello", "the quick brown fox jumps over the lazy dog", "a"]
    answer = local().embed(texts, model=RANDOM)
    tokenizer = AutoTokenizer.from_pretrained(models / "tiny-random")
    model = AutoModel.from_pretrained(models / "tiny-random")
    tokens = 0
    for text, vector in zip(texts, answer.vectors, strict=True):
        encoded = tokenizer(text, return_tensors="pt")
        tokens += encoded["input_ids"].shape[1]
        with torch.inference_mode():
            mean = model(**encoded).last_hidden_state[0].mean(0)
        expected = (mean / mean.norm()).tolist()
        assert vector == pytest.approx(expected, abs=1e-5)
        assert math.fsum(x * x for x in vector) == pytest.approx(1.0)
    assert answer.usage.input_tokens == tokens


def test_lengths_are_kept_where_that_is_configured(models: Path) -> None:
    with Client(**options(models, normalize=False)) as client:
        (vector,) = client.embed(RANDOM, "hello").vectors
    assert math.fsum(x * x for x in vector) > 2


def test_many_texts_are_embedded_in_batches(client: Client) -> None:
    texts = [f"text {number}" for number in range(70)]
    vectors = client.embed(RANDOM, texts).vectors
    assert len(vectors) == 70
    assert vectors[69] == pytest.approx(client.embed(RANDOM, texts[69]).vectors[0], abs=1e-5)


def test_an_unknown_model_lists_those_there_are(client: Client) -> None:
    with pytest.raises(errors.ModelNotFoundError, match="tiny-random, tiny-scripted"):
        client.chat("local/missing", "Hi")


def test_a_folder_that_holds_no_model_is_not_found(models: Path, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{}", "utf-8")
    with Client(**options(tmp_path)) as client, pytest.raises(errors.ModelNotFoundError, match="broken"):
        client.chat("local/broken", "Hi")


def test_a_model_that_fails_says_how_but_not_what_it_read(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.chat(SCRIPTED, "Hi")
    (place,) = provider_of(client)._held.values()

    def fail(**_: Any) -> None:
        raise RuntimeError("about the secret prompt")

    monkeypatch.setattr(place.loaded.model, "generate", fail)
    with pytest.raises(errors.ServerError, match="RuntimeError") as caught:
        client.chat(SCRIPTED, "the secret prompt")
    assert "secret" not in str(caught.value)

    def full(**_: Any) -> None:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(place.loaded.model, "generate", full)
    with pytest.raises(errors.OverloadedError):
        client.stream(SCRIPTED, "Hi").read()


def test_a_tokenizer_brings_the_prompt_of_the_native_api(make: Callable[..., Any], models: Path) -> None:
    import json

    from penstock.messages import ChatRequest, Message

    folder = str(models / "tiny-scripted")
    codec = make("tgi", api="generate", base_url="http://127.0.0.1:1", tokenizer=folder)
    request = codec.encode(ChatRequest(model="m", messages=(Message("user", "JSON"),)), "m")
    assert json.loads(request.body)["inputs"].endswith("<|im_start|>assistant<|s:json|>")
    with pytest.raises(errors.ConfigError, match="no tokenizer"):
        make("tgi", api="generate", base_url="http://127.0.0.1:1", tokenizer=str(models / "missing"))
