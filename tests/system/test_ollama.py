"""
A real Ollama 0.9.3: both clients, the installed pipeline, models whose output is known to the letter.

`PENSTOCK_PEERS` names the folder with the scripts; the server they unpack (about 160 MB of wheels) is kept in
`PENSTOCK_CACHE`, or in `~/.cache/penstock`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from penstock import (
    AsyncClient,
    Client,
    ContextLengthError,
    Image,
    InvalidRequestError,
    Message,
    ModelNotFoundError,
    StreamInterrupted,
    Tool,
)

pytestmark = pytest.mark.system

HELLO = "Hello! I am a tiny scripted model."
READY_WITHIN = 60.0
WEATHER = Tool(
    "get_weather",
    "The weather in a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


@pytest.fixture(scope="session")
def installed(peers: Path) -> Path:
    """The folder with the server, made once and kept until the script that makes it changes."""
    if shutil.which("gcc") is None:
        pytest.skip("the script that unpacks Ollama needs gcc")
    script = peers / "ollama_setup.sh"
    digest = hashlib.sha256(script.read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("PENSTOCK_CACHE") or Path.home() / ".cache" / "penstock")
    folder = cache / f"ollama-{digest}"
    cache.mkdir(parents=True, exist_ok=True)
    # The folder knows its own path, so it cannot be made elsewhere and moved; who comes second waits.
    with (cache / f"ollama-{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            # The virtual environment of the tests must not be the one the script makes.
            environment = {**os.environ, "PATH": os.pathsep.join(_path_without_venv())}
            done = subprocess.run(["bash", script, folder], capture_output=True, text=True, env=environment)
            if done.returncode:
                pytest.fail(f"Ollama could not be unpacked:\n{done.stderr[-4000:]}")
            (folder / "ready").touch()
    return folder


def _path_without_venv() -> list[str]:
    own = str(Path(sys.prefix) / "bin")
    return [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder != own]


def free_port() -> int:
    """A port nobody listens on, below the range the system hands out to outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_768)
        with socket.socket() as candidate, contextlib.suppress(OSError):
            candidate.bind(("127.0.0.1", port))
            return port


class OllamaServer:
    """
    Ollama in a process of its own.

    Args:
        folder: where it was unpacked.
        data: for its models and output.
        port: below those the system hands out to outgoing connections.
    """

    def __init__(self, folder: Path, data: Path, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self.environment = {**os.environ, "OLLAMA_HOST": self.address, "OLLAMA_MODELS": str(data / "models")}
        self.log = data / "ollama.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [folder / "run-ollama.sh", "serve"], stdout=log, stderr=log, env=self.environment
            )
        self._wait()

    def _wait(self) -> None:
        give_up = time.monotonic() + READY_WITHIN
        while time.monotonic() < give_up and self._process.poll() is None:
            connection = http.client.HTTPConnection(self.address, timeout=5)
            with contextlib.suppress(OSError), contextlib.closing(connection):
                connection.request("GET", "/api/version")
                if connection.getresponse().status == 200:
                    return
            time.sleep(0.05)
        self.stop()
        pytest.fail(f"Ollama did not start:\n{self.log.read_text(errors='replace')[-4000:]}")

    def runners(self) -> list[int]:
        """The processes that run models: the server's children."""
        children = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        return [int(pid) for each in children for pid in each.read_text().split()]

    def kill_runners(self) -> None:
        for pid in self.runners():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        self.kill_runners()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@pytest.fixture(scope="session")
def server(
    installed: Path, peers: Path, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OllamaServer]:
    """A server that knows `tiny`, `tiny-long`, `tiny-tool`, `tiny-think`, `tiny-json`, `tiny-embed`, ..."""
    running = OllamaServer(installed, tmp_path_factory.mktemp("ollama"), free_port())
    try:
        done = subprocess.run(
            ["bash", peers / "ollama_models.sh", installed, models.resolve()],
            capture_output=True,
            text=True,
            env=running.environment,
        )
        assert done.stdout.count("created") == 8, done.stdout + done.stderr
        yield running
    finally:
        running.stop()


class Caller:
    """A client of one colour and transport whose calls all look the same."""

    def __init__(self, colour: str, transport: str, address: str, **provider: Any) -> None:
        options: dict[str, Any] = {
            "config": False,
            "environ": {"OLLAMA_HOST": address},
            "transport": transport,
            "providers": {"ollama": provider},
        }
        self._runner = asyncio.Runner() if colour == "async" else None
        self.client: Any = AsyncClient(**options) if self._runner is not None else Client(**options)

    def run(self, coroutine: Any) -> Any:
        """Wait for what a method of the client gave; the blocking one has waited already."""
        return coroutine if self._runner is None else self._runner.run(coroutine)

    def chat(self, model: str, prompt: Any = "Hi", **parameters: Any) -> Any:
        return self.run(self.client.chat(f"ollama/{model}", prompt, timeout=120, **parameters))

    def stream(
        self, model: str, prompt: Any = "Hi", *, each: Callable[[int], Any] = lambda count: None, **more: Any
    ) -> tuple[list[Any], Any]:
        """The chunks and the stream; `each` is told how many there are, and may end it by saying True."""
        chunks: list[Any] = []
        opening = self.client.stream(f"ollama/{model}", prompt, timeout=120, **more)
        if self._runner is None:
            with opening as stream:
                for chunk in stream:
                    chunks.append(chunk)
                    if each(len(chunks)):
                        break
            return chunks, stream

        async def read() -> Any:
            async with opening as stream:
                async for chunk in stream:
                    chunks.append(chunk)
                    if each(len(chunks)):
                        break
            return stream

        return chunks, self._runner.run(read())

    def embed(self, model: str, inputs: Any, **parameters: Any) -> Any:
        return self.run(self.client.embed(f"ollama/{model}", inputs, timeout=120, **parameters))

    def ask(self, method: str, *arguments: Any) -> Any:
        return self.run(getattr(self.client.provider("ollama"), method)(*arguments))

    def close(self) -> None:
        self.run(self.client.close())
        if self._runner is not None:
            self._runner.close()


@pytest.fixture(params=["blocking wire", "async wire", "blocking turbo", "async turbo"])
def make_caller(request: pytest.FixtureRequest, server: OllamaServer) -> Iterator[Callable[..., Caller]]:
    """Makes callers of one colour and transport, and closes them; each test runs with all."""
    made: list[Caller] = []

    def make(**provider: Any) -> Caller:
        made.append(Caller(*request.param.split(), server.address, **provider))
        return made[-1]

    yield make
    for caller in made:
        caller.close()


@pytest.fixture
def caller(make_caller: Callable[..., Caller]) -> Caller:
    return make_caller()


def test_a_chat_is_answered(caller: Caller) -> None:
    answer = caller.chat("tiny")
    assert answer.text == HELLO
    assert answer.finish_reason == "stop"
    assert answer.usage.output_tokens == 10
    assert answer.usage.input_tokens > 0
    assert answer.response.model == "tiny"
    assert len(answer.attempts) == 1


def test_a_bare_name_with_a_tag_is_ollamas(caller: Caller) -> None:
    assert caller.run(caller.client.chat("tiny:latest", "Hi", timeout=120)).text == HELLO


def test_a_stream_arrives_word_by_word_and_ends_with_usage(caller: Caller) -> None:
    chunks, stream = caller.stream("tiny")
    texts = [chunk.text for chunk in chunks if chunk.text]
    assert "".join(texts) == HELLO
    assert len(texts) > 3
    assert stream.answer.usage == caller.chat("tiny").usage
    assert stream.answer.finish_reason == "stop"


def test_characters_split_over_tokens_arrive_whole(caller: Caller) -> None:
    assert caller.stream("tiny-emoji")[1].answer.text == "Café~☕^🙂"


def test_the_longest_answer_allowed_ends_with_length(caller: Caller) -> None:
    answer = caller.chat("tiny-long", max_tokens=5)
    assert answer.text == " one two three four five"
    assert answer.finish_reason == "length"


def test_an_empty_answer_is_an_answer(caller: Caller) -> None:
    assert caller.chat("tiny-empty").text == ""
    assert caller.stream("tiny-empty")[1].answer.text == ""


@pytest.mark.parametrize("streamed", [False, True])
def test_the_model_calls_a_tool_and_gets_its_result(caller: Caller, streamed: bool) -> None:
    question = Message("user", "What is the weather in Paris?")
    if streamed:
        answer = caller.stream("tiny-tool", [question], tools=[WEATHER])[1].answer
    else:
        answer = caller.chat("tiny-tool", [question], tools=[WEATHER])
    (call,) = answer.tool_calls
    assert (call.name, call.parsed()) == ("get_weather", {"city": "Paris"})
    assert call.id
    assert answer.finish_reason == "tool_calls"
    result = Message("tool", "21 degrees", tool_call_id=call.id)
    assert caller.chat("tiny-tool", [question, answer.message, result]).text == HELLO


def test_tools_for_a_model_without_them_are_refused(caller: Caller) -> None:
    with pytest.raises(InvalidRequestError, match="does not support tools") as caught:
        caller.chat("tiny", tools=[WEATHER])
    assert len(caught.value.attempts) == 1


def test_thoughts_are_reasoning(caller: Caller) -> None:
    plain = caller.chat("tiny-think", extra={"think": True})
    streamed = caller.stream("tiny-think", extra={"think": True})[1].answer
    assert plain.reasoning == streamed.reasoning == "Let me think"
    assert plain.text == streamed.text == "The answer is 42 ok"


def test_thoughts_written_as_tags_are_reasoning_on_demand(make_caller: Callable[..., Caller]) -> None:
    caller = make_caller(think_tags=True, think=False)
    plain = caller.chat("tiny-think")
    streamed = caller.stream("tiny-think")[1].answer
    assert plain.reasoning == streamed.reasoning == "Let me think"
    assert plain.text == streamed.text == "The answer is 42 ok"


def test_thinking_of_a_model_that_cannot_is_refused(caller: Caller) -> None:
    with pytest.raises(InvalidRequestError, match="does not support thinking"):
        caller.chat("tiny", extra={"think": True})


class Verdict(BaseModel):
    answer: int


def test_an_answer_comes_back_as_the_model_that_was_asked_for(caller: Caller) -> None:
    assert caller.chat("tiny-json", schema=Verdict).parsed == Verdict(answer=42)


def test_texts_become_vectors(caller: Caller) -> None:
    embeddings = caller.embed("tiny-embed", ["the quick brown fox", "the quick brown fox", "a lazy dog"])
    first, second, other = embeddings.vectors
    assert first == pytest.approx(second, abs=1e-4)
    assert sum(x * x for x in first) == pytest.approx(1, abs=1e-3)
    assert other != pytest.approx(first, abs=1e-2)
    assert embeddings.usage.input_tokens > 0


def test_a_text_too_long_to_embed_is_refused_and_not_cut(
    make_caller: Callable[..., Caller], caller: Caller
) -> None:
    text = "the quick brown fox " * 600
    with pytest.raises(ContextLengthError):
        caller.embed("tiny-embed", text)
    assert make_caller(preflight=False).embed("tiny-embed", text).vectors


def test_a_prompt_beyond_the_model_is_refused_before_it_is_sent(caller: Caller) -> None:
    with pytest.raises(ContextLengthError, match="window of 2048; nothing was sent"):
        caller.chat("tiny", "word " * 3000)


def test_an_image_for_a_model_that_does_not_see_is_refused(caller: Caller) -> None:
    with pytest.raises(InvalidRequestError, match="sees no images"):
        caller.chat("tiny", [{"role": "user", "content": ["?", Image.from_bytes(b"\x89PNG1234")]}])


def test_a_model_that_is_not_there_is_not_found_after_one_attempt(caller: Caller) -> None:
    for ask in (caller.chat, caller.stream):
        with pytest.raises(ModelNotFoundError, match=r"nope.*not found") as caught:
            ask("nope")
        assert len(caught.value.attempts) == 1


def test_the_server_tells_what_it_has(caller: Caller) -> None:
    assert caller.ask("version") == "0.9.3"
    details = caller.ask("show", "tiny-tool")
    assert (details.context_length, details.num_ctx, details.family) == (2048, 1024, "llama")
    assert details.capabilities == {"chat", "stream", "schema", "tools"}
    able = caller.run(caller.client.capabilities("ollama/tiny-embed"))
    assert "embed" in able
    assert not {"chat", "tools"} & able
    models = caller.run(caller.client.models("ollama"))
    assert "tiny-tool:latest" in {model.id for model in models}
    caller.chat("tiny")
    health = caller.ask("health")
    assert health.status == "pass"
    assert "tiny:latest" in {loaded.name for loaded in health.loaded}


def test_a_stream_closed_early_leaves_the_server_free(caller: Caller) -> None:
    for _ in range(3):
        chunks, _ = caller.stream("tiny-long", each=lambda count: count == 3)
        assert len(chunks) == 3
    assert caller.chat("tiny").text == HELLO


def test_a_runner_killed_while_it_speaks_interrupts_the_stream(caller: Caller, server: OllamaServer) -> None:
    def kill(count: int) -> None:
        if count == 5:
            server.kill_runners()

    with pytest.raises(StreamInterrupted) as caught:
        caller.stream("tiny-long", each=kill)
    assert caught.value.partial is not None
    assert caught.value.partial.text.startswith(" one two three four five")
    assert caught.value.partial.finish_reason is None
    assert len(caught.value.attempts) == 1
    assert caller.chat("tiny").text == HELLO  # the server starts another one
