"""
Ollama's native API as a codec: chats, embeddings and the list of models.

URLs and headers are put together once. A key lives only inside the headers: nothing here prints them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from penstock.errors import InvalidRequestError, QuotaExceededError, RateLimitError, StreamInterrupted
from penstock.http import HttpRequest
from penstock.messages import ChatRequest, EmbedRequest, ModelsRequest
from penstock.redaction import Redactor
from penstock.responses import Assembly
from penstock_ollama.details import models_response
from penstock_ollama.request import Defaults, chat_payload, embed_payload
from penstock_ollama.response import chat_response, embed_response
from penstock_ollama.stream import OllamaStreamDecoder
from penstock_wire.errors import embedded_error, malformed, response_error, upstream_id
from penstock_wire.faults import carries_error
from penstock_wire.jsonbytes import dumps, loads_bytes
from penstock_wire.ndjson import MAX_LINE_BYTES
from penstock_wire.openai.think import ThinkSplitter

if TYPE_CHECKING:
    from penstock.errors import ProviderError
    from penstock.http import HttpHead, HttpResponse
    from penstock.messages import Request
    from penstock.responses import ChatResponse, Response

_NO_DEFAULTS = Defaults()


class OllamaCodec:
    """
    A codec for one server; see `penstock.provider.Codec`.

    Args:
        base_url: origin and path, without `/api`.
        headers: sent with every request, the credential among them.
        name: the provider's name, for messages and listed models.
        defaults: what every request says unless it says otherwise itself.
        think_tags: take a leading `<think>...</think>` out of the text.
        redact: masks secrets in what the server says.
        max_event_bytes: how large one line of a stream may be.
    """

    def __init__(
        self,
        *,
        base_url: str,
        headers: Mapping[str, str] | None = None,
        name: str = "ollama",
        defaults: Defaults = _NO_DEFAULTS,
        think_tags: bool = False,
        redact: Callable[[str], str] | None = None,
        max_event_bytes: int = MAX_LINE_BYTES,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.name = name
        self.defaults = defaults
        self._think_tags = think_tags
        self._redact = redact if redact is not None else Redactor()
        self._max_event_bytes = max_event_bytes
        self._chat_url = f"{self.base_url}/api/chat"
        self._embed_url = f"{self.base_url}/api/embed"
        given = {key.lower(): value for key, value in (headers or {}).items()}
        self._headers = {"accept": "application/json", "content-type": "application/json", **given}
        self._stream_headers = {**self._headers, "accept": "application/x-ndjson"}
        self._get_headers = {"accept": "application/json", **given}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} at {self.base_url}>"

    def encode(self, request: Request, model: str) -> HttpRequest:
        """The HTTP request; raises InvalidRequestError for what Ollama or JSON cannot express."""
        if isinstance(request, ChatRequest):
            url, payload = self._chat_url, chat_payload(request, model, self.defaults)
        elif isinstance(request, EmbedRequest):
            url, payload = self._embed_url, embed_payload(request, model, self.defaults)
        elif isinstance(request, ModelsRequest):
            return self.get("tags")
        else:
            raise InvalidRequestError(f"{self.name} cannot send a {type(request).__name__}")
        stream = payload.get("stream") is True
        headers = self._stream_headers if stream else self._headers
        return HttpRequest("POST", url, dict(headers), self._written(payload), stream)

    def get(self, endpoint: str) -> HttpRequest:
        """A request of the rest of the API: `tags`, `ps`, `version`."""
        return HttpRequest("GET", f"{self.base_url}/api/{endpoint}", dict(self._get_headers))

    def post(self, endpoint: str, payload: Mapping[str, Any], *, stream: bool = False) -> HttpRequest:
        """A request of the rest of the API: `show`, `pull`."""
        headers = self._stream_headers if stream else self._headers
        url = f"{self.base_url}/api/{endpoint}"
        return HttpRequest("POST", url, dict(headers), self._written(payload), stream)

    def decode(self, request: Request, response: HttpResponse) -> Response:
        """The answer in a whole 2xx response; raises ProviderError, see `penstock.provider.Codec`."""
        chat = isinstance(request, ChatRequest)
        try:
            payload = self.document(response)
        except ValueError:
            if chat and response.body.lstrip()[:1] == b"{":
                return self._lines(response)
            raise self._malformed(_reason(response.body), response) from None
        upstream = upstream_id(response.headers)
        if chat:
            answer = chat_response(payload, upstream)
            if answer is None:
                raise self._malformed("no message", response)
            if payload.get("done") is False:
                # Only the first line of a stream says so.
                raise StreamInterrupted(
                    f"{self.name}: the answer ended before `done`", partial=answer, status=response.status
                )
            return self._without_tags(answer) if self._think_tags else answer
        try:
            if isinstance(request, EmbedRequest):
                return embed_response(payload, len(request.inputs), upstream)
            return models_response(payload, self.name, upstream)
        except ValueError as error:
            raise self._malformed(str(error), response) from None

    def document(self, response: HttpResponse) -> dict[str, Any]:
        """
        The JSON object in a whole 2xx response of any endpoint.

        Raises:
            ProviderError: it says that something went wrong, or is no object.
            ValueError: it is no JSON document.
        """
        payload = loads_bytes(response.body)
        if carries_error(payload):
            raise embedded_error(payload, response, who=self.name, redact=self._redact)
        if not isinstance(payload, dict):
            raise self._malformed("JSON that is no object", response)
        return payload

    def decoder(self, request: Request, head: HttpHead) -> OllamaStreamDecoder:
        """A fresh decoder for one streamed chat."""
        return OllamaStreamDecoder(
            head,
            who=self.name,
            redact=self._redact,
            think_tags=self._think_tags,
            max_line_bytes=self._max_event_bytes,
        )

    def error(self, response: HttpResponse) -> ProviderError:
        """What a refusal means; never raises."""
        error = response_error(response, who=self.name, redact=self._redact)
        if type(error) is RateLimitError and "usage limit" in str(error) and error.retry_after is None:
            # ollama.com: the hours of a plan are used up, which no wait of a call outlasts.
            return QuotaExceededError(
                str(error), status=error.status, code=error.code, upstream_id=error.upstream_id
            )
        return error

    def embedded(self, payload: Any, head: HttpHead) -> ProviderError:
        """What an error inside a 200 means; never raises."""
        return embedded_error(payload, head, who=self.name, redact=self._redact)

    def malformed(self, response: HttpResponse) -> ProviderError:
        """The error for a body that `document` could not read."""
        return self._malformed(_reason(response.body), response)

    def _lines(self, response: HttpResponse) -> ChatResponse:
        """A stream that came as one document: a proxy collected it, or did not pass `stream: false` on."""
        decoder, assembly = self.decoder(_ANY, response), Assembly()
        for chunk in decoder.feed(response.body):
            assembly.add(chunk)
        for chunk in decoder.close():
            assembly.add(chunk)
        assembly.model = decoder.model
        assembly.extra = decoder.extra
        return assembly.response(upstream_id(response.headers))

    @staticmethod
    def _without_tags(answer: ChatResponse) -> ChatResponse:
        import dataclasses

        (choice,) = answer.choices
        if choice.reasoning:
            return answer
        splitter = ThinkSplitter()
        (text, reasoning), (more_text, more_reasoning) = splitter.feed(choice.text), splitter.flush()
        choice = dataclasses.replace(choice, text=text + more_text, reasoning=reasoning + more_reasoning)
        return dataclasses.replace(answer, choices=(choice,))

    @staticmethod
    def _written(payload: Mapping[str, Any]) -> bytes:
        try:
            return dumps(payload)
        except (TypeError, ValueError) as error:
            # The text of these names a type or a limit, never a value of the request.
            raise InvalidRequestError(f"the request cannot be written as JSON: {error}") from None

    def _malformed(self, reason: str, response: HttpResponse) -> ProviderError:
        return malformed(reason, response.body, response, who=self.name, redact=self._redact)


_ANY = ChatRequest(model="", messages=())


def _reason(body: bytes) -> str:
    start = body[:512].lstrip()
    if not start:
        return "an empty body"
    return "HTML instead of JSON" if start[:1] == b"<" else "broken JSON"
