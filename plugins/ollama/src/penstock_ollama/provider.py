"""
The provider: a codec over the transport, the look at a model before a long prompt, and the server's own API.

Rules
1. An attempt is exactly one request to `/api/chat` or `/api/embed`. A chat whose prompt may not fit the
   smallest window, or with images, is preceded, once for each model and `details_ttl`, by one request to
   `/api/show`, which is no attempt: it is not retried, no listener hears of it, and when it fails the chat
   goes on without.
2. With `preflight = false` there is no look, nor for the window of a chat that brings its own (`num_ctx`).
3. What a call adds to its request is added to a copy: the call itself stays as the stages know it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from penstock.call import Reply
from penstock.errors import InvalidRequestError
from penstock.exchange import CodecProvider
from penstock.messages import ChatRequest, Image
from penstock.redaction import Unpicklable
from penstock.responses import Model, ModelsResponse
from penstock.runtime import drive
from penstock.tokens import estimate_input
from penstock_ollama import window
from penstock_ollama.catalogue import Catalogue
from penstock_ollama.codec import OllamaCodec
from penstock_ollama.request import Defaults, option
from penstock_ollama.server import OllamaServer
from penstock_wire.credentials import checked_headers, usable_key

if TYPE_CHECKING:
    from penstock.call import Call
    from penstock.runtime import Runtime
    from penstock.specs import Services
    from penstock_ollama.config import OllamaConfig
    from penstock_ollama.details import ModelDetails
    from penstock_ollama.server import PullProgress

T = TypeVar("T")

TOKEN_FACTOR = 1.08
"""Tokens per character of the models Ollama runs, compared to OpenAI's (0.27 to 0.25)."""
LOOK_SECONDS = 5.0
"""How long a call waits for the details of its model."""
ASK_SECONDS = 30.0
"""How long the methods below wait for an answer."""
PULL_IDLE_SECONDS = 600.0
"""How long a download may say nothing: the check of a large layer takes minutes."""


def _as_model(name: str, details: ModelDetails) -> Model:
    return Model(name, context_length=details.context_length, capabilities=details.capabilities)


class OllamaProvider(Unpicklable):
    """
    One Ollama server.

    The methods `show`, `ps`, `version`, `health` and `pull` have the colour of the client: with `Client` they
    give their value, and `pull` an iterator; with the others an awaitable, and an asynchronous iterator.

    Args:
        codec: the native API.
        runtime: of the client, for those methods.
        preflight: look at models and windows before long prompts.
        details_ttl: seconds the details of a model are remembered.
        max_bytes: decompressed bytes one answer may have.

    Attributes:
        native: the codec behind the attempts. Not called `codec`, because `client.provider` would give that
            instead of the provider, which is what callers want here.
    """

    def __init__(
        self,
        codec: OllamaCodec,
        runtime: Runtime,
        *,
        preflight: bool = True,
        details_ttl: float = 300.0,
        max_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self.native = codec
        self.base_url = codec.base_url
        self._runtime = runtime
        self._exchange = CodecProvider(codec, max_bytes=max_bytes)
        self._server = OllamaServer(codec, max_bytes=max_bytes)
        self._catalogue = Catalogue(ttl=details_ttl)
        self._preflight = preflight

    def __repr__(self) -> str:
        return f"<OllamaProvider {self.native.name!r} at {self.base_url}>"

    # Calls

    async def send(self, call: Call) -> Reply:
        """
        Make one attempt; see the rules above.

        Raises:
            ContextLengthError: the prompt cannot fit the window; nothing was sent.
            InvalidRequestError: the model would not see the images; nothing was sent.
        """
        request = call.request
        if isinstance(request, ChatRequest):
            if self._preflight:
                await self._refuse_blind(call, request)
                num_ctx = await self._window(call, request)
                if num_ctx is not None:
                    call = _with_window(call, request, num_ctx)
            return await self._exchange.send(call)
        reply = await self._exchange.send(call)
        if isinstance(reply.response, ModelsResponse):
            models = tuple(map(self._described, reply.response.models))
            return Reply(replace(reply.response, models=models))
        return reply

    async def _window(self, call: Call, request: ChatRequest) -> int | None:
        """The window to ask for, None to leave it; refuses a prompt that cannot fit."""
        tokens = estimate_input(request, TOKEN_FACTOR)
        given = option(request, "num_ctx") or self.native.defaults.num_ctx
        if type(given) is int and given > 0:
            window.refuse_beyond(tokens, given, call.target)
            return None
        model = call.target.model  # type: ignore[union-attr]  # set by now
        answer = option(request, "num_predict")
        answer = answer if type(answer) is int else request.max_tokens
        before = self._catalogue.window(model)
        if before is None and tokens <= window.SMALLEST:
            return None
        if before is not None and window.needed(tokens, answer) <= before:
            return before
        details = await self._look(call, model)
        limit = details.context_length if details is not None else None
        if limit is not None:
            window.refuse_beyond(tokens, limit, call.target)
        # Without details a window is asked for all the same: the server takes it down to what the model has.
        usual = (details.num_ctx if details is not None else None) or window.USUAL
        wanted = window.enlarged(tokens, answer, before=before, limit=limit, usual=usual)
        return None if wanted is None else self._catalogue.enlarge(model, wanted)

    async def _look(self, call: Call, model: str) -> ModelDetails | None:
        """What `/api/show` says of a model, within a few seconds of the call's time."""
        runtime = call.runtime
        if not self._catalogue.fresh(model, runtime.now()):
            # What cannot be said in Ollama's form is refused before the server is asked anything.
            self.native.encode(call.request, model)
        due = min(call.deadline, runtime.now() + LOOK_SECONDS)

        async def look(name: str) -> ModelDetails:
            return await self._server.show(runtime, name, due)

        return await self._catalogue.details(model, look, runtime, due)

    async def _refuse_blind(self, call: Call, request: ChatRequest) -> None:
        """Refuse images that the model would not see: the server leaves them out without a word."""
        if not any(
            isinstance(part, Image)
            for message in request.messages
            if message.content.__class__ is tuple
            for part in message.content or ()
        ):
            return
        details = await self._look(call, call.target.model)  # type: ignore[union-attr]  # set by now
        if details is not None and details.capabilities is not None and "vision" not in details.capabilities:
            raise InvalidRequestError(
                f"{call.target} sees no images; nothing was sent (with preflight = false Ollama would ignore "
                "them silently)",
                param="messages",
            )

    def _described(self, model: Model) -> Model:
        """A listed model with what is remembered of it; a list alone costs no further request."""
        known = self.known_model(model.id)
        if known is None:
            return model
        return replace(model, context_length=known.context_length, capabilities=known.capabilities)

    def known_model(self, model: str) -> Model | None:
        """What is remembered of a model, without asking; None where nothing is."""
        details = self._catalogue.known(model)
        return None if details is None else _as_model(model, details)

    async def look_up(self, model: str, due: float) -> Model | None:
        """What `/api/show` says of a model, remembered for a while; None when it did not answer in time."""

        async def look(name: str) -> ModelDetails:
            return await self._server.show(self._runtime, name, due)

        details = await self._catalogue.details(model, look, self._runtime, due)
        return None if details is None else _as_model(model, details)

    # The server's own API

    def show(self, model: str, *, timeout: float = ASK_SECONDS) -> Any:
        """
        `ModelDetails` of a model, fresh from the server.

        Args:
            model: its name.
            timeout: seconds, as for the other methods.

        Raises:
            CallError: the server does not know it, or did not answer.
        """
        return self._coloured(self._server.show(self._runtime, model, self._due(timeout)))

    def ps(self, *, timeout: float = ASK_SECONDS) -> Any:
        """The models in memory, a tuple of `LoadedModel`; raises CallError."""
        return self._coloured(self._server.ps(self._runtime, self._due(timeout)))

    def version(self, *, timeout: float = ASK_SECONDS) -> Any:
        """The server's version as text; raises CallError."""
        return self._coloured(self._server.version(self._runtime, self._due(timeout)))

    def health(self, *, timeout: float = ASK_SECONDS) -> Any:
        """The server's `Health`; a server that is down does not raise."""
        return self._coloured(self._server.health(self._runtime, self._due(timeout)))

    def pull(self, model: str, *, idle: float = PULL_IDLE_SECONDS) -> Any:
        """
        Download a model; an iterator of `PullProgress`, which must be read to its end or closed.

        Args:
            model: its name in the library.
            idle: seconds without progress after which the download counts as stuck.

        Raises:
            CallError: while iterating: the server refused, failed, or stopped before `success`.
        """
        events = self._server.pull(self._runtime, model, idle)
        return _blocking(events) if self._runtime.colour == "blocking" else events

    def _due(self, timeout: float) -> float:
        return self._runtime.now() + timeout

    def _coloured(self, coroutine: Coroutine[Any, Any, T]) -> T | Coroutine[Any, Any, T]:
        return drive(coroutine) if self._runtime.colour == "blocking" else coroutine


def _with_window(call: Call, request: ChatRequest, num_ctx: int) -> Call:
    assert call.target is not None  # noqa: S101  (for the type checker)
    nested = request.extra.get("options")
    options = {**(nested if isinstance(nested, Mapping) else {}), "num_ctx": num_ctx}
    copy = call.towards(call.target)
    copy.attempt = call.attempt
    copy.request = replace(request, extra={**request.extra, "options": options})
    return copy


def _blocking(events: AsyncGenerator[PullProgress]) -> Iterator[PullProgress]:
    try:
        while True:
            try:
                event = drive(_next(events))
            except _Over:
                return
            yield event
    finally:
        drive(events.aclose())


class _Over(Exception):
    """The end of an asynchronous iterator, in a form a coroutine may raise."""


async def _next(events: AsyncGenerator[PullProgress]) -> PullProgress:
    async for event in events:
        return event
    raise _Over


def create(config: OllamaConfig, services: Services) -> OllamaProvider:
    """
    The provider of one instance.

    Raises:
        ConfigError: the key or a header cannot be used.
    """
    codec = OllamaCodec(
        base_url=config.base_url,
        headers=_headers(config, services),
        name=services.name,
        defaults=Defaults(
            keep_alive=config.keep_alive,
            num_ctx=config.num_ctx,
            think=config.think,
            refuse_overflow=config.preflight,
        ),
        think_tags=config.think_tags,
        redact=services.redactor,
        max_event_bytes=config.max_event_bytes,
    )
    return OllamaProvider(
        codec,
        services.runtime,
        preflight=config.preflight,
        details_ttl=config.details_ttl,
        max_bytes=config.max_response_bytes,
    )


def _headers(config: OllamaConfig, services: Services) -> dict[str, str]:
    """The credential and further headers, checked; no message quotes a value, it could be the key."""
    name = services.name
    headers: dict[str, str] = {}
    key = usable_key(config.api_key, name, services.redactor)
    if key:
        headers["authorization"] = f"Bearer {key}"
    return checked_headers(headers, config.headers, name)
