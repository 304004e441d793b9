"""
Recorded traffic of the Responses API through its codec: whole, byte by byte, and split at random places.

The expectation comes from an independent reading of each body, by `json` and string methods alone: of a
stream its deltas count, of a plain answer its items. The set named by PENSTOCK_RECORDINGS is read in place.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from penstock import errors
from penstock.http import HttpHead, HttpResponse
from penstock.messages import ChatRequest, Message
from penstock.responses import Assembly, ChatResponse
from penstock_wire.openai import ResponsesDialect

FOLDER = Path(os.environ.get("PENSTOCK_RECORDINGS", "/nonexistent"))
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="PENSTOCK_RECORDINGS names no folder of recorded traffic"
)
ALTERED = {"body_only", "body_reserialized", "framing_reconstructed", "synthetic_mock"}
CODEC = ResponsesDialect(base_url="https://api.example.com/v1")
CHAT = ChatRequest(model="m", messages=(Message("user", "Hello"),), stream=True)
SPLITS = 3


@dataclass
class Reading:
    """What an answer says."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    finish: str | None = None
    usage: tuple[int | None, ...] | None = None
    broken: str | None = None  # "error", "cut", or "malformed"


def is_stream(body: str) -> bool:
    return body.lstrip().startswith(("event:", "data:"))


def finish_of(response: dict[str, Any], calls: list[Any]) -> str:
    if response.get("status") == "incomplete":
        reason = response["incomplete_details"]["reason"]
        return {"max_output_tokens": "length", "content_filter": "content_filter"}.get(reason, "other")
    return "tool_calls" if calls else "stop"


def usage_of(response: dict[str, Any]) -> tuple[int | None, ...] | None:
    usage = response.get("usage")
    if not usage:
        return None
    cached = (usage.get("input_tokens_details") or {}).get("cached_tokens")
    reasoning = (usage.get("output_tokens_details") or {}).get("reasoning_tokens")
    return usage["input_tokens"], usage["output_tokens"], cached, reasoning


def read_plain(body: str) -> Reading:
    document = json.loads(body)
    if document.get("error") or document.get("status") == "failed":
        return Reading(broken="error")
    if "output" not in document:
        return Reading(broken="malformed")
    said = Reading()
    for item in document["output"]:
        if item["type"] == "message":
            for part in item["content"]:
                if part["type"] == "refusal":
                    said.refusal += part["refusal"]
                else:
                    said.text += part["text"]
        elif item["type"] == "reasoning":
            said.reasoning += "".join(part["text"] for part in item.get("content") or [])
            said.reasoning += "".join(part["text"] for part in item.get("summary") or [])
        elif item["type"] == "function_call":
            said.calls.append((item["call_id"], item["name"], item["arguments"]))
    said.finish = finish_of(document, said.calls)
    said.usage = usage_of(document)
    return said


def read_stream(body: str) -> Reading:
    said = Reading(broken="cut")
    calls: list[tuple[str, str, str]] = []
    for block in re.split(r"\r\n\r\n|\n\n|\r\r", body):
        lines = re.split(r"\r\n|\n|\r", block)
        data = "\n".join(line[5:].removeprefix(" ") for line in lines if line.startswith("data:"))
        if not data.startswith("{"):
            continue
        try:
            event = json.loads(data)
        except ValueError:
            said.broken = "malformed"
            return said
        kind = event.get("type")
        if kind == "response.output_text.delta":
            said.text += event["delta"]
        elif kind == "response.refusal.delta":
            said.refusal += event["delta"]
        elif kind in ("response.reasoning_text.delta", "response.reasoning_summary_text.delta"):
            said.reasoning += event["delta"]
        elif kind == "response.output_item.done" and event["item"]["type"] == "function_call":
            item = event["item"]
            calls.append((item["call_id"], item["name"], item["arguments"]))
        elif kind in ("error", "response.failed"):
            said.broken = "error"
            break
        elif kind in ("response.completed", "response.incomplete"):
            said.broken = None
            said.finish = finish_of(event["response"], calls)
            said.usage = usage_of(event["response"])
            break
    said.calls = calls
    return said


def load() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for path in sorted([*FOLDER.glob("interactions/*/*.json"), *FOLDER.glob("reported/*.json")]):
        recording = json.loads(path.read_text("utf-8"))
        place = f"{path.parent.name}/{path.stem}"
        if recording.get("endpoint", "").startswith("responses") or "/responses" in recording["url"]:
            found.append((place, recording))
    return found


FOUND = load()
MISFILED = [name for name, recording in FOUND if '"chat.completion.chunk"' in recording["response_body"]]
RECORDINGS = [(name, recording) for name, recording in FOUND if name not in MISFILED]
each = pytest.mark.parametrize(
    "recording", [recording for _, recording in RECORDINGS], ids=[name for name, _ in RECORDINGS]
)


def head_of(recording: dict[str, Any]) -> HttpHead:
    return HttpHead(recording["status"], recording["response_headers"] or {}, 1_800_000_000.0)


def splits(body: bytes) -> list[list[bytes]]:
    """Whole, byte by byte, and cut at random places."""
    dice = random.Random(len(body))
    found = [[body], [body[n : n + 1] for n in range(len(body))]]
    for _ in range(SPLITS):
        cuts = sorted(dice.sample(range(len(body) + 1), min(len(body), 40)))
        found.append([body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)])
    return found


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
    assembly.model, assembly.id, assembly.extra = decoder.model, decoder.id, decoder.extra
    return assembly.response(), error


def check(answer: ChatResponse, said: Reading) -> None:
    assert answer.text == said.text
    assert answer.reasoning == said.reasoning
    assert answer.refusal == said.refusal
    assert [(call.id, call.name, call.arguments) for call in answer.tool_calls] == said.calls
    assert answer.finish_reason == said.finish
    usage = answer.usage
    assert said.usage == (
        None
        if usage is None
        else (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens)
    )


def check_stream(recording: dict[str, Any], parts: list[bytes]) -> ChatResponse:
    said = read_stream(recording["response_body"])
    answer, error = stream(recording, parts)
    if said.broken == "cut":
        assert isinstance(error, errors.StreamInterrupted)
    elif said.broken == "malformed":
        assert isinstance(error, errors.MalformedResponse)
    elif said.broken == "error":
        assert isinstance(error, errors.ProviderError)
        assert not isinstance(error, errors.TransportError)
    else:
        assert error is None
    check(answer, said)
    return answer


def check_plain(recording: dict[str, Any], body: str) -> ChatResponse | None:
    said = read_plain(body)
    head = head_of(recording)
    response = HttpResponse(head.status, head.headers, head.received, body.encode())
    if said.broken:
        with pytest.raises(errors.ProviderError) as caught:
            CODEC.decode(CHAT, response)
        assert isinstance(caught.value, errors.MalformedResponse) == (said.broken == "malformed")
        return None
    answer = CODEC.decode(CHAT, response)
    assert isinstance(answer, ChatResponse)
    check(answer, said)
    return answer


def check_refusal(recording: dict[str, Any]) -> None:
    head, body = head_of(recording), recording["response_body"]
    error = CODEC.error(HttpResponse(head.status, head.headers, head.received, body.encode()))
    expected: type[errors.ProviderError] = errors.InvalidRequestError
    if head.status == 401 or "API key" in body:
        expected = errors.AuthenticationError
    elif "context_length" in body:
        expected = errors.ContextLengthError
    elif "model_not_found" in body:
        expected = errors.ModelNotFoundError
    elif head.status == 429:
        expected = errors.QuotaExceededError if "insufficient_quota" in body else errors.RateLimitError
    elif head.status >= 500:
        expected = errors.OverloadedError if head.status == 503 else errors.ServerError
    assert type(error) is expected
    assert error.status == head.status


def check_one(recording: dict[str, Any]) -> None:
    """One recording, its body in one piece."""
    body = recording["response_body"]
    if recording["status"] != 200:
        check_refusal(recording)
    elif is_stream(body):
        check_stream(recording, [body.encode()])
        if read_stream(body).broken:
            return
        # The terminal event holds the whole answer: read as a plain one it says the same.
        for line in body.split("\n"):
            if '"response.completed"' in line and line.startswith("data:"):
                whole = json.loads(line[5:])["response"]
                if whole.get("output"):
                    plain = check_plain(recording, json.dumps(whole))
                    streamed, _ = stream(recording, [body.encode()])
                    assert plain is not None
                    assert plain.choices[0] == streamed.choices[0]
                    assert plain.extra == streamed.extra
    else:
        check_plain(recording, body)


@each
def test_an_answer_says_what_the_body_says_however_it_is_split(recording: dict[str, Any]) -> None:
    body = recording["response_body"].encode()
    if recording["status"] != 200 or not is_stream(recording["response_body"]):
        check_one(recording)
        return
    answers = [check_stream(recording, parts) for parts in splits(body)]
    assert all(answer == answers[0] for answer in answers)


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
        sys.stdout.write(f"\ndecoded {decoded} of {len(RECORDINGS)} recordings of the Responses API\n")
        for name in MISFILED:
            sys.stdout.write(f"left out {name}: a stream of chat completions\n")
        for name, (notes, reason) in failed.items():
            sys.stdout.write(f"left out {name} {notes}: {reason}\n")
    assert RECORDINGS
    assert not [name for name, (notes, _) in failed.items() if ALTERED.isdisjoint(notes)]
