"""
Recorded traffic through the codec: whole, byte by byte, and split at random places.

The expectation comes from an independent reading of each body, by `json` and string methods alone: what the
two agree on is what the server said. The set named by PENSTOCK_RECORDINGS is read in place.
"""

from __future__ import annotations

import base64
import json
import os
import random
import re
import struct
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
from penstock_wire.openai import OpenAIDialect

FOLDER = Path(os.environ.get("PENSTOCK_RECORDINGS", "/nonexistent"))
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="PENSTOCK_RECORDINGS names no folder of recorded traffic"
)
ENDPOINTS = {"chat/completions", "embeddings"}
ALTERED = {"body_only", "body_reserialized", "framing_reconstructed", "synthetic_mock"}
CODEC = OpenAIDialect(base_url="https://api.example.com/v1")
SPLITS = 3

FINISH = {"stop", "length", "tool_calls", "content_filter"}


@dataclass
class Reading:
    """What an answer says: by choice, in order."""

    text: dict[int, str] = field(default_factory=dict)
    reasoning: dict[int, str] = field(default_factory=dict)
    refusal: dict[int, str] = field(default_factory=dict)
    calls: dict[int, list[list[str]]] = field(default_factory=dict)
    finish: dict[int, str] = field(default_factory=dict)
    usage: tuple[int | None, ...] | None = None
    broken: str | None = None  # "error", or "cut"

    def normal_finish(self, choice: int) -> str | None:
        raw = self.finish.get(choice)
        if raw is None:
            return None
        return "tool_calls" if raw == "function_call" else raw if raw in FINISH else "other"


def documents(body: str) -> list[tuple[str | None, Any]]:
    """The JSON events of an SSE body with their types; `[DONE]` and what is no JSON left out."""
    found = []
    for block in re.split(r"\r\n\r\n|\n\n|\r\r", body):
        lines = re.split(r"\r\n|\n|\r", block)
        data = "\n".join(line[5:].removeprefix(" ") for line in lines if line.startswith("data:"))
        kind = next((line[6:].strip() for line in lines if line.startswith("event:")), None)
        if data.lstrip().startswith(("{", "[{")):
            found.append((kind, json.JSONDecoder().raw_decode(data.lstrip())[0]))
    return found


def is_error(document: Any, kind: str | None = None) -> bool:
    return kind == "error" or (
        isinstance(document, dict) and bool(document.get("error") or document.get("object") == "error")
    )


def pieces(content: Any) -> tuple[str, str]:
    """Text and reasoning of a content."""
    if isinstance(content, str):
        return content, ""
    text = thought = ""
    for part in content or []:
        if part["type"] == "thinking":
            inner = part["thinking"]
            thought += inner if isinstance(inner, str) else "".join(p.get("text", "") for p in inner)
        else:
            text += part.get("text") or ""
    return text, thought


def reasoning_beside(message: dict[str, Any]) -> str:
    for name in ("reasoning_content", "reasoning"):
        if message.get(name):
            return str(message[name])
    details = message.get("reasoning_details") or []
    return "".join(detail.get("text") or detail.get("summary") or "" for detail in details)


def read_usage(raw: Any) -> tuple[int | None, ...] | None:
    """Input, output (reasoning included, also where the server counts it beside), cached, reasoning."""
    if not raw:
        return None
    given, made, total = raw.get("prompt_tokens"), raw.get("completion_tokens"), raw.get("total_tokens")
    details = raw.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens")
    if cached is None:
        cached = raw.get("cached_tokens", raw.get("prompt_cache_hit_tokens"))
    details = raw.get("completion_tokens_details") or {}
    reasoning = details.get("reasoning_tokens", raw.get("reasoning_tokens"))
    if reasoning and total == given + made + reasoning:
        made += reasoning
    return given, made, cached, reasoning


def read_plain(body: str) -> Reading | None:
    """A whole document; None when it is no answer."""
    try:
        document = json.loads(body)
    except ValueError:
        return None
    if is_error(document):
        return Reading(broken="error")
    if not document.get("choices"):
        return None
    reading = Reading(usage=read_usage(document.get("usage")))
    for number, choice in enumerate(document["choices"]):
        message = choice.get("message") or {}
        text, thought = pieces(message.get("content"))
        reading.text[number] = text
        reading.reasoning[number] = reasoning_beside(message) or thought
        reading.refusal[number] = message.get("refusal") or ""
        if choice.get("finish_reason") is not None:
            reading.finish[number] = choice["finish_reason"]
        calls = [[call.get("id") or "", call["function"]] for call in message.get("tool_calls") or []]
        if not calls and message.get("function_call"):
            calls = [["", message["function_call"]]]
        reading.calls[number] = [[call_id, f["name"], written(f["arguments"])] for call_id, f in calls]
    return reading


def written(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def read_stream(body: str) -> Reading:
    """An SSE body."""
    reading = Reading()
    places: dict[tuple[int, int], int] = {}
    for kind, document in documents(body):
        if is_error(document, kind):
            reading.broken = "error"
            return reading
        usage = document.get("usage") or (document.get("x_groq") or {}).get("usage")
        reading.usage = read_usage(usage) or reading.usage
        for choice in document.get("choices") or []:
            number = choice.get("index") or 0
            delta = choice.get("delta") or {}
            text, thought = pieces(delta.get("content"))
            reading.text[number] = reading.text.get(number, "") + text
            thought = reasoning_beside(delta) or thought
            reading.reasoning[number] = reading.reasoning.get(number, "") + thought
            reading.refusal[number] = reading.refusal.get(number, "") + (delta.get("refusal") or "")
            if choice.get("finish_reason"):
                reading.finish.setdefault(number, choice["finish_reason"])
            calls = reading.calls.setdefault(number, [])
            for piece in delta.get("tool_calls") or []:
                function = piece.get("function") or {}
                place = next(
                    (n for n, call in enumerate(calls) if piece.get("id") and call[0] == piece["id"]), None
                )
                if place is None and not piece.get("id"):
                    place = places.get((number, piece.get("index", -1)), len(calls) - 1)
                if place is None:
                    calls.append([piece["id"], "", ""])
                    place = len(calls) - 1
                if "index" in piece:
                    places[number, piece["index"]] = place
                calls[place][1] = calls[place][1] or function.get("name") or ""
                calls[place][2] += written(function.get("arguments") or "")
    if not reading.finish or set(reading.finish) != set(reading.text):
        reading.broken = "cut"
    return reading


CONTEXT = re.compile(
    r"context.?length|context window|context size|too_many_prompt_tokens|prompt (is )?too long"
    r"|length of all messages|reduce the length|max_new_tokens` must be <=",
    re.IGNORECASE,
)
KEY = re.compile(r"(incorrect|invalid) api key|api key not valid|token seems invalid", re.IGNORECASE)
SPENT = re.compile(r"insufficient_quota|insufficient balance|billing|exceeded your monthly", re.IGNORECASE)
FILTER = re.compile(r"content_filter|ResponsibleAI|content management policy|data_inspection", re.IGNORECASE)
NO_MODEL = re.compile(
    r"model_not_found|model_not_supported|invalid_model|invalid model|model not exist|decommissioned"
    r"|not a valid model|no endpoints found",
    re.IGNORECASE,
)
BY_STATUS: dict[int, type[errors.ProviderError]] = {
    401: errors.AuthenticationError,
    402: errors.QuotaExceededError,
    403: errors.PermissionDeniedError,
    404: errors.ModelNotFoundError,
    408: errors.RequestTimeoutError,
    409: errors.ConflictError,
    410: errors.ModelNotFoundError,
    424: errors.ServerError,
    499: errors.RequestTimeoutError,
    503: errors.OverloadedError,
    529: errors.OverloadedError,
}


def expected_error(status: int, body: str) -> type[errors.ProviderError]:
    """The class the error table gives to a status and a body."""
    if status in (400, 403, 413, 422):
        if KEY.search(body):
            return errors.AuthenticationError
        if CONTEXT.search(body) or (status == 413 and "request too large" not in body.lower()):
            return errors.ContextLengthError
        if FILTER.search(body):
            return errors.ContentFilterError
        if NO_MODEL.search(body):
            return errors.ModelNotFoundError
    if status in (413, 429):
        if SPENT.search(body) and "retry in" not in body.lower():
            return errors.QuotaExceededError
        if "request too large" in body.lower():
            return errors.OversizedRequestError
        return errors.QueueFullError if "overloaded" in body.lower() else errors.RateLimitError
    if status == 503 and ("currently loading" in body or "Loading model" in body):
        return errors.ModelLoadingError
    if status == 503 and "maximum pending requests" in body:
        return errors.QueueFullError
    if status in BY_STATUS:
        return BY_STATUS[status]
    return errors.ServerError if status >= 500 else errors.InvalidRequestError


def load() -> list[tuple[str, dict[str, Any]]]:
    """The recordings of this dialect, and every quoted error whoever sent it."""
    found = []
    for path in sorted([*FOLDER.glob("interactions/*/*.json"), *FOLDER.glob("reported/*.json")]):
        recording = json.loads(path.read_text("utf-8"))
        if path.parent.name == "reported":
            if recording["status"] == 200 and "/chat/completions" not in recording["url"]:
                continue
            recording["endpoint"] = "chat/completions"
        elif recording["endpoint"] not in ENDPOINTS:
            continue
        found.append((f"{path.parent.name}/{path.stem}", recording))
    return found


RECORDINGS = load()


def some(wanted: Callable[[dict[str, Any]], bool]) -> Any:
    """The recordings of one kind, as parameters of a test."""
    chosen = [(name, recording) for name, recording in RECORDINGS if wanted(recording)]
    return pytest.mark.parametrize(
        "recording", [recording for _, recording in chosen], ids=[name for name, _ in chosen]
    )


def head_of(recording: dict[str, Any]) -> HttpHead:
    return HttpHead(recording["status"], recording["response_headers"] or {}, 1_800_000_000.0)


def decode(recording: dict[str, Any], request: Any) -> Any:
    head, body = head_of(recording), recording["response_body"].encode()
    return CODEC.decode(request, HttpResponse(head.status, head.headers, head.received, body))


def stream(recording: dict[str, Any], parts: list[bytes]) -> tuple[ChatResponse, Exception | None]:
    """What the pieces amount to, and the error that ended them."""
    decoder = CODEC.decoder(CHAT, head_of(recording))
    assembly, error = Assembly(), None
    try:
        for part in parts:
            for chunk in decoder.feed(part):
                assembly.add(chunk)
        for chunk in decoder.close():
            assembly.add(chunk)
    except errors.ProviderError as caught:
        error = caught
    assembly.model, assembly.id = decoder.model, decoder.id
    assert decoder.complete or error is not None
    return assembly.response(), error


def splits(body: bytes, seed: int) -> list[list[bytes]]:
    """Whole, byte by byte, and cut at random places."""
    dice = random.Random(seed)
    found = [[body], [body[n : n + 1] for n in range(len(body))]]
    for _ in range(SPLITS):
        cuts = sorted(dice.sample(range(len(body) + 1), min(len(body), 40)))
        found.append([body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)])
    return found


def check(answer: ChatResponse, said: Reading) -> None:
    for number, choice in enumerate(answer.choices):
        assert choice.text == said.text.get(number, "")
        assert choice.reasoning == said.reasoning.get(number, "")
        assert choice.refusal == said.refusal.get(number, "")
        assert [[c.id, c.name, c.arguments] for c in choice.tool_calls] == said.calls.get(number, [])
        assert choice.finish_reason == said.normal_finish(number)
        assert choice.raw_finish_reason == said.finish.get(number)
    usage = answer.usage
    counted = None
    if usage is not None:
        counted = (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens)
    assert counted == said.usage


CHAT = ChatRequest(model="m", messages=(Message("user", "Hello"),), stream=True)


def is_chat(recording: dict[str, Any], *, streamed: bool) -> bool:
    right = recording["status"] == 200 and recording["endpoint"] == "chat/completions"
    return right and bool(recording["stream"]) == streamed


def check_plain(recording: dict[str, Any]) -> None:
    said = read_plain(recording["response_body"])
    if said is None:
        with pytest.raises(errors.MalformedResponse):
            decode(recording, CHAT)
    elif said.broken:
        with pytest.raises(errors.ProviderError) as caught:
            decode(recording, CHAT)
        assert not isinstance(caught.value, errors.TransportError)
    else:
        answer = decode(recording, CHAT)
        assert len(answer.choices) == len(said.text)
        check(answer, said)


def check_stream(recording: dict[str, Any], parts: list[bytes]) -> ChatResponse:
    said = read_stream(recording["response_body"])
    answer, error = stream(recording, parts)
    if said.broken == "cut":
        assert isinstance(error, errors.StreamInterrupted)
    elif said.broken == "error":
        assert isinstance(error, errors.ProviderError)
        assert not isinstance(error, errors.TransportError)
    else:
        assert error is None
    check(answer, said)
    return answer


def check_refusal(recording: dict[str, Any]) -> None:
    head, body = head_of(recording), recording["response_body"]
    error = CODEC.error(HttpResponse(head.status, head.headers, head.received, body.encode()))
    assert type(error) is expected_error(head.status, body)
    assert error.status == head.status
    assert len(str(error)) < 400


def unpack(value: Any, dimensions: int | None) -> tuple[float, ...]:
    """A vector: numbers, or base64 of float32, float64 or int8, told by how the numbers look."""
    if isinstance(value, list):
        return tuple(float(number) for number in value)
    packed = base64.b64decode(value)
    for width, code in ((4, "f"), (8, "d"), (1, "b")):
        numbers = struct.unpack(f"<{len(packed) // width}{code}", packed)
        small = all(abs(number) < 100 for number in numbers) and numbers[0] != numbers[2] != 0
        if len(numbers) == dimensions or (dimensions is None and (small or code == "b")):
            return tuple(map(float, numbers))
    raise AssertionError("no packing fits")


def check_embeddings(recording: dict[str, Any]) -> None:
    document = json.loads(recording["response_body"])
    sent = recording["request_body"]
    sent = json.loads(sent) if isinstance(sent, str) else sent or {}
    dimensions = sent.get("dimensions")
    entries = document.get("data") or []
    request = EmbedRequest(model="m", inputs=("text",) * len(entries), dimensions=dimensions)
    if not all("embedding" in entry for entry in entries):
        with pytest.raises(errors.MalformedResponse):
            decode(recording, request)
        return
    answer = decode(recording, request)
    entries.sort(key=lambda entry: entry["index"])
    assert answer.vectors == tuple(unpack(entry["embedding"], dimensions) for entry in entries)
    assert answer.usage.input_tokens == document["usage"]["prompt_tokens"]


def check_one(recording: dict[str, Any]) -> None:
    """One recording, its body in one piece."""
    if recording["status"] != 200:
        check_refusal(recording)
    elif recording["endpoint"] == "embeddings":
        check_embeddings(recording)
    elif recording["stream"]:
        check_stream(recording, [recording["response_body"].encode()])
    else:
        check_plain(recording)


@some(lambda recording: is_chat(recording, streamed=False))
def test_a_plain_answer_says_what_the_body_says(recording: dict[str, Any]) -> None:
    check_plain(recording)


@some(lambda recording: is_chat(recording, streamed=True))
def test_a_stream_says_what_its_events_say_however_it_is_split(recording: dict[str, Any]) -> None:
    body = recording["response_body"].encode()
    answers = [check_stream(recording, parts) for parts in splits(body, len(body))]
    assert all(answer == answers[0] for answer in answers)


@some(lambda recording: recording["status"] != 200)
def test_a_refusal_is_of_the_class_the_error_table_gives(recording: dict[str, Any]) -> None:
    check_refusal(recording)


@some(lambda recording: recording["status"] == 200 and recording["endpoint"] == "embeddings")
def test_vectors_come_back_in_order_whatever_their_packing(recording: dict[str, Any]) -> None:
    check_embeddings(recording)


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
        sys.stdout.write(f"\ndecoded {decoded} of {len(RECORDINGS)} recordings of the OpenAI dialect\n")
        for name, (notes, reason) in failed.items():
            sys.stdout.write(f"left out {name} {notes}: {reason}\n")
    assert RECORDINGS
    assert not [name for name, (notes, _) in failed.items() if ALTERED.isdisjoint(notes)]
