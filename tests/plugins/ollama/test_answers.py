"""What answers mean: plain, streamed, cut, broken, refused; and what no bytes may ever do."""

from __future__ import annotations

import contextlib
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock import errors
from penstock.http import HttpHead, HttpResponse
from penstock.messages import ChatRequest, EmbedRequest, Message, ModelsRequest
from penstock.responses import Assembly, ChatResponse, Chunk
from penstock_ollama import OllamaCodec
from penstock_ollama.details import loaded_models, model_details

CODEC = OllamaCodec(base_url="http://127.0.0.1:11434")
CHAT = ChatRequest(model="m", messages=(Message("user", "Hello"),), stream=True)
HEAD = HttpHead(200, {"content-type": "application/x-ndjson", "x-request-id": "r1"}, 1_800_000_000.0)


def respond(body: Any, status: int = 200) -> HttpResponse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(status, {"content-type": "application/json"}, 1_800_000_000.0, raw)


def plain(body: Any, codec: OllamaCodec = CODEC) -> ChatResponse:
    answer = codec.decode(CHAT, respond(body))
    assert isinstance(answer, ChatResponse)
    return answer


def lines(*documents: Any) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def say(content: str = "", **fields: Any) -> dict[str, Any]:
    return {"model": "m", "created_at": "t", "message": {"role": "assistant", "content": content, **fields}}


def done(content: str = "", **fields: Any) -> dict[str, Any]:
    return {**say(content), "done": True, "done_reason": "stop", **fields}


def stream(*parts: bytes, codec: OllamaCodec = CODEC) -> tuple[list[Chunk], Exception | None, Any]:
    decoder, chunks = codec.decoder(CHAT, HEAD), []
    try:
        for part in parts:
            for chunk in decoder.feed(part):
                chunks.append(chunk)  # noqa: PERF402  (what came before an error stays)
        for chunk in decoder.close():
            chunks.append(chunk)  # noqa: PERF402
    except errors.ProviderError as error:
        return chunks, error, decoder
    return chunks, None, decoder


def test_an_answer_without_a_reason_is_complete() -> None:
    answer = plain({**say("Hi"), "done": True})
    assert (answer.text, answer.finish_reason, answer.raw_finish_reason) == ("Hi", "stop", None)


def test_counts_that_are_left_out_are_zero() -> None:
    usage = plain(done("Hi")).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens) == (0, 0, None)


def test_no_usage_is_told_before_the_end() -> None:
    chunks, error, _ = stream(lines({**say("Hi"), "done": False, "prompt_eval_count": 3}))
    assert [chunk.usage for chunk in chunks] == [None]
    assert isinstance(error, errors.StreamInterrupted)


@pytest.mark.parametrize(
    ("reason", "normal"),
    [("stop", "stop"), ("length", "length"), ("load", "other"), ("unload", "other"), ("custom", "other")],
)
def test_reasons_are_normalised_and_kept(reason: str, normal: str) -> None:
    answer = plain(done(done_reason=reason))
    assert (answer.finish_reason, answer.raw_finish_reason) == (normal, reason)


def test_tool_calls_are_the_reason_unless_the_answer_was_too_long() -> None:
    call = {"function": {"name": "f", "arguments": {"a": 1}}}
    body = {**say(tool_calls=[call]), "done": True}
    assert plain({**body, "done_reason": "stop"}).finish_reason == "tool_calls"
    assert plain(body).finish_reason == "tool_calls"
    assert plain({**body, "done_reason": "length"}).finish_reason == "length"


def test_calls_without_ids_get_ids_that_differ_and_stay_the_same() -> None:
    call = {"function": {"name": "f", "arguments": {"a": 1}}}
    body = {**done(), "message": {"role": "assistant", "tool_calls": [call, call, {**call, "id": "x"}]}}
    ids = [each.id for each in plain(body).tool_calls]
    assert len(set(ids)) == 3
    assert ids[2] == "x"
    assert ids == [each.id for each in plain(body).tool_calls]
    other = [each.id for each in plain({**body, "created_at": "later"}).tool_calls]
    assert set(ids[:2]).isdisjoint(other)


def test_an_id_given_twice_is_not_kept_twice() -> None:
    call = {"id": "x", "function": {"name": "f", "arguments": {}}}
    ids = [each.id for each in plain({**done(), "message": {"tool_calls": [call, call]}}).tool_calls]
    assert ids[0] == "x" != ids[1]


def test_calls_of_several_lines_are_several_calls() -> None:
    first = {**say(tool_calls=[{"function": {"index": 0, "name": "f", "arguments": {}}}]), "done": False}
    second = {**say(tool_calls=[{"function": {"index": 0, "name": "g", "arguments": "{}"}}]), "done": False}
    chunks, error, _ = stream(lines(first, second, done()))
    assert error is None
    assembly = Assembly()
    for chunk in chunks:
        assembly.add(chunk)
    answer = assembly.response()
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [("f", "{}"), ("g", "{}")]
    assert answer.finish_reason == "tool_calls"


def test_thinking_is_reasoning() -> None:
    answer = plain({**say("4", thinking="2 + 2"), "done": True})
    assert (answer.reasoning, answer.text) == ("2 + 2", "4")


def test_think_tags_are_taken_out_on_demand_however_they_are_split() -> None:
    codec = OllamaCodec(base_url="http://x", think_tags=True)
    answer = plain(done("<think>hm</think>\n\nYes"), codec)
    assert (answer.reasoning, answer.text) == ("hm", "Yes")
    pieces = [{**say(piece), "done": False} for piece in ("<th", "ink>h", "m</thi", "nk>\n\nYe")]
    chunks, error, _ = stream(lines(*pieces, done("s")), codec=codec)
    assert error is None
    assert "".join(chunk.reasoning for chunk in chunks) == "hm"
    assert "".join(chunk.text for chunk in chunks) == "Yes"
    assert plain(done("<think>hm</think>Yes")).text == "<think>hm</think>Yes"


def test_the_rest_of_the_last_line_is_kept() -> None:
    answer = plain(done("Hi", total_duration=5, logprobs=[{"token": "Hi", "logprob": -0.1}]))
    assert answer.extra == {"created_at": "t", "total_duration": 5}
    assert answer.choices[0].logprobs == [{"token": "Hi", "logprob": -0.1}]
    _, _, decoder = stream(lines(done("Hi", total_duration=5)))
    assert decoder.extra == {"created_at": "t", "total_duration": 5}
    assert decoder.upstream_id == "r1"


def test_a_stream_without_done_is_interrupted_wherever_it_ends() -> None:
    body = lines({**say("Hel"), "done": False}, {**say("lo"), "done": False}, done())
    for size in range(len(body) - 1):
        chunks, error, decoder = stream(body[:size])
        assert isinstance(error, errors.StreamInterrupted), size
        assert not decoder.complete
        assert "Hello".startswith("".join(chunk.text for chunk in chunks))


def test_the_last_line_needs_no_newline() -> None:
    chunks, error, decoder = stream(lines(done("Hi")).rstrip())
    assert error is None
    assert decoder.complete
    assert chunks[0].text == "Hi"


def test_an_error_line_comes_after_the_chunks_before_it() -> None:
    body = lines({**say("Yes"), "done": False}, {"error": "an error was encountered while running the model"})
    chunks, error, decoder = stream(body)
    assert [chunk.text for chunk in chunks] == ["Yes"]
    assert isinstance(error, errors.ServerError)
    assert "while running the model" in str(error)
    assert not decoder.complete


def test_nothing_is_read_after_done() -> None:
    chunks, error, _ = stream(lines(done("Hi"), {"error": "late"}), b"garbage\n")
    assert error is None
    assert len(chunks) == 1


@pytest.mark.parametrize("line", [b"{broken\n", b"<html>\n", b"[1]\n", b'"text"\n', b"null\n"])
def test_a_line_that_is_no_object_is_malformed(line: bytes) -> None:
    _, error, _ = stream(lines({**say("Hi"), "done": False}) + line)
    assert isinstance(error, errors.MalformedResponse)


def test_blank_lines_and_unknown_lines_are_passed_over() -> None:
    chunks, error, _ = stream(b"\n\r\n" + lines({"status": "loading"}, done("Hi")))
    assert error is None
    assert [chunk.text for chunk in chunks] == ["Hi"]


def test_a_line_beyond_the_limit_is_malformed() -> None:
    codec = OllamaCodec(base_url="http://x", max_event_bytes=1024)
    _, error, _ = stream(b'{"message": "' + b"x" * 5000, codec=codec)
    assert isinstance(error, errors.MalformedResponse)


def test_separators_of_lines_inside_a_text_are_text() -> None:
    text = "a\u2028b\u0085c\x0bd"
    raw = json.dumps(done(text), ensure_ascii=False).encode() + b"\n"
    chunks, error, _ = stream(*(raw[n : n + 1] for n in range(len(raw))))
    assert error is None
    assert chunks[0].text == text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "an empty body"),
        (b"<html><title>Bad</title></html>", "HTML"),
        (b'{"message": {"content"', "done"),
        (b"not json", "broken JSON"),
        (b"[]", "no object"),
        (b'{"model": "m"}', "no message"),
        (b'{"message": "text", "done": true}', "no message"),
    ],
)
def test_a_200_that_is_no_answer_is_a_transport_error(body: bytes, reason: str) -> None:
    with pytest.raises(errors.TransportError, match=reason):
        plain(body)


def test_an_answer_that_is_not_done_is_cut() -> None:
    with pytest.raises(errors.StreamInterrupted) as caught:
        plain({**say("Hel"), "done": False})
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hel"


def test_an_error_inside_a_200_is_an_error() -> None:
    with pytest.raises(errors.ContextLengthError):
        plain({"error": "the input length exceeds the context length"})


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (404, "model 'x' not found", errors.ModelNotFoundError),
        (404, 'model "x" not found, try pulling it first', errors.ModelNotFoundError),
        (400, "registry.ollama.ai/library/x:latest does not support tools", errors.InvalidRequestError),
        (400, '"x" does not support thinking', errors.InvalidRequestError),
        (401, "unauthorized", errors.AuthenticationError),
        (503, "server busy, please try again.  maximum pending requests exceeded", errors.QueueFullError),
        (500, "model requires more system memory (5.3 GiB) than is available", errors.ServerError),
        (500, "model runner has unexpectedly stopped", errors.ServerError),
        (429, "too many requests", errors.RateLimitError),
        (
            429,
            "you (x) have reached your session usage limit, upgrade for higher limits",
            errors.QuotaExceededError,
        ),
    ],
)
def test_refusals_by_the_error_table(status: int, said: str, kind: type[Exception]) -> None:
    error = CODEC.error(respond({"error": said}, status))
    assert type(error) is kind
    assert error.status == status
    assert said.split("(")[0].split()[0] in str(error)


def test_a_sign_in_url_stays_out_of_the_message() -> None:
    body = {"error": "unauthorized", "signin_url": "https://ollama.com/connect?name=x&key=c2VjcmV0"}
    assert "c2VjcmV0" not in str(CODEC.error(respond(body, 401)))


EMBED = EmbedRequest(model="m", inputs=("a", "b"))


def test_vectors_come_in_the_order_of_the_inputs() -> None:
    answer: Any = CODEC.decode(
        EMBED, respond({"model": "m", "embeddings": [[1, 0.5], [2, 3]], "prompt_eval_count": 4})
    )
    assert answer.vectors == ((1.0, 0.5), (2.0, 3.0))
    assert answer.usage.input_tokens == 4


@pytest.mark.parametrize(
    "rows", [None, "text", [], [[1.0]], [[1.0], []], [[1.0], ["x"]], [[1.0], "12"], [[1.0], None], [1, 2]]
)
def test_embeddings_that_are_none_are_malformed(rows: Any) -> None:
    with pytest.raises(errors.MalformedResponse):
        CODEC.decode(EMBED, respond({"model": "m", "embeddings": rows}))


def test_models_are_listed_with_what_the_server_says_of_them() -> None:
    listed: Any = CODEC.decode(
        ModelsRequest(), respond({"models": [{"name": "a:1b", "model": "a:1b", "size": 5}, {"x": 1}, "y"]})
    )
    (model,) = listed.models
    assert (model.id, model.provider, model.extra) == ("a:1b", "ollama", {"size": 5})
    with pytest.raises(errors.MalformedResponse):
        CODEC.decode(ModelsRequest(), respond({"models": None}))


def test_details_are_read_whatever_is_missing() -> None:
    details = model_details(
        "m",
        {
            "model_info": {"general.architecture": "qwen2", "qwen2.context_length": 32768},
            "parameters": 'stop    "<|end|>"\nnum_ctx    1024',
            "capabilities": ["completion", "tools", "thinking", 5],
            "details": {"family": "qwen2", "parameter_size": "1.5B", "quantization_level": "Q4"},
        },
    )
    assert (details.context_length, details.num_ctx, details.family) == (32768, 1024, "qwen2")
    assert details.capabilities == {"chat", "stream", "schema", "tools", "reasoning"}
    assert model_details("m", {}).capabilities is None
    assert model_details("m", {"model_info": {"clip.context_length": 77}}).context_length == 77
    assert (
        loaded_models({"models": [{"name": "m", "context_length": 4096, "size_vram": 0}]})[0].size_vram == 0
    )
    assert loaded_models({"models": "?"}) == ()


# Fuzzing: bodies like real ones, changed at random

SEEDS = [
    lines({**say("Hé"), "done": False}, {**say(thinking="hm"), "done": False}, done("!", eval_count=3)),
    lines({**say(tool_calls=[{"function": {"name": "f", "arguments": {"a": [1]}}}]), "done": False}, done()),
    lines(done("plain", prompt_eval_count=1)),
    lines({"error": "model runner has unexpectedly stopped"}),
    lines({"model": "m", "embeddings": [[0.1, 0.2], [0.3, 0.4]], "prompt_eval_count": 2}),
    lines({"models": [{"name": "a", "details": {"family": "x"}}]}),
]
_folder = os.environ.get("PENSTOCK_RECORDINGS")
if _folder:
    for _file in sorted(Path(_folder).glob("interactions/ollama/*.json")):
        _body = json.loads(_file.read_text("utf-8"))["response_body"].encode()
        if len(_body) < 3000:
            SEEDS.append(_body)
VALUES: list[Any] = [None, True, 0, -1, 1e400, 2**70, "", "x", [], [None], {}, {"a": 1}, "\ud800"]


def mutate(body: bytes, dice: random.Random) -> bytes:
    for _ in range(dice.randint(1, 3)):
        documents = body.split(b"\n")
        at = dice.randrange(len(documents))
        try:
            document = json.loads(documents[at])
        except ValueError:
            document = None
        if isinstance(document, dict) and document and dice.random() < 0.7:
            place = document
            while True:
                key = dice.choice(list(place))
                if isinstance(place[key], dict) and place[key] and dice.random() < 0.7:
                    place = place[key]
                    continue
                place[key] = dice.choice(VALUES)
                break
            documents[at] = json.dumps(document).encode()
            body = b"\n".join(documents)
        else:
            cut = dice.randrange(len(body) + 1)
            body = body[:cut] + dice.randbytes(dice.randint(0, 3)) + body[cut + dice.randint(0, 3) :]
    return body


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(range(len(SEEDS))))
@example(0, 0)
def test_any_body_decodes_or_raises_an_error_of_ours(seed: int, place: int) -> None:
    dice = random.Random(seed)
    body = mutate(SEEDS[place], dice)
    for codec in (CODEC, OllamaCodec(base_url="http://x", think_tags=True)):
        for request in (CHAT, EMBED, ModelsRequest()):
            with contextlib.suppress(errors.PenstockError):
                codec.decode(request, respond(body))
        assert isinstance(codec.error(respond(body, dice.choice([400, 404, 429, 500]))), errors.ProviderError)
        cuts = sorted(dice.randrange(len(body) + 1) for _ in range(5))
        parts = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
        whole, broken, decoder = stream(body, codec=codec)
        pieces, error, _ = stream(*parts, codec=codec)
        assert type(error) is type(broken)
        assert decoder.complete is (broken is None)
        assert "".join(c.text for c in pieces) == "".join(c.text for c in whole)
    try:
        document = json.loads(body)
    except ValueError:
        return
    if isinstance(document, dict):
        model_details("m", document)
        loaded_models(document)
