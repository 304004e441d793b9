"""The native API: requests, and answers beyond what recordings show."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from penstock import errors
from penstock.http import HttpHead, HttpResponse
from penstock.messages import (
    ChatRequest,
    EmbedRequest,
    Image,
    Message,
    ModelsRequest,
    Schema,
    Text,
    Tool,
    ToolCall,
)
from penstock_huggingface.features import vectors_of
from penstock_huggingface.generate import GenerateCodec
from penstock_huggingface.prompts import FORMATS, render

Make = Callable[..., Any]
TALK = (
    Message("system", "Be brief."),
    Message("user", "Hi"),
    Message("assistant", "Hello."),
    Message("user", "And?"),
)


@pytest.fixture
def codec(make: Make) -> GenerateCodec:
    made: GenerateCodec = make("tgi", api="generate", base_url="http://tgi.test")
    return made


def sent(codec: GenerateCodec, **values: Any) -> dict[str, Any]:
    values.setdefault("messages", (Message("user", "Hello"),))
    request = codec.encode(ChatRequest(model="m", **values), "m")
    payload: dict[str, Any] = json.loads(request.body or b"")
    return payload


def answer(codec: GenerateCodec, payload: Any, headers: Any = None, **values: Any) -> Any:
    request = ChatRequest(model="m", messages=(Message("user", "Hello"),), **values)
    return codec.decode(request, HttpResponse(200, headers or {}, 0.0, json.dumps(payload).encode()))


def stream(codec: GenerateCodec, *events: Any, raw: bytes = b"", **values: Any) -> tuple[list[Any], Any]:
    request = ChatRequest(model="m", messages=(Message("user", "Hello"),), stream=True, **values)
    decoder = codec.decoder(request, HttpHead(200, {}))
    body = b"".join(b"data:" + json.dumps(event).encode() + b"\n\n" for event in events) + raw
    return [*decoder.feed(body), *decoder.close()], decoder


def token(text: str, special: bool = False, **fields: Any) -> dict[str, Any]:
    known = {"id": 1, "text": text, "logprob": -0.5, "special": special}
    return {"index": 1, "token": known, "generated_text": None, "details": None, **fields}


def test_parameters_get_the_names_and_the_limits_of_tgi(codec: GenerateCodec) -> None:
    payload = sent(
        codec,
        max_tokens=7,
        temperature=0.5,
        top_p=0.9,
        seed=3,
        stop="END",
        frequency_penalty=0.1,
        extra={"top_k": 5, "adapter_id": "a", "parameters": {"watermark": True}, "add_special_tokens": False},
    )
    assert payload == {
        "model": "m",
        "inputs": "Hello",
        "add_special_tokens": False,
        "parameters": {
            "details": True,
            "return_full_text": False,
            "max_new_tokens": 7,
            "do_sample": True,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 3,
            "frequency_penalty": 0.1,
            "stop": ["END"],
            "top_k": 5,
            "adapter_id": "a",
            "watermark": True,
        },
    }


def test_a_temperature_of_zero_is_greedy_and_a_top_p_of_one_no_restriction(codec: GenerateCodec) -> None:
    parameters = sent(codec, temperature=0, top_p=1)["parameters"]
    assert parameters["do_sample"] is False
    assert "temperature" not in parameters
    assert "top_p" not in parameters


def test_a_schema_becomes_a_grammar(codec: GenerateCodec) -> None:
    shape = {"type": "object", "properties": {"a": {"type": "integer"}}}
    grammar = {"type": "json", "value": shape}
    assert sent(codec, schema=Schema("x", shape))["parameters"]["grammar"] == grammar
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": shape}}
    assert sent(codec, response_format=wanted)["parameters"]["grammar"] == grammar
    assert sent(codec, response_format={"type": "json_object"})["parameters"]["grammar"]["type"] == "json"
    assert "grammar" not in sent(codec, response_format={"type": "text"})["parameters"]


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"tools": (Tool("f"),)}, "tools"),
        ({"n": 2}, "n"),
        ({"logit_bias": {"1": 1.0}}, "logit_bias"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"response_format": {"type": "yaml"}}, "response_format"),
        ({"extra": {"parameters": 1}}, "extra"),
        ({"messages": (Message("tool", "42", tool_call_id="1"),)}, "messages"),
        ({"messages": (Message("assistant", None, tool_calls=(ToolCall("1", "f", "{}"),)),)}, "messages"),
    ],
)
def test_what_the_api_cannot_express_is_refused_by_name(
    codec: GenerateCodec, values: dict[str, Any], param: str
) -> None:
    with pytest.raises(errors.InvalidRequestError) as caught:
        sent(codec, **values)
    assert caught.value.param == param


def test_messages_become_one_prompt_in_the_format_that_is_configured(make: Make) -> None:
    def prompt(name: str) -> str:
        made = make("tgi", api="generate", base_url="http://tgi.test", prompt=name)
        return str(sent(made, messages=TALK)["inputs"])

    assert prompt("plain") == "System: Be brief.\nUser: Hi\nAssistant: Hello.\nUser: And?\nAssistant:"
    assert prompt("chatml") == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert prompt("mistral") == "[INST] Be brief.\n\nHi [/INST] Hello.</s>[INST] And? [/INST]"
    assert prompt("gemma").startswith("<start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n")
    for name in FORMATS:
        text = render(TALK, name)
        assert text.index("Be brief.") < text.index("Hi") < text.index("Hello.") < text.index("And?")


def test_braces_in_a_text_stay_what_they_are() -> None:
    assert "{} {x}" in render((Message("system", "{} {x}"), Message("user", "{}")), "llama3")


def test_images_are_written_as_tgi_reads_them(codec: GenerateCodec) -> None:
    parts = (Text("What is this? "), Image.from_url("https://example.com/a.png"))
    payload = sent(codec, messages=(Message("user", parts),))
    assert payload["inputs"] == "What is this? ![](https://example.com/a.png)"


def test_tokens_are_counted_from_details_and_headers(codec: GenerateCodec) -> None:
    details = {"finish_reason": "length", "generated_tokens": 4, "prefill": [], "seed": 9}
    reply = answer(codec, {"generated_text": "x", "details": details}, {"x-prompt-tokens": "11"})
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (11, 4)
    assert (reply.finish_reason, reply.raw_finish_reason, reply.extra) == ("length", "length", {"seed": 9})
    assert answer(codec, {"generated_text": "x", "details": None}).usage is None


def test_a_stream_ends_with_the_event_that_has_the_whole_text(codec: GenerateCodec) -> None:
    details = {"finish_reason": "stop_sequence", "generated_tokens": 3, "input_length": 5}
    last = token("</s>", special=True, generated_text="a b", details=details)
    chunks, decoder = stream(codec, token("a"), token(" b"), last, token("never"))
    assert [chunk.text for chunk in chunks] == ["a", " b", ""]
    assert (chunks[-1].finish_reason, chunks[-1].raw_finish_reason) == ("stop", "stop_sequence")
    assert (chunks[-1].usage.input_tokens, chunks[-1].usage.output_tokens) == (5, 3)
    assert decoder.complete
    assert decoder.ended


def test_a_whole_text_counts_where_no_token_had_any(codec: GenerateCodec) -> None:
    chunks, _ = stream(codec, token("</s>", special=True, generated_text="all at once"))
    assert [chunk.text for chunk in chunks] == ["all at once"]
    chunks, decoder = stream(codec, token("</s>", special=True, generated_text=""))
    assert [chunk.has_content for chunk in chunks] == [True]
    assert decoder.complete


def test_tokens_are_given_out_when_logprobs_are_asked_for(codec: GenerateCodec) -> None:
    known = [{"id": 1, "text": "a", "logprob": -0.5, "special": False}]
    chunks, _ = stream(codec, token("a"), token("", True, generated_text="a"), logprobs=True)
    assert chunks[0].logprobs == known[0]
    plain = answer(codec, {"generated_text": "a", "details": {"tokens": known}}, logprobs=True)
    assert plain.choices[0].logprobs == known
    assert answer(codec, {"generated_text": "a", "details": {"tokens": known}}).choices[0].logprobs is None


def test_a_leading_thought_is_reasoning_where_that_is_configured(make: Make) -> None:
    codec = make("tgi", api="generate", base_url="http://tgi.test", think_tags=True)
    events = [token("<th"), token("ink>so"), token("</think>"), token("Yes", generated_text="x")]
    chunks, _ = stream(codec, *events)
    assert "".join(chunk.reasoning for chunk in chunks) == "so"
    assert "".join(chunk.text for chunk in chunks) == "Yes"
    plain = answer(codec, {"generated_text": "<think>so</think>Yes"})
    assert (plain.text, plain.reasoning) == ("Yes", "so")


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"error": "Model is overloaded", "error_type": "overloaded"}, errors.QueueFullError),
        ({"error": "Incomplete generation", "error_type": "incomplete_generation"}, errors.ServerError),
        ({"error": "Request failed during generation: x", "error_type": "generation"}, errors.ServerError),
        ({"error": "Input validation error: x", "error_type": "validation"}, errors.InvalidRequestError),
        (
            {
                "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096.",
                "error_type": "validation",
            },
            errors.ContextLengthError,
        ),
    ],
)
def test_an_error_in_a_stream_comes_after_the_text_before_it(
    codec: GenerateCodec, event: dict[str, str], kind: type[errors.ProviderError]
) -> None:
    with pytest.raises(kind) as caught:
        stream(codec, event)
    assert type(caught.value) is kind
    request = ChatRequest(model="m", messages=(Message("user", "Hello"),), stream=True)
    decoder = codec.decoder(request, HttpHead(200, {}))
    given = iter(
        decoder.feed(b"".join(b"data:" + json.dumps(e).encode() + b"\n\n" for e in (token("a"), event)))
    )
    assert next(given).text == "a"
    with pytest.raises(kind):
        next(given)
    assert list(decoder.close()) == []


@pytest.mark.parametrize("raw", [b"", b": keep-alive\n\n", b'data:{"index":2,"tok'])
def test_an_end_without_the_whole_text_is_a_cut(codec: GenerateCodec, raw: bytes) -> None:
    with pytest.raises(errors.StreamInterrupted):
        stream(codec, token("a"), raw=raw)


def test_a_last_event_without_its_blank_line_counts(codec: GenerateCodec) -> None:
    last = json.dumps(token("b", generated_text="ab")).encode()
    chunks, decoder = stream(codec, token("a"), raw=b"data: " + last)
    assert "".join(chunk.text for chunk in chunks) == "ab"
    assert decoder.complete


def test_an_answer_in_one_document_is_a_stream_too(codec: GenerateCodec) -> None:
    details = {"finish_reason": "eos_token", "generated_tokens": 1}
    raw = json.dumps([{"generated_text": "whole", "details": details}]).encode()
    chunks, decoder = stream(codec, raw=b"\n " + raw)
    assert "".join(chunk.text for chunk in chunks) == "whole"
    assert decoder.complete
    with pytest.raises(errors.MalformedResponse, match="no JSON"):
        stream(codec, raw=b"<html><title>Bad gateway</title></html>")
    with pytest.raises(errors.ModelLoadingError):
        stream(codec, raw=b'{"error": "Model a/b is currently loading", "estimated_time": 9.5}')


def test_a_document_is_bounded_like_an_event(make: Make) -> None:
    codec = make("tgi", api="generate", base_url="http://tgi.test", max_event_bytes=1024)
    with pytest.raises(errors.MalformedResponse, match="1024 bytes"):
        stream(codec, raw=b"{" + b" " * 2000)
    with pytest.raises(errors.MalformedResponse):
        stream(codec, raw=b"data: " + b"x" * 2000)


@pytest.mark.parametrize("payload", [{}, [], {"generated_text": 1}, "x", [[1]], None])
def test_a_document_without_an_answer_is_malformed(codec: GenerateCodec, payload: Any) -> None:
    with pytest.raises(errors.MalformedResponse, match="no generated_text"):
        answer(codec, payload)


def test_the_one_model_of_a_server_is_listed_with_its_window(codec: GenerateCodec) -> None:
    def listed(info: dict[str, Any]) -> Any:
        body = json.dumps(info).encode()
        answer: Any = codec.decode(ModelsRequest(), HttpResponse(200, {}, 0.0, body))
        return answer.models[0]

    model = listed({"model_id": "org/name", "max_total_tokens": 4096, "version": "3.3.6"})
    assert (model.id, model.context_length) == ("org/name", 4096)
    assert "chat" in model.capabilities
    assert model.extra["version"] == "3.3.6"
    assert listed({"model_id": "org/embed", "max_input_length": 512}).capabilities == {"embed"}
    with pytest.raises(errors.MalformedResponse, match="no model_id"):
        listed({})


@pytest.mark.parametrize(
    ("payload", "inputs", "expected"),
    [
        ([1, 2.5], 1, ((1.0, 2.5),)),
        ([[1, 2], [3, 4]], 2, ((1.0, 2.0), (3.0, 4.0))),
        ([[1, 2]], 1, ((1.0, 2.0),)),
        ([[1, 2], [3, 4]], 1, ((2.0, 3.0),)),
        ([[[1, 2], [3, 4]]], 1, ((2.0, 3.0),)),
        ([[[1, 2], [3, 4]], [[5, 6]]], 2, ((2.0, 3.0), (5.0, 6.0))),
        ([[[[1, 2], [3, 4]]], [[[5, 6]]]], 2, ((2.0, 3.0), (5.0, 6.0))),
    ],
)
def test_features_of_every_shape_become_one_vector_for_each_text(
    payload: Any, inputs: int, expected: tuple[tuple[float, ...], ...]
) -> None:
    assert vectors_of(payload, inputs) == expected


@pytest.mark.parametrize(
    ("payload", "inputs"),
    [
        ([], 1),
        ({}, 1),
        ([1, 2], 2),
        ([[1]], 2),
        ([[1], [2], [3]], 2),
        ([[]], 1),
        ([["a"]], 1),
        ([[[1], [1, 2]]], 1),
    ],
)
def test_features_of_no_known_shape_are_refused(payload: Any, inputs: int) -> None:
    with pytest.raises(ValueError, match=r"vector|length"):
        vectors_of(payload, inputs)


def test_embeddings_of_an_endpoint_are_asked_at_its_root(codec: GenerateCodec) -> None:
    request = EmbedRequest(model="m", inputs=("a", "b"))
    sent = codec.encode(request, "m")
    assert sent.url == "http://tgi.test/"
    answer: Any = codec.decode(request, HttpResponse(200, {}, 0.0, b"[[1, 2], [3, 4]]"))
    assert answer.vectors == ((1.0, 2.0), (3.0, 4.0))
