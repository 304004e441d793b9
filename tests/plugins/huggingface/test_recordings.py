"""
Recorded traffic of Hugging Face and TGI through the codecs: whole, byte by byte, and split at random places.

The expectation comes from an independent reading of each body, by `json` and string methods alone. Which
codec reads a recording follows from its request: messages went to a chat, a prompt to `generate`, texts to
feature extraction. The set named by PENSTOCK_RECORDINGS is read in place.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from penstock import errors
from penstock.http import HttpHead, HttpResponse
from penstock.messages import ChatRequest, EmbedRequest, Message, ModelsRequest
from penstock.responses import Assembly, ChatResponse
from penstock_huggingface.chat import RouterDialect
from penstock_huggingface.generate import GenerateCodec
from penstock_huggingface.prompts import render
from penstock_testkit import Recording, Recordings, splits

FOLDER = Path(os.environ.get("PENSTOCK_RECORDINGS", "/nonexistent"))
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="PENSTOCK_RECORDINGS names no folder of recorded traffic"
)
ALTERED = {"body_only", "body_reserialized", "framing_reconstructed", "synthetic_mock"}
RECEIVED = 1_800_000_000.0
CHAT = ChatRequest(model="m", messages=(Message("user", "Hello"),), stream=True)
EMBED = EmbedRequest(model="m", inputs=("Hello",))
FINISH = {"stop", "length", "tool_calls", "content_filter"}
GENERATED = {"eos_token": "stop", "stop_sequence": "stop", "length": "length"}

CHAT_CODEC = RouterDialect(base_url="https://router.example.com/v1", name="huggingface")
GENERATE_CODEC = GenerateCodec(
    base_url="http://tgi.example.com",
    headers={},
    name="tgi",
    prompt=lambda messages: render(messages, "plain"),
    redact=str,
    think_tags=False,
    max_event_bytes=1 << 23,
)


def left_out(recording: Recording) -> str | None:
    """Why a recording is not decoded, None when it is."""
    if recording.endpoint == "completions":
        return "the old completions endpoint, which no API of the plugin asks"
    return None


def body_of(recording: Recording) -> bytes:
    """The bytes as they were sent; some recorders store them in base64."""
    body = recording.body
    if recording.stream and re.fullmatch(rb"[A-Za-z0-9+/]+=*", body):
        return base64.b64decode(body)
    return body


def kind_of(recording: Recording) -> str:
    """What was asked: `chat`, `generate`, `vectors` or `models`."""
    if recording.endpoint == "chat/completions" or "/chat/completions" in recording.url:
        return "chat"
    if recording.endpoint.startswith("hub-api") or "/api/models" in recording.url:
        return "models"
    sent = recording.request_body
    if isinstance(sent, str):
        sent = json.loads(sent)
    if isinstance(sent, dict) and "messages" in sent:
        return "chat"
    text = body_of(recording).decode()
    return "vectors" if re.match(r"\s*\[+\s*-?\d", text) else "generate"


def events(body: bytes) -> list[Any]:
    """The JSON of the events of an SSE body."""
    found = []
    for block in re.split(r"\r\n\r\n|\n\n|\r\r", body.decode()):
        lines = re.split(r"\r\n|\n|\r", block)
        data = "\n".join(line[5:].removeprefix(" ") for line in lines if line.startswith("data:"))
        if data.startswith("{"):
            found.append(json.loads(data))
    return found


@dataclass
class Reading:
    """What an answer says."""

    text: str = ""
    calls: tuple[tuple[str, str, str], ...] = ()
    raw: str | None = None
    finish: str | None = None
    tokens: tuple[int | None, int | None] | None = None
    broken: str | None = None  # "error", or "cut"


def written(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def usage_of(raw: Any) -> tuple[int, int] | None:
    return (raw["prompt_tokens"], raw["completion_tokens"]) if raw else None


def read_chat(body: bytes, *, streamed: bool) -> Reading:
    reading = Reading()
    calls: list[list[str]] = []
    for document in events(body) if streamed else [json.loads(body)]:
        if document.get("error"):
            reading.broken = "error"
            return reading
        reading.tokens = usage_of(document.get("usage")) or reading.tokens
        for choice in document["choices"]:
            message = choice.get("delta" if streamed else "message") or {}
            reading.text += message.get("content") or ""
            reading.raw = choice.get("finish_reason") or reading.raw
            for piece in message.get("tool_calls") or []:
                known = next((call for call in calls if call[0] == piece["id"]), None)
                if known is None:
                    known = [piece["id"], "", ""]
                    calls.append(known)
                known[1] = known[1] or piece["function"]["name"] or ""
                known[2] += written(piece["function"]["arguments"])
    reading.calls = tuple((one, two, three) for one, two, three in calls)
    reading.finish = reading.raw if reading.raw in FINISH else "other" if reading.raw else None
    if streamed and reading.raw is None:
        reading.broken = "cut"
    return reading


def read_generate(body: bytes, headers: Any, *, streamed: bool) -> Reading:
    reading = Reading()
    details: Any = None
    over = not streamed
    if streamed:
        for document in events(body):
            if document.get("error"):
                reading.broken = "error"
                return reading
            if not document["token"]["special"]:
                reading.text += document["token"]["text"]
            if document.get("generated_text") is not None:
                over, details = True, document.get("details")
    else:
        document = json.loads(body)
        document = document[0] if isinstance(document, list) else document
        if document.get("error"):
            return Reading(broken="error")
        reading.text, details = document["generated_text"], document.get("details")
    if details:
        reading.raw = details["finish_reason"]
        reading.finish = GENERATED.get(reading.raw or "", "other")
        given = details.get("input_length") or len(details.get("prefill") or []) or None
        given = given or (int(headers["x-prompt-tokens"]) if "x-prompt-tokens" in headers else None)
        reading.tokens = (given, details["generated_tokens"])
    if not over:
        reading.broken = "cut"
    return reading


def expected_error(status: int, body: str) -> type[errors.ProviderError]:
    """The class the error table gives to a status and a body."""
    if status in (301, 302, 307, 308):
        return errors.InvalidRequestError
    if "token seems invalid" in body:
        return errors.AuthenticationError
    if "model_not_supported" in body:
        return errors.ModelNotFoundError
    if status in (400, 422):
        long = "`max_new_tokens` must be <=" in body
        return errors.ContextLengthError if long else errors.InvalidRequestError
    if status == 429:
        return errors.QueueFullError if "overloaded" in body else errors.RateLimitError
    if status == 503:
        return errors.ModelLoadingError if "currently loading" in body else errors.OverloadedError
    return {
        401: errors.AuthenticationError,
        402: errors.QuotaExceededError,
        403: errors.PermissionDeniedError,
        404: errors.ModelNotFoundError,
    }.get(status, errors.ServerError)


def load() -> list[Recording]:
    if not FOLDER.is_dir():
        return []
    return [
        recording
        for recording in Recordings(FOLDER)
        if recording.provider in ("huggingface", "tgi")
        or recording.name.startswith(("reported/hf-", "reported/tgi-"))
    ]


ALL = load()
RECORDINGS = [recording for recording in ALL if left_out(recording) is None]


def some(*kinds: str, streamed: bool = False) -> Any:
    """The answered recordings of some kinds, as parameters of a test."""
    chosen = [
        recording
        for recording in RECORDINGS
        if recording.status == 200 and kind_of(recording) in kinds and recording.stream == streamed
    ]
    return pytest.mark.parametrize("recording", chosen, ids=[recording.name for recording in chosen])


def response_of(recording: Recording, body: bytes | None = None) -> HttpResponse:
    body = body_of(recording) if body is None else body
    return HttpResponse(recording.status, recording.response_headers, RECEIVED, body)


def codec_of(recording: Recording) -> Any:
    return CHAT_CODEC if kind_of(recording) in ("chat", "models") else GENERATE_CODEC


def reading_of(recording: Recording) -> Reading:
    if kind_of(recording) == "chat":
        return read_chat(body_of(recording), streamed=recording.stream)
    return read_generate(body_of(recording), recording.response_headers, streamed=recording.stream)


def check(answer: ChatResponse, said: Reading) -> None:
    assert answer.text == said.text
    assert tuple((call.id, call.name, call.arguments) for call in answer.tool_calls) == said.calls
    assert answer.raw_finish_reason == said.raw
    assert answer.finish_reason == said.finish
    usage = answer.usage
    assert (None if usage is None else (usage.input_tokens, usage.output_tokens)) == said.tokens


def check_whole(recording: Recording) -> None:
    said = reading_of(recording)
    if said.broken:
        with pytest.raises(errors.ProviderError):
            codec_of(recording).decode(CHAT, response_of(recording))
        return
    check(codec_of(recording).decode(CHAT, response_of(recording)), said)


def check_stream(recording: Recording, pieces: list[bytes]) -> ChatResponse:
    said = reading_of(recording)
    head = HttpHead(recording.status, recording.response_headers, RECEIVED)
    decoder = codec_of(recording).decoder(CHAT, head)
    assembly, error = Assembly(), None
    try:
        for piece in pieces:
            for chunk in decoder.feed(piece):
                assembly.add(chunk)
        for chunk in decoder.close():
            assembly.add(chunk)
    except errors.ProviderError as caught:
        error = caught
    if said.broken == "cut":
        assert isinstance(error, errors.StreamInterrupted)
    elif said.broken == "error":
        assert isinstance(error, errors.ProviderError)
        assert not isinstance(error, errors.TransportError)
    else:
        assert error is None
        assert decoder.complete
    answer = assembly.response()
    check(answer, said)
    return answer


def check_refusal(recording: Recording) -> None:
    error = codec_of(recording).error(response_of(recording))
    assert type(error) is expected_error(recording.status, recording.response_body)
    assert error.status == recording.status
    assert len(str(error)) < 400
    if "estimated_time" in recording.response_body:
        guess = json.loads(recording.response_body)["estimated_time"]
        assert error.retry_after == min(guess, 60.0)


def check_vectors(recording: Recording) -> None:
    # One text asks for one vector, and a flat list of numbers is one.
    answer: Any = CHAT_CODEC.decode(EMBED, response_of(recording))
    numbers = re.findall(r"-?\d[\d.eE+-]*", recording.response_body)
    assert answer.vectors == (tuple(map(float, numbers)),)


def check_models(recording: Recording) -> None:
    answer: Any = CHAT_CODEC.decode(ModelsRequest(), response_of(recording))
    (model,) = answer.models
    document = json.loads(recording.response_body)
    assert model.id == document["id"]
    assert model.extra.get("pipeline_tag") == document.get("pipeline_tag")


def check_one(recording: Recording) -> None:
    """One recording, its body in one piece."""
    kind = kind_of(recording)
    if recording.status != 200:
        check_refusal(recording)
    elif kind == "vectors":
        check_vectors(recording)
    elif kind == "models":
        check_models(recording)
    elif recording.stream:
        check_stream(recording, [body_of(recording)])
    else:
        check_whole(recording)


@some("chat", "generate")
def test_a_plain_answer_says_what_the_body_says(recording: Recording) -> None:
    check_whole(recording)


@some("chat", "generate", streamed=True)
def test_a_stream_says_what_its_events_say_however_it_is_split(recording: Recording) -> None:
    answers = [check_stream(recording, pieces) for _, pieces in splits(body_of(recording))]
    assert len(answers) == 5
    assert all(answer == answers[0] for answer in answers)


@some("vectors")
def test_a_flat_list_of_numbers_is_one_vector(recording: Recording) -> None:
    check_vectors(recording)


@some("models")
def test_a_model_of_the_hub_is_listed_with_its_task(recording: Recording) -> None:
    check_models(recording)


REFUSED = [recording for recording in RECORDINGS if recording.status != 200]


@pytest.mark.parametrize("recording", REFUSED, ids=[recording.name for recording in REFUSED])
def test_a_refusal_is_of_the_class_the_error_table_gives(recording: Recording) -> None:
    check_refusal(recording)


def test_every_recording_that_nobody_altered_decodes(capsys: pytest.CaptureFixture[str]) -> None:
    """Reports the share, and what is left out with its reason."""
    failed = {}
    for recording in RECORDINGS:
        try:
            check_one(recording)
        except Exception as error:
            failed[recording.name] = (recording.notes, f"{type(error).__name__}: {error}"[:200])
    decoded = len(RECORDINGS) - len(failed)
    with capsys.disabled():
        sys.stdout.write(f"\ndecoded {decoded} of {len(ALL)} recordings of Hugging Face and TGI\n")
        for recording in ALL:
            reason = left_out(recording)
            if reason is not None:
                sys.stdout.write(f"left out {recording.name}: {reason}\n")
        for name, (notes, why) in failed.items():
            sys.stdout.write(f"failed {name} {sorted(notes)}: {why}\n")
    assert RECORDINGS
    assert not [name for name, (notes, _) in failed.items() if ALTERED.isdisjoint(notes)]
