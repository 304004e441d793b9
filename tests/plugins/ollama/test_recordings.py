"""
Recorded traffic through the codec: whole, byte by byte, and split at random places.

The expectation comes from an independent reading of each body, by `json` and string methods alone: what the
two agree on is what the server said. The set named by PENSTOCK_RECORDINGS is read in place.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from penstock import errors
from penstock.http import HttpHead, HttpResponse
from penstock.messages import ChatRequest, EmbedRequest, Message
from penstock.responses import Assembly, ChatResponse
from penstock_ollama import OllamaCodec
from penstock_ollama.details import model_details
from penstock_ollama.server import OllamaServer
from penstock_testkit import Recordings, Simulator
from penstock_testkit.ollama import OllamaDialect

FOLDER = Path(os.environ.get("PENSTOCK_RECORDINGS", "/nonexistent"))
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="PENSTOCK_RECORDINGS names no folder of recorded traffic"
)
ALTERED = {"body_only", "body_reserialized", "framing_reconstructed", "synthetic_mock"}
CODEC = OllamaCodec(base_url="http://127.0.0.1:11434")
CHAT = ChatRequest(model="m", messages=(Message("user", "Hello"),), stream=True)
SPOKEN = ("api/chat", "api/generate")


@dataclass
class Reading:
    """What an answer says."""

    text: str = ""
    thinking: str = ""
    calls: list[tuple[str, str, Any]] = field(default_factory=list)  # id, name, arguments
    done: bool = False
    reason: str | None = None
    tokens: tuple[int, int] | None = None
    error: str | None = None
    model: str = ""

    def add(self, document: dict[str, Any]) -> None:
        if "error" in document:
            self.error = self.error or document["error"]
            return
        if self.done or self.error:
            return
        message = document.get("message") or {
            "content": document.get("response"),
            "thinking": document.get("thinking"),
        }
        self.model = self.model or document["model"]
        self.text += message.get("content") or ""
        self.thinking += message.get("thinking") or ""
        for call in message.get("tool_calls") or []:
            function = call["function"]
            self.calls.append((call.get("id") or "", function["name"], function["arguments"]))
        if document.get("done"):
            self.done = True
            self.reason = document.get("done_reason") or None
            self.tokens = (document.get("prompt_eval_count", 0), document.get("eval_count", 0))

    def finish(self) -> str | None:
        if not self.done:
            return None
        if self.reason in (None, "stop"):
            return "tool_calls" if self.calls else "stop"
        return self.reason if self.reason == "length" else "other"


def read(body: str) -> Reading:
    reading = Reading()
    for line in body.split("\n"):
        if line.strip():
            reading.add(json.loads(line))
    return reading


def expected_error(status: int, body: str) -> type[errors.ProviderError]:
    """The class the error table gives to a status and a body."""
    if status in (400, 500) and "context length" in body:
        return errors.ContextLengthError
    if status == 503:
        busy = "maximum pending requests" in body
        return errors.QueueFullError if busy else errors.OverloadedError
    if status == 429:
        return errors.QuotaExceededError if "usage limit" in body else errors.RateLimitError
    by_status: dict[int, type[errors.ProviderError]] = {
        401: errors.AuthenticationError,
        402: errors.QuotaExceededError,
        403: errors.PermissionDeniedError,
        404: errors.ModelNotFoundError,
        408: errors.RequestTimeoutError,
        499: errors.RequestTimeoutError,
    }
    if status in by_status:
        return by_status[status]
    return errors.ServerError if status >= 500 else errors.InvalidRequestError


def load() -> list[tuple[str, dict[str, Any]]]:
    """The native interactions, and every quoted body of this provider that is not of `/v1`."""
    found = []
    for path in sorted([*FOLDER.glob("interactions/ollama/*.json"), *FOLDER.glob("reported/*ollama*.json")]):
        recording = json.loads(path.read_text("utf-8"))
        if "/v1/" not in recording["url"]:
            recording.setdefault("endpoint", recording["url"].partition("11434/")[2])
            found.append((f"{path.parent.name}/{path.stem}", recording))
    return found


RECORDINGS = load()


def some(wanted: Callable[[dict[str, Any]], bool]) -> Any:
    """The recordings of one kind, as parameters of a test."""
    chosen = [(name, recording) for name, recording in RECORDINGS if wanted(recording)]
    return pytest.mark.parametrize("recording", [r for _, r in chosen], ids=[name for name, _ in chosen])


def response_of(recording: dict[str, Any]) -> HttpResponse:
    headers = recording["response_headers"] or {}
    return HttpResponse(recording["status"], headers, 1_800_000_000.0, recording["response_body"].encode())


def splits(body: bytes) -> list[list[bytes]]:
    """Whole, byte by byte, and cut at random places."""
    dice = random.Random(len(body))
    found = [[body], [body[n : n + 1] for n in range(len(body))]]
    for _ in range(3):
        cuts = sorted(dice.sample(range(len(body) + 1), min(len(body), 40)))
        found.append([body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)])
    return found


def stream(recording: dict[str, Any], parts: list[bytes]) -> tuple[ChatResponse, Exception | None]:
    """What the pieces amount to, and the error that ended them."""
    response = response_of(recording)
    decoder = CODEC.decoder(CHAT, HttpHead(response.status, response.headers, response.received))
    assembly, error = Assembly(), None
    try:
        for part in parts:
            for chunk in decoder.feed(part):
                assembly.add(chunk)
        for chunk in decoder.close():
            assembly.add(chunk)
    except errors.ProviderError as caught:
        error = caught
    assembly.model = decoder.model
    assert decoder.complete is (error is None)
    return assembly.response(), error


def check(answer: ChatResponse, said: Reading) -> None:
    assert answer.text == said.text
    assert answer.reasoning == said.thinking
    assert [(call.name, call.parsed()) for call in answer.tool_calls] == [call[1:] for call in said.calls]
    ids = [call.id for call in answer.tool_calls]
    assert all(ids)
    assert len(set(ids)) == len(ids)
    given = [call[0] for call in said.calls]
    assert [mine if theirs else "" for mine, theirs in zip(ids, given, strict=True)] == given
    assert answer.finish_reason == said.finish()
    assert answer.raw_finish_reason == said.reason
    usage = answer.usage
    assert (None if usage is None else (usage.input_tokens, usage.output_tokens)) == said.tokens
    assert answer.model == said.model


def check_plain(recording: dict[str, Any]) -> None:
    answer = CODEC.decode(CHAT, response_of(recording))
    assert isinstance(answer, ChatResponse)
    check(answer, read(recording["response_body"]))


def check_stream(recording: dict[str, Any], parts: list[bytes]) -> ChatResponse:
    said = read(recording["response_body"])
    answer, error = stream(recording, parts)
    if said.error:
        assert isinstance(error, errors.ProviderError)
        assert not isinstance(error, errors.TransportError)
    elif not said.done:
        assert isinstance(error, errors.StreamInterrupted)
    else:
        assert error is None
    check(answer, said)
    return answer


def check_embeddings(recording: dict[str, Any]) -> None:
    document = json.loads(recording["response_body"])
    rows = document.get("embeddings") or [document["embedding"]]
    answer: Any = CODEC.decode(EmbedRequest(model="m", inputs=("text",) * len(rows)), response_of(recording))
    assert answer.vectors == tuple(tuple(float(number) for number in row) for row in rows)
    assert answer.usage.input_tokens == document.get("prompt_eval_count", 0)


def check_refusal(recording: dict[str, Any]) -> None:
    error = CODEC.error(response_of(recording))
    assert type(error) is expected_error(recording["status"], recording["response_body"])
    assert error.status == recording["status"]
    assert "signin" not in str(error)
    assert len(str(error)) < 400


def check_pull(recording: dict[str, Any]) -> None:
    wanted = [json.loads(line) for line in recording["response_body"].split("\n") if line]
    simulator = Simulator([replay(recording)], dialects=[OllamaDialect()])
    got = asyncio.run(pull(simulator))
    assert [(p.status, p.digest, p.total, p.completed) for p in got] == [
        (line["status"], line.get("digest", ""), line.get("total"), line.get("completed")) for line in wanted
    ]


def replay(recording: dict[str, Any]) -> Any:
    body = recording["response_body"]
    found = Recordings(FOLDER).where(matching=lambda r: r.response_body == body)
    return found[0].fault()


async def pull(simulator: Simulator) -> list[Any]:
    from penstock.asynchronous import AsyncioRuntime

    transport = simulator.transport()
    runtime = transport.runtime = AsyncioRuntime(transport)
    server = OllamaServer(CODEC, max_bytes=1 << 20)
    return [event async for event in server.pull(runtime, "m", 60.0)]


def check_show(recording: dict[str, Any]) -> None:
    document = json.loads(recording["response_body"])
    info = document["model_info"]
    details = model_details("m", CODEC.document(response_of(recording)))
    assert details.context_length == info[f"{info['general.architecture']}.context_length"]
    wanted = {"completion": "chat", "embedding": "embed", "thinking": "reasoning"}
    assert {wanted.get(word, word) for word in document.get("capabilities", [])} <= (
        details.capabilities or set()
    )


def check_one(recording: dict[str, Any]) -> None:
    """One recording, its body in one piece."""
    endpoint = recording["endpoint"]
    if recording["status"] != 200:
        check_refusal(recording)
    elif endpoint in SPOKEN and recording["stream"]:
        check_stream(recording, [recording["response_body"].encode()])
    elif endpoint in SPOKEN:
        check_plain(recording)
    elif endpoint in ("api/embed", "api/embeddings"):
        check_embeddings(recording)
    elif endpoint == "api/pull":
        check_pull(recording)
    elif endpoint == "api/show":
        check_show(recording)
    elif endpoint == "api/version":
        assert CODEC.document(response_of(recording)) == json.loads(recording["response_body"])
    else:
        raise AssertionError(f"no test reads the endpoint {endpoint}")


@some(lambda r: r["status"] == 200 and r["endpoint"] in SPOKEN and not r["stream"])
def test_a_plain_answer_says_what_the_body_says(recording: dict[str, Any]) -> None:
    check_plain(recording)


@some(lambda r: r["status"] == 200 and r["endpoint"] in SPOKEN and r["stream"])
def test_a_stream_says_what_its_lines_say_however_it_is_split(recording: dict[str, Any]) -> None:
    answers = [check_stream(recording, parts) for parts in splits(recording["response_body"].encode())]
    assert all(answer == answers[0] for answer in answers)


@some(lambda r: r["status"] == 200 and r["endpoint"] in SPOKEN and r["stream"])
def test_a_stream_that_a_proxy_collected_says_the_same(recording: dict[str, Any]) -> None:
    said = read(recording["response_body"])
    if said.error:
        with pytest.raises(errors.ProviderError):
            CODEC.decode(CHAT, response_of(recording))
    else:
        answer = CODEC.decode(CHAT, response_of(recording))
        assert isinstance(answer, ChatResponse)
        check(answer, said)


@some(lambda r: r["status"] != 200)
def test_a_refusal_is_of_the_class_the_error_table_gives(recording: dict[str, Any]) -> None:
    check_refusal(recording)


@some(lambda r: r["status"] == 200 and r["endpoint"] in ("api/embed", "api/embeddings"))
def test_vectors_come_back_in_order(recording: dict[str, Any]) -> None:
    check_embeddings(recording)


@some(lambda r: r["status"] == 200 and r["endpoint"] in ("api/pull", "api/show", "api/version"))
def test_the_rest_of_the_api_is_read(recording: dict[str, Any]) -> None:
    check_one(recording)


def test_every_recording_that_nobody_altered_decodes(capsys: pytest.CaptureFixture[str]) -> None:
    """Reports the share, and what is left out with its reason."""
    failed = {}
    for name, recording in RECORDINGS:
        try:
            check_one(recording)
        except Exception as error:
            failed[name] = (recording.get("notes") or [], f"{type(error).__name__}: {error}"[:200])
    decoded = len(RECORDINGS) - len(failed)
    with capsys.disabled():
        sys.stdout.write(f"\ndecoded {decoded} of {len(RECORDINGS)} recordings of Ollama's native API\n")
        for name, (notes, reason) in failed.items():
            sys.stdout.write(f"left out {name} {notes}: {reason}\n")
    assert RECORDINGS
    assert not [name for name, (notes, _) in failed.items() if ALTERED.isdisjoint(notes)]
