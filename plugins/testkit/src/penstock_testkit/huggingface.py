"""
Two dialects of the simulator: Hugging Face's router, and an endpoint with TGI, without I/O.

The router answers on `/v1` and on the feature-extraction pipeline of hf-inference; TGI on `/v1`, on
`/generate` and `/generate_stream`, on `/` (both in one, told apart by `stream`), `/info` and `/health`.
Texts on `/v1/embeddings`, or as a list on `/`, get vectors, as from an endpoint with an embedding model.
Everything is derived from the request and its number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from penstock_testkit.failure import Failure, retry_after_headers
from penstock_testkit.faults import Fault
from penstock_testkit.huggingface_errors import (
    Body,
    invalid_generation,
    missing_field,
    router_refusal,
    tgi_refusal,
)
from penstock_testkit.openai import embedding
from penstock_testkit.openai_chat import CREATED, chat_completion, word_count
from penstock_testkit.plan import END, Data, Head
from penstock_testkit.schema import instance

if TYPE_CHECKING:
    from penstock_testkit.dialect import Occasion, Settings
    from penstock_testkit.plan import Plan
    from penstock_testkit.received import ReceivedRequest

_DEFAULT_MODELS = ("meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-32B")
_PIPELINE = re.compile(r"/hf-inference/models/(.+)/pipeline/feature-extraction")
# TGI's paths that take a body, and the field each needs.
_NEEDED = {
    "/": "inputs",
    "/generate": "inputs",
    "/generate_stream": "inputs",
    "/v1/chat/completions": "messages",
    "/v1/embeddings": "input",
}
_STREAM = "text/event-stream"
_WORDS = re.compile(r"\s*\S+\s*$|\s*\S+|\s+$")
_CHAT_ID = re.compile(rb'"id": ?"chatcmpl-[0-9a-f]+"')


class RouterDialect:
    """The router of the Inference Providers; see `Dialect` for the methods."""

    name = "huggingface"
    keep_alive = b": keep-alive\n\n"

    def claims(self, request: ReceivedRequest) -> bool:
        return request.path.startswith(("/v1/", "/hf-inference/"))

    def answer(self, occasion: Occasion, text: str | None = None) -> Plan:
        request, settings = occasion.request, occasion.settings
        if settings.api_key is not None and _bearer(request) != settings.api_key:
            return self.failure(Failure(kind="authentication"), occasion)
        if request.path == "/v1/models":
            return _json(_models(settings), _router_headers(occasion))
        pipeline = _PIPELINE.fullmatch(request.path)
        if pipeline is None and request.path != "/v1/chat/completions":
            return self.failure(Failure(kind="not_found"), occasion)
        if request.method != "POST":
            return self.failure(Failure(kind="method_not_allowed"), occasion)
        refusal = _field_missing(request, "inputs" if pipeline else "messages")
        if refusal is not None:
            return refusal
        model = pipeline[1] if pipeline else (request.model or "").partition(":")[0]
        if settings.models is not None and model not in settings.models:
            if pipeline:
                body = {"error": f"Model {model} does not exist"}
                return _json(body, _router_headers(occasion), 404)
            return self.failure(Failure(kind="model_not_found"), occasion)
        if occasion.reading.wait is not None:
            return self.failure(Failure(kind="rate_limit", retry_after=occasion.reading.wait), occasion)
        if pipeline:
            return _json(_vectors(request, settings), _router_headers(occasion))
        return _chat(occasion, text, _router_headers(occasion), self.failure)

    def failure(self, failure: Failure, occasion: Occasion) -> Plan:
        return _refused(*router_refusal(failure, occasion.request), failure, _router_headers(occasion))

    def error_event(self, failure: Failure, occasion: Occasion) -> Data:
        status, body = router_refusal(failure, occasion.request)
        error = body["error"] if isinstance(body, dict) else body
        if isinstance(error, str):
            error = {"message": error, "type": failure.kind, "code": status}
        return Data(b"data: " + json.dumps({"error": error}).encode() + b"\n\n")


class TGIDialect:
    """
    One model served by TGI; see `Dialect` for the methods.

    Args:
        model: its name, told by `/info` and `/v1/models`; requests may name any.
        window: tokens of prompt and answer together; tokens are words.
        spaced: whether `data:` of `/generate_stream` has a space behind it, as in some versions.
    """

    name = "tgi"
    keep_alive = b":\n\n"

    def __init__(self, *, model: str = _DEFAULT_MODELS[0], window: int = 4096, spaced: bool = False) -> None:
        self.model = model
        self.window = window
        self._data = b"data: " if spaced else b"data:"

    def claims(self, request: ReceivedRequest) -> bool:
        known = ("/generate", "/generate_stream", "/health", "/info")
        return (
            request.path in known
            or request.path.startswith("/v1/")
            or (request.path == "/" and request.method == "POST")
        )

    def answer(self, occasion: Occasion, text: str | None = None) -> Plan:
        request, settings = occasion.request, occasion.settings
        path = request.path
        if path == "/health":
            return (Head(200, {}), END)
        if settings.api_key is not None and _bearer(request) != settings.api_key:
            return self.failure(Failure(kind="authentication"), occasion)
        if path == "/info":
            return _json(self._info(), _tgi_headers())
        if path == "/v1/models":
            listed = [{"id": self.model, "object": "model", "created": 0, "owned_by": self.model}]
            return _json({"object": "list", "data": listed}, _tgi_headers())
        if path not in _NEEDED:
            return self.failure(Failure(kind="not_found"), occasion)
        if request.method != "POST":
            return self.failure(Failure(kind="method_not_allowed"), occasion)
        missing = _field_missing(request, _NEEDED[path])
        if missing is not None:
            return missing
        if path == "/" and isinstance(request.json["inputs"], list):
            return _json(_vectors(request, settings), _tgi_headers())
        if path == "/v1/embeddings":
            return _json(_embeddings(request, settings), _tgi_headers())
        refusal = None if path.startswith("/v1/") else invalid_generation(request.json, self.window)
        if refusal is None and occasion.reading.wait is not None:
            refusal = Failure(kind="overloaded")
        streamed = path == "/generate_stream" or (path == "/" and request.stream)
        if refusal is not None:
            if streamed:  # TGI has sent its 200 before it looks
                event = self.error_event(refusal, occasion)
                return (Head(200, _tgi_headers(_STREAM), "chunked"), event, END)
            return self.failure(refusal, occasion)
        if path == "/v1/chat/completions":
            plan = _chat(occasion, text, _tgi_headers(), self.failure)
            # TGI's answers have an empty id.
            return tuple(
                Data(_CHAT_ID.sub(b'"id":""', step.data), step.part) if type(step) is Data else step
                for step in plan
            )
        try:
            return self._generated(occasion, text, streamed=streamed)
        except ValueError as error:
            message = f"Input validation error: grammar is not valid: {error}"
            return self.failure(Failure(kind="invalid_request", message=message), occasion)

    def failure(self, failure: Failure, occasion: Occasion) -> Plan:
        return _refused(*tgi_refusal(failure), failure, _tgi_headers())

    def error_event(self, failure: Failure, occasion: Occasion) -> Data:
        status, body = tgi_refusal(failure)
        if not isinstance(body, dict):
            body = {"error": body, "error_type": failure.kind}
        if occasion.request.path.startswith("/v1/"):
            error = {"message": body["error"], "http_status_code": status}
            return Data(b"data: " + json.dumps({"error": error}).encode() + b"\n\ndata: [DONE]\n\n")
        return Data(self._data + json.dumps(body).encode() + b"\n\n")

    def _info(self) -> dict[str, Any]:
        return {
            "model_id": self.model,
            "model_sha": None,
            "max_concurrent_requests": 128,
            "max_best_of": 2,
            "max_stop_sequences": 4,
            "max_input_tokens": self.window - 1,
            "max_total_tokens": self.window,
            "max_client_batch_size": 32,
            "router": "text-generation-router",
            "version": "3.3.6",
        }

    def _generated(self, occasion: Occasion, text: str | None, *, streamed: bool) -> Plan:
        request = occasion.request
        fields = request.json
        parameters = fields.get("parameters") or {}
        if text is None:
            text = _structured(parameters) or _say(occasion.settings, request, fields["inputs"])
        words, reason = _cut(text, parameters.get("max_new_tokens"), parameters.get("stop") or ())
        whole = "".join(words)
        if parameters.get("return_full_text", request.path == "/"):
            whole = fields["inputs"] + whole
        given = word_count(fields["inputs"])
        tokens = [
            {"id": 1000 + place, "text": word, "logprob": -0.5, "special": False}
            for place, word in enumerate(words)
        ]
        if reason == "eos_token":
            tokens.append({"id": 2, "text": "</s>", "logprob": -0.1, "special": True})
        details: dict[str, Any] | None = None
        if parameters.get("details"):
            details = {
                "finish_reason": reason,
                "generated_tokens": len(tokens),
                "seed": parameters.get("seed"),
            }
        if streamed:
            if details is not None:
                details["input_length"] = given
            events = self._events(tokens, whole, details)
            return (Head(200, _tgi_headers(_STREAM), "chunked"), *events, END)
        if details is not None:
            details |= {"prefill": [], "tokens": tokens}
        answer: Any = {"generated_text": whole, "details": details}
        headers = _tgi_headers() | {
            "x-prompt-tokens": str(given),
            "x-generated-tokens": str(len(tokens)),
        }
        return _json([answer] if request.path == "/" else answer, headers)

    def _events(
        self, tokens: list[dict[str, Any]], whole: str, details: dict[str, Any] | None
    ) -> Iterator[Data]:
        tokens = tokens or [{"id": 2, "text": "", "logprob": -0.1, "special": True}]
        for place, token in enumerate(tokens, start=1):
            last = place == len(tokens)
            event = {
                "index": place,
                "token": token,
                "generated_text": whole if last else None,
                "details": details if last else None,
            }
            body = json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass")
            yield Data(self._data + body + b"\n\n", "finish" if last else "content")


def loading(seconds: float, model: str | None = None) -> Fault:
    """hf-inference is loading the model and guesses how long that takes: a 503 with `estimated_time`."""

    def change(_: Plan, occasion: Occasion) -> Plan:
        name = model or occasion.request.model or _DEFAULT_MODELS[0]
        body = {"error": f"Model {name} is currently loading", "estimated_time": seconds}
        return _json(body, {"content-type": "application/json"}, 503)

    return Fault(f"loading({seconds!r})" if model is None else f"loading({seconds!r}, {model!r})", change)


def _chat(occasion: Occasion, text: str | None, headers: dict[str, str], refuse: Any) -> Plan:
    try:
        pieces = chat_completion(occasion.request, occasion.settings, text)
    except ValueError as error:
        failure = Failure(kind="invalid_request", message=str(error))
        return refuse(failure, occasion)  # type: ignore[no-any-return]  # the dialect's own
    if occasion.request.stream:
        return (Head(200, headers | {"content-type": _STREAM}, "chunked"), *pieces, END)
    return (Head(200, headers), *pieces, END)


def _models(settings: Settings) -> dict[str, Any]:
    return {
        "object": "list",
        "data": [
            {
                "id": name,
                "object": "model",
                "created": CREATED,
                "owned_by": name.partition("/")[0],
                "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
                "providers": [
                    {
                        "provider": "novita",
                        "status": "live",
                        "context_length": 131072,
                        "pricing": {"input": 0.02, "output": 0.05},
                        "supports_tools": True,
                        "supports_structured_output": False,
                    },
                    {"provider": "hf-inference", "status": "error"},
                ],
            }
            for name in settings.models or _DEFAULT_MODELS
        ],
    }


def _vectors(request: ReceivedRequest, settings: Settings) -> list[list[float]]:
    inputs = request.json["inputs"]
    texts: Iterable[Any] = inputs if isinstance(inputs, list) else [inputs]
    dimensions = request.json.get("dimensions") or settings.dimensions
    return [list(embedding(str(each), dimensions)) for each in texts]


def _embeddings(request: ReceivedRequest, settings: Settings) -> dict[str, Any]:
    fields = request.json
    texts = fields["input"] if isinstance(fields["input"], list) else [fields["input"]]
    dimensions = fields.get("dimensions") or settings.dimensions
    tokens = sum(word_count(str(text)) for text in texts)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": place, "embedding": list(embedding(str(text), dimensions))}
            for place, text in enumerate(texts)
        ],
        "model": request.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _field_missing(request: ReceivedRequest, name: str) -> Plan | None:
    if isinstance(request.json, dict) and request.json.get(name) is not None:
        return None
    text = missing_field(name, request.body)
    head = Head(422, {"content-type": "text/plain; charset=utf-8"})
    return (head, Data(text.encode(), "content"), END)


def _bearer(request: ReceivedRequest) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _structured(parameters: dict[str, Any]) -> str | None:
    """An instance of the schema that the grammar demands."""
    grammar = parameters.get("grammar")
    if not isinstance(grammar, dict) or grammar.get("type") != "json":
        return None
    return json.dumps(instance(grammar.get("value") or {}, "value"))


def _say(settings: Settings, request: ReceivedRequest, prompt: str) -> str:
    if isinstance(settings.text, str):
        return settings.text
    if settings.text is not None:
        return settings.text(request, prompt)
    shown = prompt if len(prompt) <= 200 else prompt[:200] + "..."
    return f"This is the simulated answer to: {shown}"


def _cut(text: str, limit: int | None, stops: Iterable[str]) -> tuple[list[str], str]:
    """The words of an answer and TGI's reason for its end; a stop sequence stays in the text."""
    reason = "eos_token"
    for stop in stops:
        place = text.find(stop) if stop else -1
        if place >= 0:
            text, reason = text[: place + len(stop)], "stop_sequence"
    words = _WORDS.findall(text)
    if limit is not None and len(words) > limit:
        return words[:limit], "length"
    return words, reason


def _refused(status: int, body: Body, failure: Failure, headers: dict[str, str]) -> Plan:
    if failure.retry_after is not None:
        headers = headers | retry_after_headers(failure.retry_after)
    if isinstance(body, str):
        head = Head(status, headers | {"content-type": "text/plain; charset=utf-8"})
        return (head, Data(body.encode(), "content"), END)
    return _json(body, headers, status)


def _json(body: Any, headers: dict[str, str], status: int = 200) -> Plan:
    raw = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return (Head(status, headers), Data(raw, "content"), END)


def _router_headers(occasion: Occasion) -> dict[str, str]:
    return {
        "content-type": "application/json; charset=utf-8",
        "x-inference-provider": "novita",
        "x-powered-by": "huggingface-moon",
        "x-request-id": f"Root=1-{occasion.request.number:08x}-{occasion.request.number:024x}",
    }


def _tgi_headers(content_type: str = "application/json") -> dict[str, str]:
    return {"content-type": content_type, "x-compute-type": "1-simulated"}
