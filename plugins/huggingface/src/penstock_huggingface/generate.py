"""
TGI's own API as a codec: `/generate`, `/generate_stream`, and `/` for what an endpoint embeds.

Messages become one prompt (see `prompts.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from penstock.errors import InvalidRequestError
from penstock.http import HttpRequest, HttpResponse
from penstock.messages import ChatRequest, EmbedRequest, ModelsRequest
from penstock.responses import EmbedResponse, Model, ModelsResponse
from penstock_huggingface.chat import EndpointDialect
from penstock_huggingface.faults import refined
from penstock_huggingface.features import feature_payload, vectors_of
from penstock_huggingface.generate_request import generate_payload
from penstock_huggingface.generate_response import generate_response, generated
from penstock_huggingface.generate_stream import GenerateStreamDecoder
from penstock_wire.errors import embedded_error, malformed, response_error, upstream_id
from penstock_wire.faults import carries_error
from penstock_wire.jsonbytes import dumps, loads_bytes

if TYPE_CHECKING:
    from penstock.errors import ProviderError
    from penstock.http import HttpHead
    from penstock.messages import Request
    from penstock.responses import ChatResponse, Response
    from penstock_huggingface.prompts import Prompt


class GenerateCodec:
    """
    A codec for one server.

    Args:
        base_url: origin and path, such as `http://127.0.0.1:8080`.
        headers: sent with every request, the credential among them; names in lower case.
        name: the provider's name, for messages and listed models.
        prompt: makes one text of the messages.
        redact: masks secrets in what the server says.
        think_tags: take a leading `<think>...</think>` out of the text.
        max_event_bytes: how large one event of a stream may be.
    """

    max_inputs = EndpointDialect.MAX_INPUTS

    def __init__(
        self,
        *,
        base_url: str,
        headers: Mapping[str, str],
        name: str,
        prompt: Prompt,
        redact: Callable[[str], str],
        think_tags: bool,
        max_event_bytes: int,
    ) -> None:
        self.base_url = base_url
        self.name = name
        self._prompt = prompt
        self._redact = redact
        self._think_tags = think_tags
        self._max_event_bytes = max_event_bytes
        self._get_headers = {"accept": "application/json", **headers}
        self._headers = {"accept": "application/json", "content-type": "application/json", **headers}
        self._stream_headers = {**self._headers, "accept": "text/event-stream"}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} at {self.base_url}>"

    def encode(self, request: Request, model: str) -> HttpRequest:
        """The HTTP request; raises InvalidRequestError for what the API cannot express."""
        if isinstance(request, ModelsRequest):
            return HttpRequest("GET", f"{self.base_url}/info", dict(self._get_headers))
        if isinstance(request, ChatRequest):
            path = "/generate_stream" if request.stream else "/generate"
            payload = generate_payload(request, model, self._prompt(request.messages))
        else:
            path, payload = "/", feature_payload(request)
        try:
            body = dumps(payload)
        except (TypeError, ValueError) as error:
            # The text of these names a type or a limit, never a value of the request.
            raise InvalidRequestError(f"the request cannot be written as JSON: {error}") from None
        stream = request.stream
        headers = self._stream_headers if stream else self._headers
        return HttpRequest("POST", f"{self.base_url}{path}", dict(headers), body, stream)

    def decode(self, request: Request, response: HttpResponse) -> Response:
        """The answer in a whole 2xx response; raises ProviderError."""
        try:
            payload = loads_bytes(response.body)
        except ValueError:
            raise self._malformed("no JSON", response) from None
        if carries_error(payload):
            raise refined(embedded_error(payload, response, who=self.name, redact=self._redact))
        upstream = upstream_id(response.headers)
        if isinstance(request, ModelsRequest):
            return ModelsResponse(models=(self._served(payload, response),), upstream_id=upstream)
        if isinstance(request, EmbedRequest):
            try:
                vectors = vectors_of(payload, len(request.inputs))
            except ValueError as error:
                raise self._malformed(str(error), response) from None
            return EmbedResponse(vectors=vectors, upstream_id=upstream)
        document = generated(payload)
        if document is None:
            raise self._malformed("no generated_text", response)
        return generate_response(
            document,
            response.headers,
            think_tags=self._think_tags,
            logprobs=bool(request.logprobs),
            upstream_id=upstream,
        )

    def decoder(self, request: Request, head: HttpHead) -> GenerateStreamDecoder:
        """A fresh decoder for one streamed answer."""

        def whole(body: bytes) -> ChatResponse:
            answer: Any = self.decode(request, HttpResponse(head.status, head.headers, head.received, body))
            return answer  # type: ignore[no-any-return]  # only chats stream

        return GenerateStreamDecoder(
            head,
            whole=whole,
            who=self.name,
            redact=self._redact,
            think_tags=self._think_tags,
            logprobs=isinstance(request, ChatRequest) and bool(request.logprobs),
            max_event_bytes=self._max_event_bytes,
        )

    def error(self, response: HttpResponse) -> ProviderError:
        """What a refusal means; never raises."""
        return refined(response_error(response, who=self.name, redact=self._redact))

    def _served(self, info: Any, response: HttpResponse) -> Model:
        """The one model of `/info`."""
        if not isinstance(info, dict) or not isinstance(info.get("model_id"), str):
            raise self._malformed("no model_id", response)
        length = info.get("max_total_tokens", info.get("max_input_length"))
        embeds = "max_total_tokens" not in info and "max_input_length" in info
        return Model(
            id=info["model_id"],
            provider=self.name,
            context_length=length if type(length) is int else None,
            capabilities=frozenset({"embed"} if embeds else {"chat", "stream", "schema"}),
            extra={name: value for name, value in info.items() if name != "model_id"},
        )

    def _malformed(self, reason: str, response: HttpResponse) -> ProviderError:
        return malformed(reason, response.body, response, who=self.name, redact=self._redact)
