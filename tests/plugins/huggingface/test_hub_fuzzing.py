"""Whatever a server sends, a codec decodes it or raises an error of ours."""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock import errors
from penstock.http import HttpHead, HttpResponse
from penstock.messages import ChatRequest, EmbedRequest, Message, ModelsRequest
from penstock_huggingface.chat import RouterDialect
from penstock_huggingface.generate import GenerateCodec

CHAT = ChatRequest(model="m", messages=(Message("user", "Hi"),), stream=True, logprobs=True)
ASKED = (CHAT, EmbedRequest(model="e", inputs=("x", "y")), ModelsRequest())
ROUTER = RouterDialect(base_url="https://router.example.com/v1")
GENERATE = GenerateCodec(
    base_url="http://tgi.example.com",
    headers={},
    name="tgi",
    prompt=lambda messages: "x",
    redact=str,
    think_tags=True,
    max_event_bytes=1 << 16,
)
# Shaped like what servers send.
BODIES: list[Any] = [
    {
        "details": {
            "best_of_sequences": None,
            "finish_reason": "eos_token",
            "generated_tokens": 2,
            "prefill": [{"id": 0, "logprob": None, "text": "<pad>"}],
            "seed": 0,
            "tokens": [{"id": 284, "logprob": -1.1, "special": False, "text": "\n"}],
        },
        "generated_text": "<think>so</think> yes",
    },
    [{"generated_text": "one plus two equals three"}],
    {
        "index": 1,
        "token": {"id": 220, "text": " ", "logprob": -2.8, "special": False},
        "generated_text": None,
        "details": None,
    },
    {
        "index": 2,
        "token": {"id": 2, "text": "</s>", "logprob": -2.8, "special": True},
        "generated_text": " x",
        "details": {"finish_reason": "length", "generated_tokens": 2, "seed": None, "input_length": 3},
    },
    {"error": "Input validation error: x", "error_type": "validation"},
    {"error": "Model a/b is currently loading", "estimated_time": 20.0},
    {"error": {"message": "x", "http_status_code": 422}},
    [[0.1, 0.2], [0.3, 0.4]],
    [[[0.1, 0.2], [0.3, 0.4]], [[0.1, 0.2]]],
    {"model_id": "a/b", "max_total_tokens": 4096, "version": "3.3.6"},
    {
        "object": "list",
        "data": [
            {
                "id": "a/b",
                "architecture": {"input_modalities": ["text", "image"]},
                "providers": [
                    {"provider": "x", "status": "live", "context_length": 10, "supports_tools": True}
                ],
            }
        ],
    },
]
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from([[], {}, [[]], [None], {"text": 1}, 10**400, "\ud800", "<think>"]),
)


def mutate(payload: Any, draw: Any) -> Any:
    """Replace or drop something at one to four places of a document."""
    payload = copy.deepcopy(payload)
    for _ in range(draw(st.integers(1, 4))):
        here, parent, key = payload, None, None
        while isinstance(here, dict | list) and here and draw(st.integers(0, 4)):
            keys = sorted(here) if isinstance(here, dict) else range(len(here))
            parent, key = here, draw(st.sampled_from(list(keys)))
            here = parent[key]
        if parent is None:
            payload = payload if draw(st.integers(0, 5)) else copy.deepcopy(draw(ODD))
        elif draw(st.integers(0, 3)) == 0 and isinstance(parent, dict):
            del parent[key]
        else:
            parent[key] = copy.deepcopy(draw(ODD))
    return payload


def read(body: bytes, events: bytes) -> None:
    """Through every door; anything but an error of ours fails the test."""
    for codec in (ROUTER, GENERATE):
        for request in ASKED:
            with contextlib.suppress(errors.ProviderError):
                codec.decode(request, HttpResponse(200, {}, 0.0, body))
        for status in (302, 404, 422, 503):
            assert isinstance(codec.error(HttpResponse(status, {}, 0.0, body)), errors.ProviderError)
        for stream in (events, body):
            decoder = codec.decoder(CHAT, HttpHead(200, {"x-prompt-tokens": "1" * 30}))
            with contextlib.suppress(errors.ProviderError):
                for piece in (stream[: len(stream) // 2], stream[len(stream) // 2 :]):
                    list(decoder.feed(piece))
                list(decoder.close())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_mutated_body_decodes_or_raises_an_error_of_ours(data: st.DataObject) -> None:
    shapes = [mutate(data.draw(st.sampled_from(BODIES)), data.draw) for _ in range(2)]
    bodies = [json.dumps(shape).encode("utf-8", "surrogatepass") for shape in shapes]
    read(bodies[0], b"".join(b"data:" + body + b"\n\n" for body in bodies))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.sampled_from(
                [b"data:", b"\n\n", b"{", b'{"token":{"text":"x"}}', b"[[", b'"generated_text":']
            ),
        ),
        max_size=12,
    )
)
def test_any_bytes_decode_or_raise_an_error_of_ours(pieces: list[bytes]) -> None:
    read(b"".join(pieces), b"data:" + b"".join(pieces))
