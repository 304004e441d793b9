"""
The OpenAI dialect of the simulator: chat completions, embeddings and models, without I/O.

Everything is derived from the request and its number, so the same request gets the same bytes in every
colour and on every machine: ids, vectors, texts and timestamps.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import random
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from penstock_testkit.failure import Failure, retry_after_headers
from penstock_testkit.openai_chat import CREATED, chat_completion, word_count
from penstock_testkit.openai_errors import body_failure, error_body, key_failure
from penstock_testkit.plan import END, Data, Head
from penstock_testkit.rate_limits import go_duration

if TYPE_CHECKING:
    from penstock_testkit.dialect import Occasion
    from penstock_testkit.plan import Plan
    from penstock_testkit.received import ReceivedRequest

_DEFAULT_MODELS = ("gpt-4o", "gpt-4o-mini", "text-embedding-3-small")


class OpenAIDialect:
    """OpenAI as it answers on `/v1`; see `Dialect` for the methods."""

    name = "openai"
    keep_alive = b": keep-alive\n\n"

    def claims(self, request: ReceivedRequest) -> bool:
        return request.path.startswith("/v1/")

    def answer(self, occasion: Occasion, text: str | None = None) -> Plan:
        request, settings = occasion.request, occasion.settings
        if settings.api_key is not None:
            refusal = key_failure(request, settings.api_key)
            if refusal is not None:
                return self.failure(refusal, occasion)
        path = request.path.removeprefix("/v1")
        if path == "/models" or path.startswith("/models/"):
            return self._models(occasion, path.removeprefix("/models").removeprefix("/"))
        if path not in ("/chat/completions", "/embeddings"):
            return self.failure(Failure(kind="not_found"), occasion)
        if request.method != "POST":
            return self.failure(Failure(kind="method_not_allowed"), occasion)
        refusal = body_failure(request.json, "messages" if path == "/chat/completions" else "input")
        if refusal is None and settings.models is not None and request.model not in settings.models:
            refusal = Failure(kind="model_not_found")
        wait = occasion.reading.wait
        if refusal is None and wait is not None:
            refusal = Failure(kind="rate_limit", retry_after=wait)
        if refusal is not None:
            return self.failure(refusal, occasion)
        if path == "/embeddings":
            return self._embeddings(occasion)
        try:
            pieces = chat_completion(request, settings, text)
        except ValueError as error:
            return self.failure(
                Failure(kind="invalid_request", message=str(error), param="response_format"), occasion
            )
        if request.stream:
            headers = answer_headers(occasion, "text/event-stream; charset=utf-8")
            return (Head(200, headers, "chunked"), *pieces, END)
        return (Head(200, answer_headers(occasion)), *pieces, END)

    def failure(self, failure: Failure, occasion: Occasion) -> Plan:
        status, body = error_body(failure, occasion.request)
        headers = answer_headers(occasion)
        if failure.retry_after is not None:
            headers |= retry_after_headers(failure.retry_after)
        return (Head(status, headers), Data(json.dumps(body, indent=2).encode(), "content"), END)

    def error_event(self, failure: Failure, occasion: Occasion) -> Data:
        _, body = error_body(failure, occasion.request)
        return Data(b"data: " + json.dumps(body).encode() + b"\n\n")

    def _models(self, occasion: Occasion, wanted: str) -> Plan:
        if occasion.request.method != "GET":
            return self.failure(Failure(kind="method_not_allowed"), occasion)
        models = [
            {"id": name, "object": "model", "created": CREATED, "owned_by": "simulator"}
            for name in occasion.settings.models or _DEFAULT_MODELS
        ]
        if not wanted:
            return _plain(occasion, {"object": "list", "data": models})
        found = next((model for model in models if model["id"] == wanted), None)
        if found is None:
            message = f"The model '{wanted}' does not exist"
            return self.failure(Failure(kind="model_not_found", message=message), occasion)
        return _plain(occasion, found)

    def _embeddings(self, occasion: Occasion) -> Plan:
        fields = occasion.request.json
        inputs = fields["input"]
        if not isinstance(inputs, list) or isinstance(inputs[0], int):
            inputs = [inputs]
        dimensions = fields.get("dimensions") or occasion.settings.dimensions
        packed = fields.get("encoding_format") == "base64"
        tokens = 0
        data: list[dict[str, Any]] = []
        for index, item in enumerate(inputs):
            text = item if isinstance(item, str) else json.dumps(item)
            tokens += len(item) if isinstance(item, list) else word_count(text)
            vector = embedding(text, dimensions)
            shown: Any = list(vector)
            if packed:
                shown = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
            data.append({"object": "embedding", "index": index, "embedding": shown})
        body = {
            "object": "list",
            "data": data,
            "model": occasion.request.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return _plain(occasion, body)


@lru_cache(maxsize=256)
def embedding(text: str, dimensions: int = 32) -> tuple[float, ...]:
    """The vector the simulator gives a text: unit length, rounded to six digits, always the same."""
    dice = random.Random(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    vector = [dice.gauss(0.0, 1.0) for _ in range(dimensions)]
    length = math.sqrt(sum(x * x for x in vector)) or 1.0
    return tuple(round(x / length, 6) for x in vector)


def _plain(occasion: Occasion, body: dict[str, Any]) -> Plan:
    return (Head(200, answer_headers(occasion)), Data(json.dumps(body).encode(), "content"), END)


def answer_headers(occasion: Occasion, content_type: str = "application/json") -> dict[str, str]:
    """The headers of an answer: what is left of the limits, and the request id."""
    reading = occasion.reading
    return {
        "content-type": content_type,
        "openai-processing-ms": "12",
        "openai-version": "2020-10-01",
        "x-ratelimit-limit-requests": str(reading.limits.requests),
        "x-ratelimit-limit-tokens": str(reading.limits.tokens),
        "x-ratelimit-remaining-requests": str(reading.requests),
        "x-ratelimit-remaining-tokens": str(reading.tokens),
        "x-ratelimit-reset-requests": go_duration(reading.requests_reset),
        "x-ratelimit-reset-tokens": go_duration(reading.tokens_reset),
        "x-request-id": f"req_{occasion.request.number:032x}",
    }
