"""
The provider contract: a codec of pure functions, or a provider that sends by itself.

A codec does no I/O, knows no colour and no clock, so recorded bytes are a test of it. `exchange.py`
drives it over a transport. A provider that cannot be a codec (a model in this process) implements
`Provider.send` and does its work in `call.runtime.run_blocking`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from penstock.call import Call, Reply
    from penstock.errors import ProviderError
    from penstock.http import HttpHead, HttpRequest, HttpResponse
    from penstock.messages import Request
    from penstock.responses import Chunk, Response


class StreamDecoder(Protocol):
    """
    Turns the bytes of one streamed answer into chunks, however they are split.

    Attributes:
        complete: the terminal marker was seen (a finish reason, `done: true`): the answer is whole.
        ended: nothing more will come (`[DONE]`); reading may stop.
        model: the model that answers, "" until it is known.
        id: the provider's id of the answer, "" until it is known.
        extra: further top-level fields, as in `ChatResponse.extra`.
        upstream_id: the provider's request id, from the head; None without one.
    """

    @property
    def complete(self) -> bool: ...
    @property
    def ended(self) -> bool: ...
    @property
    def model(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def extra(self) -> Mapping[str, Any]: ...
    @property
    def upstream_id(self) -> str | None: ...

    def feed(self, data: bytes) -> Iterable[Chunk]:
        """
        The chunks that became whole with these bytes; may be lazy, and is always exhausted.

        Raises:
            ProviderError: an error event, after the chunks before it were yielded.
        """

    def close(self) -> Iterable[Chunk]:
        """The chunks that only the end of the bytes completes; raises as `feed` does."""


@runtime_checkable
class Codec(Protocol):
    """
    A provider as pure functions.

    Attributes:
        base_url: the configured origin and path; part of breaker and cache keys.

    Optional, found by name: `max_inputs` (how many texts one embedding request takes; more are sent in
    several calls), `rate_limits(head)` (what a response's head says of the provider's own limits).
    """

    base_url: str

    def encode(self, request: Request, model: str) -> HttpRequest:
        """
        The HTTP request for `request`, with the provider's own `model` name.

        Raises:
            InvalidRequestError: the provider cannot express it; names the parameter.
        """

    def decode(self, request: Request, response: HttpResponse) -> Response:
        """
        The answer in a whole 2xx response.

        Raises:
            ProviderError: an error inside a 200, or MalformedResponse.
        """

    def decoder(self, request: Request, head: HttpHead) -> StreamDecoder:
        """A fresh decoder for one streamed answer."""

    def error(self, response: HttpResponse) -> ProviderError:
        """What a response that is not 2xx means; never raises, whatever the body."""


@runtime_checkable
class Provider(Protocol):
    """
    A provider that sends by itself; it must keep the rules of `Reply` and of attempts.

    Optional, found by name, also on a codec: `known_model(name) -> Model | None` (what is known of a model
    without asking), `async look_up(name, due) -> Model | None` (what the server says of it, before the clock
    reads `due`).
    """

    base_url: str

    async def send(self, call: Call) -> Reply:
        """One attempt: a finished reply, or a live one whose first content event has arrived."""
