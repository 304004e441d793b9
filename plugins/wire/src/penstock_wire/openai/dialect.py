"""
The OpenAI dialect as a codec: what OpenAI and every compatible server speak.

Configured by data alone: URL, headers, paths, quirks. URLs and headers are put together once, when the
dialect is made. A key lives only inside those headers: nothing here prints them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from penstock.errors import InvalidRequestError
from penstock.frozen import dataclass
from penstock.http import HttpRequest, HttpResponse
from penstock.messages import ChatRequest, EmbedRequest, ModelsRequest
from penstock.redaction import Redactor
from penstock.responses import Assembly
from penstock_wire.errors import embedded_error, malformed, response_error, upstream_id
from penstock_wire.faults import carries_error
from penstock_wire.headers import RateLimits, rate_limits
from penstock_wire.jsonbytes import dumps, dumps_plain, loads_bytes
from penstock_wire.openai.embeddings import embed_response
from penstock_wire.openai.models import models_response
from penstock_wire.openai.quirks import Quirks
from penstock_wire.openai.request import chat_payload, embed_payload, is_plain
from penstock_wire.openai.response import chat_response
from penstock_wire.openai.stream import ChatStreamDecoder
from penstock_wire.sse import MAX_EVENT_BYTES

if TYPE_CHECKING:
    from penstock.errors import ProviderError
    from penstock.http import HttpHead
    from penstock.messages import Request
    from penstock.responses import ChatResponse, Response
    from penstock_wire.openai.framing import FramedDecoder

_DEFAULT_QUIRKS = Quirks()
_EVENTS = (b"data:", b"event:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where the endpoints are, below the base URL; `{model}` stands for the model's name."""

    chat: str = "/chat/completions"
    responses: str = "/responses"
    embeddings: str = "/embeddings"
    models: str = "/models"


_DEFAULT_PATHS = Paths()


class OpenAIDialect:
    """
    A codec for one server.

    Args:
        base_url: origin and path, such as `https://api.openai.com/v1`; a query in it goes to every URL.
        headers: sent with every request, the credential among them.
        name: the provider's name, for messages and listed models.
        quirks: how the server deviates.
        paths: where its endpoints are.
        redact: masks secrets in what the server says.
        max_event_bytes: how large one event of a stream may be.
    """

    NOTHING = "no choices"
    """What a document that is no answer lacks."""

    def __init__(
        self,
        *,
        base_url: str,
        headers: Mapping[str, str] | None = None,
        name: str = "openai",
        quirks: Quirks = _DEFAULT_QUIRKS,
        paths: Paths = _DEFAULT_PATHS,
        redact: Callable[[str], str] | None = None,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        base, _, query = base_url.partition("?")
        self.base_url = base.rstrip("/")
        self.name = name
        self.quirks = quirks
        self.max_inputs = quirks.max_inputs
        self._redact = redact if redact is not None else Redactor()
        self._max_event_bytes = max_event_bytes
        suffix = f"?{query}" if query else ""
        self._chat_url = f"{self.base_url}{paths.chat}{suffix}"
        self._responses_url = f"{self.base_url}{paths.responses}{suffix}"
        self._embeddings_url = f"{self.base_url}{paths.embeddings}{suffix}"
        self._models_url = f"{self.base_url}{paths.models}{suffix}"
        given = {key.lower(): value for key, value in (headers or {}).items()}
        self._get_headers = {"accept": "application/json", **given}
        self._headers = {"accept": "application/json", "content-type": "application/json", **given}
        self._stream_headers = {**self._headers, "accept": "text/event-stream"}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} at {self.base_url}>"

    def encode(self, request: Request, model: str) -> HttpRequest:
        """The HTTP request; raises InvalidRequestError for what JSON cannot hold."""
        write = dumps
        if isinstance(request, ChatRequest):
            url, payload = self._chat_form(request, model)
            if is_plain(request):
                write = dumps_plain
        elif isinstance(request, EmbedRequest):
            url, payload = self._embeddings_url, embed_payload(request, model, self.quirks)
        elif isinstance(request, ModelsRequest):
            return HttpRequest("GET", self._models_url, dict(self._get_headers))
        else:
            raise InvalidRequestError(f"{self.name} cannot send a {type(request).__name__}")
        try:
            body = write(payload)
        except (TypeError, ValueError) as error:
            # The text of these names a type or a limit, never a value of the request.
            raise InvalidRequestError(f"the request cannot be written as JSON: {error}") from None
        if "{model}" in url:
            url = url.replace("{model}", quote(model, safe=""))
        stream = request.stream
        return HttpRequest("POST", url, dict(self._stream_headers if stream else self._headers), body, stream)

    def decode(self, request: Request, response: HttpResponse) -> Response:
        """The answer in a whole 2xx response; raises ProviderError, see `penstock.provider.Codec`."""
        try:
            payload = loads_bytes(response.body)
        except ValueError:
            if isinstance(request, ChatRequest) and response.body[:64].lstrip().startswith(_EVENTS):
                return self._assembled(request, response)
            raise self._malformed(_reason(response.body), response) from None
        if self._is_error(payload):
            raise embedded_error(payload, response, who=self.name, redact=self._redact)
        upstream = upstream_id(response.headers)
        if isinstance(request, ModelsRequest):
            models = models_response(payload, self.name, upstream)
            if models is None:
                raise self._malformed("no list of models", response)
            return models
        if not isinstance(payload, dict):
            raise self._malformed("JSON that is no object", response)
        if isinstance(request, EmbedRequest):
            try:
                return embed_response(payload, request, upstream)
            except ValueError as error:
                raise self._malformed(str(error), response) from None
        answer = self._chat_answer(payload, upstream)
        if answer is None:
            raise self._malformed(self.NOTHING, response)
        return answer

    def decoder(self, request: Request, head: HttpHead) -> FramedDecoder:
        """A fresh decoder for one streamed answer."""
        return ChatStreamDecoder(head, quirks=self.quirks, **self._stream_form(request, head))

    def _is_error(self, payload: Any) -> bool:
        """Whether a document in a 200 is an error."""
        return carries_error(payload)

    def _chat_form(self, request: ChatRequest, model: str) -> tuple[str, dict[str, Any]]:
        """The URL and the body of a chat."""
        return self._chat_url, chat_payload(request, model, self.quirks)

    def _chat_answer(self, payload: dict[str, Any], upstream: str | None) -> ChatResponse | None:
        """The answer in a whole document, None when it is none."""
        return chat_response(payload, self.quirks, upstream)

    def _stream_form(self, request: Request, head: HttpHead) -> dict[str, Any]:
        """What every decoder of a stream is given."""

        def whole(body: bytes) -> ChatResponse:
            answer: Any = self.decode(request, HttpResponse(head.status, head.headers, head.received, body))
            return answer  # type: ignore[no-any-return]  # only chats stream

        return {
            "whole": whole,
            "who": self.name,
            "redact": self._redact,
            "max_event_bytes": self._max_event_bytes,
        }

    def _assembled(self, request: ChatRequest, response: HttpResponse) -> ChatResponse:
        """The answer of a server that streams to whoever asks."""
        decoder, assembly = self.decoder(request, response), Assembly()
        for chunk in decoder.feed(response.body):
            assembly.add(chunk)
        for chunk in decoder.close():
            assembly.add(chunk)
        assembly.model, assembly.id, assembly.extra = decoder.model, decoder.id, decoder.extra
        return assembly.response(decoder.upstream_id)

    def error(self, response: HttpResponse) -> ProviderError:
        """What a refusal means; never raises."""
        return response_error(response, who=self.name, redact=self._redact)

    def rate_limits(self, head: HttpHead) -> RateLimits | None:
        """What the head says of the server's own limits, None when it says nothing."""
        return rate_limits(head.headers, head.received)

    def _malformed(self, reason: str, response: HttpResponse) -> ProviderError:
        return malformed(reason, response.body, response, who=self.name, redact=self._redact)


def _reason(body: bytes) -> str:
    start = body[:512].lstrip()
    if not start:
        return "an empty body"
    return "HTML instead of JSON" if start[:1] == b"<" else "broken JSON"
