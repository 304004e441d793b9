"""
The Ollama dialect of the simulator: the native API, without I/O.

Like the real server it streams unless it is told not to, cuts a prompt that does not fit its window
without a word, and leaves out counts of zero. Everything is derived from the request and its number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from penstock_testkit.failure import Failure, retry_after_headers
from penstock_testkit.ollama_chat import Said, document, lines, prompt_words, speak
from penstock_testkit.ollama_errors import body_failure, key_failure, refusal
from penstock_testkit.openai import embedding
from penstock_testkit.plan import END, Data, Head

if TYPE_CHECKING:
    from penstock_testkit.dialect import Occasion
    from penstock_testkit.plan import Plan
    from penstock_testkit.received import ReceivedRequest

_DEFAULT_MODELS = ("llama3.2:3b", "nomic-embed-text:latest")
_LAYER = 1_000_000
_JSON = "application/json; charset=utf-8"
_LINES = "application/x-ndjson"


class OllamaDialect:
    """
    Ollama as it answers on `/api`; see `Dialect` for the methods.

    Args:
        context_length: the window every model was made for, in tokens; tokens are words.
        window: the window a request without `num_ctx` gets.
        capabilities: Ollama's words for what every model can do.
        version: of the server.
        tool_ids: whether tool calls have ids, as they do since 0.12.10.
    """

    name = "ollama"
    keep_alive = b"\n"

    def __init__(
        self,
        *,
        context_length: int = 131_072,
        window: int = 4096,
        capabilities: Iterable[str] = ("completion", "tools", "vision", "thinking"),
        version: str = "0.12.11",
        tool_ids: bool = True,
    ) -> None:
        self.context_length = context_length
        self.window = window
        self.capabilities = frozenset(capabilities)
        self.version = version
        self.tool_ids = tool_ids

    def claims(self, request: ReceivedRequest) -> bool:
        return request.path == "/" or request.path.startswith("/api/")

    def answer(self, occasion: Occasion, text: str | None = None) -> Plan:
        request, settings = occasion.request, occasion.settings
        if settings.api_key is not None:
            failure = key_failure(request, settings.api_key)
            if failure is not None:
                return self.failure(failure, occasion)
        get = {"/": self._root, "/api/tags": self._tags, "/api/ps": self._ps, "/api/version": self._version}
        post = {
            "/api/chat": self._spoken,
            "/api/generate": self._spoken,
            "/api/embed": self._embed,
            "/api/show": self._show,
            "/api/pull": self._pull,
        }
        if request.path in get:
            if request.method not in ("GET", "HEAD"):
                return self.failure(Failure(kind="method_not_allowed"), occasion)
            return get[request.path](occasion)
        if request.path not in post:
            return self.failure(Failure(kind="not_found"), occasion)
        if request.method != "POST":
            return self.failure(Failure(kind="method_not_allowed"), occasion)
        failure = body_failure(request.json, request.path, self.capabilities)
        models = settings.models
        if failure is None and models is not None and request.model not in models:
            if request.path == "/api/pull":
                failure = Failure(kind="server_error", message="pull model manifest: file does not exist")
            else:
                failure = Failure(kind="model_not_found")
        if failure is None and occasion.reading.wait is not None:
            failure = Failure(kind="rate_limit", retry_after=occasion.reading.wait)
        if failure is not None:
            return self.failure(failure, occasion)
        return post[request.path](occasion, text)

    def failure(self, failure: Failure, occasion: Occasion) -> Plan:
        status, body = refusal(failure, occasion.request)
        headers = {"content-type": "text/plain" if isinstance(body, str) else _JSON}
        if failure.retry_after is not None:
            headers |= retry_after_headers(failure.retry_after)
        raw = body if isinstance(body, str) else json.dumps(body)
        return (Head(status, headers), Data(raw.encode(), "content"), END)

    def error_event(self, failure: Failure, occasion: Occasion) -> Data:
        _, body = refusal(failure, occasion.request)
        message = body if isinstance(body, str) else body["error"]
        return Data(json.dumps({"error": message}).encode() + b"\n")

    def _spoken(self, occasion: Occasion, text: str | None) -> Plan:
        request, fields = occasion.request, occasion.request.json
        streamed = fields.get("stream") is not False
        if not (fields.get("messages") or fields.get("prompt")):
            # An empty request loads the model, or unloads it.
            reason = "unload" if fields.get("keep_alive") == 0 else "load"
            said = Said(text="", calls=[], done_reason=reason, prompt=0, output=0)
        else:
            options = fields.get("options") or {}
            window = min(options.get("num_ctx") or self.window, self.context_length)
            if fields.get("truncate") is False and prompt_words(fields) > window:
                return self.failure(Failure(kind="context_length"), occasion)
            try:
                said = speak(request, occasion.settings, text)
            except ValueError as error:
                return self.failure(Failure(kind="server_error", message=f"format: {error}"), occasion)
            said = replace(said, prompt=min(said.prompt, window))
        if streamed and said.done_reason not in ("load", "unload"):
            pieces = lines(request, said, ids=self.tool_ids)
            return (Head(200, {"content-type": _LINES}, "chunked"), *pieces, END)
        return (Head(200, {"content-type": _JSON}), document(request, said, ids=self.tool_ids), END)

    def _embed(self, occasion: Occasion, text: str | None) -> Plan:
        fields = occasion.request.json
        inputs = fields.get("input") or []
        inputs = [inputs] if isinstance(inputs, str) else inputs
        dimensions = fields.get("dimensions") or occasion.settings.dimensions
        longest = max((len(each.split()) for each in inputs), default=0)
        if fields.get("truncate") is False and longest > self.context_length:
            return self.failure(Failure(kind="context_length"), occasion)
        body = {
            "model": occasion.request.model,
            "embeddings": [list(embedding(each, dimensions)) for each in inputs],
            "total_duration": 3_000_000,
            "load_duration": 1_000_000,
            "prompt_eval_count": sum(len(each.split()) for each in inputs),
        }
        return _plain(body)

    def _show(self, occasion: Occasion, text: str | None) -> Plan:
        body = {
            "modelfile": "# Modelfile of a simulated model\n",
            "parameters": 'stop                           "<|eot|>"',
            "template": "{{ .Prompt }}",
            "details": _details(),
            "model_info": {
                "general.architecture": "llama",
                "general.parameter_count": 3_212_749_888,
                "llama.context_length": self.context_length,
                "llama.embedding_length": occasion.settings.dimensions,
            },
            "capabilities": sorted(self.capabilities),
            "modified_at": "2026-01-01T00:00:00Z",
        }
        return _plain(body)

    def _pull(self, occasion: Occasion, text: str | None) -> Plan:
        digest = f"sha256:{occasion.request.number:064x}"
        layer = {"status": f"pulling {digest[7:19]}", "digest": digest, "total": _LAYER}
        told: list[dict[str, Any]] = [{"status": "pulling manifest"}]
        told += [{**layer, "completed": _LAYER * tenths // 10} for tenths in range(1, 11)]
        told += [{"status": "verifying sha256 digest"}, {"status": "writing manifest"}]
        if occasion.request.json.get("stream") is False:
            return _plain({"status": "success"})
        pieces = [Data(json.dumps(each).encode() + b"\n", "content") for each in told]
        last = Data(b'{"status": "success"}\n', "finish")
        return (Head(200, {"content-type": _LINES}, "chunked"), *pieces, last, END)

    def _root(self, occasion: Occasion) -> Plan:
        head = Head(200, {"content-type": "text/plain; charset=utf-8"})
        return (head, Data(b"Ollama is running", "content"), END)

    def _version(self, occasion: Occasion) -> Plan:
        return _plain({"version": self.version})

    def _tags(self, occasion: Occasion) -> Plan:
        models = [
            {
                "name": name,
                "model": name,
                "modified_at": "2026-01-01T00:00:00Z",
                "size": 2_019_393_189,
                "digest": f"{number:064x}",
                "details": _details(),
            }
            for number, name in enumerate(occasion.settings.models or _DEFAULT_MODELS)
        ]
        return _plain({"models": models})

    def _ps(self, occasion: Occasion) -> Plan:
        name = (occasion.settings.models or _DEFAULT_MODELS)[0]
        loaded = {
            "name": name,
            "model": name,
            "size": 3_155_000_000,
            "digest": f"{0:064x}",
            "details": _details(),
            "expires_at": "2026-01-01T00:05:00Z",
            "size_vram": 0,
            "context_length": self.window,
        }
        return _plain({"models": [loaded]})


def _details() -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": "llama",
        "families": ["llama"],
        "parameter_size": "3.2B",
        "quantization_level": "Q4_K_M",
    }


def _plain(body: dict[str, Any]) -> Plan:
    return (Head(200, {"content-type": _JSON}), Data(json.dumps(body).encode(), "content"), END)
