"""
Chat in the OpenAI dialect: the router of the Inference Providers, and endpoints of one's own.

The router's embeddings are not below `/v1`: they are the feature-extraction pipeline of the provider
`hf-inference`. Its models list says for each model which providers serve it, how, and at which price.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from penstock.errors import InvalidRequestError, ProviderError
from penstock.http import HttpRequest, HttpResponse
from penstock.messages import EmbedRequest
from penstock.responses import EmbedResponse, ModelsResponse
from penstock_huggingface.faults import refined
from penstock_huggingface.features import feature_payload, vectors_of
from penstock_huggingface.listing import with_providers
from penstock_wire.errors import embedded_error, upstream_id
from penstock_wire.faults import carries_error
from penstock_wire.jsonbytes import dumps, loads_bytes
from penstock_wire.openai import OpenAIDialect

if TYPE_CHECKING:
    from penstock.messages import Request
    from penstock.responses import Response

_POLICIES = frozenset({"", "cheapest", "fastest", "preferred", "hf-inference"})


class EndpointDialect(OpenAIDialect):
    """Any server that speaks the dialect at an address of its own: TGI, an Inference Endpoint."""

    MAX_INPUTS: ClassVar[int | None] = 32  # what text-embeddings-inference takes in one request

    def decode(self, request: Request, response: HttpResponse) -> Response:
        """As the dialect does, with the rules of `faults.py`."""
        try:
            return super().decode(request, response)
        except ProviderError as error:
            raise refined(error) from None

    def error(self, response: HttpResponse) -> ProviderError:
        """As the dialect does, with the rules of `faults.py`."""
        return refined(super().error(response))


class RouterDialect(EndpointDialect):
    """The router; a model's name may end in `:provider`, or in a policy such as `:fastest`."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._pipelines = f"{self.base_url.removesuffix('/v1')}/hf-inference/models/"

    def encode(self, request: Request, model: str) -> HttpRequest:
        """The HTTP request; raises InvalidRequestError for embeddings of another provider."""
        if not isinstance(request, EmbedRequest):
            return super().encode(request, model)
        name, _, provider = model.partition(":")
        if provider not in _POLICIES:
            raise InvalidRequestError(
                f"{self.name}: embeddings come from hf-inference only; leave {':' + provider!r} out",
                param="model",
            )
        try:
            body = dumps(feature_payload(request))
        except (TypeError, ValueError) as error:
            # The text of these names a type or a limit, never a value of the request.
            raise InvalidRequestError(f"the request cannot be written as JSON: {error}") from None
        url = f"{self._pipelines}{quote(name)}/pipeline/feature-extraction"
        return HttpRequest("POST", url, dict(self._headers), body)

    def decode(self, request: Request, response: HttpResponse) -> Response:
        """The answer in a whole 2xx response; raises ProviderError."""
        if isinstance(request, EmbedRequest):
            return self._vectors(request, response)
        answer = super().decode(request, response)
        return with_providers(answer) if isinstance(answer, ModelsResponse) else answer

    def _vectors(self, request: EmbedRequest, response: HttpResponse) -> EmbedResponse:
        try:
            payload = loads_bytes(response.body)
        except ValueError:
            raise self._malformed("no JSON", response) from None
        if carries_error(payload):
            raise refined(embedded_error(payload, response, who=self.name, redact=self._redact))
        try:
            vectors = vectors_of(payload, len(request.inputs))
        except ValueError as error:
            raise self._malformed(str(error), response) from None
        return EmbedResponse(vectors=vectors, upstream_id=upstream_id(response.headers))
