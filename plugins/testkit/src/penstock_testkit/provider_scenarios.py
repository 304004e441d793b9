"""
What the provider suites are made of: a subject, a simulated upstream without sockets, and ways to read.

The codec's request is handed to the simulator's dialect, and the bytes of its answer to the codec, so a whole
exchange happens in memory and can be cut anywhere. Clients of the three colours stand on a clock that only
sleeping moves.
"""

# ruff: noqa: S101 - these are tests, shipped in a package

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pytest
from pydantic import BaseModel, SecretStr

from penstock import AsyncClient, Client, SimulatedClient, hookimpl
from penstock.asynchronous import AsyncioRuntime
from penstock.errors import ProviderError
from penstock.http import HttpHead, HttpResponse
from penstock.messages import ChatRequest, EmbedRequest, Message, ModelsRequest, Tool
from penstock.provider import Codec, Provider, StreamDecoder
from penstock.responses import Assembly, ChatResponse, Chunk, Response
from penstock.runtime import BlockingRuntime
from penstock.simulated import SimulatedRuntime
from penstock.specs import ProviderSpec
from penstock.testing import ManualClock
from penstock_testkit.dialect import Dialect
from penstock_testkit.faults import Fault
from penstock_testkit.openai import OpenAIDialect
from penstock_testkit.plan import Data, Plan, body_of, head_of
from penstock_testkit.simulator import Simulator
from penstock_testkit.standard import StandardTests
from penstock_testkit.virtual import EPOCH, SimulatedTransport

SECRET = "sk-conformance-0123456789abcdef"  # noqa: S105  # a bait, not a password
INSTANCE = "subject"
"""The name of the instance in a client's configuration."""
TEXT = "One two three four five six."
UNICODE = "\u2028né\u0085 \U0001f469\u200d\U0001f680 \u4f60\u597d \ufeff\u202e end"
"""Line separators that are text, a character of several code points, and one that no Latin script has."""
TOOLS = (
    Tool("get_weather", "The weather.", {"type": "object", "properties": {"city": {"type": "string"}}}),
    Tool("get_time", "The time.", {"type": "object", "properties": {"zone": {"type": "string"}}}),
)
Colour = Literal["blocking", "async", "simulated"]
COLOURS: tuple[Colour, ...] = ("blocking", "async", "simulated")
EMPTY_HEADERS: Mapping[str, str] = {"content-type": "application/json"}


@dataclass(frozen=True)
class Read:
    """
    A stream that was read to its end.

    Args:
        chunks: what came out of it.
        response: what they amount to.
        error: what ended it, or None.
        decoder: who decoded it.
    """

    chunks: list[Chunk]
    response: ChatResponse
    error: ProviderError | None
    decoder: StreamDecoder


class ProviderScenarios(StandardTests, standard=True):
    """What the suites share; the attributes describe the subject."""

    spec: ClassVar[ProviderSpec]
    """What the plugin registers."""
    dialect: ClassVar[Dialect] = OpenAIDialect()
    """How the simulator answers it."""
    config: ClassVar[Mapping[str, Any]] = {}
    """Values of its configuration, on top of a base URL and a key."""
    base_url: ClassVar[str] = "http://simulator.test/v1"
    """Where the dialect is spoken."""
    model: ClassVar[str] = "test-model"
    """A name the provider sends as it is."""
    errors: ClassVar[Mapping[str, type[ProviderError]]] = {}
    """Classes of error for kinds of failure, where this provider's own words mean another."""

    lacks: ClassVar[Mapping[str, str]] = {}
    """What the spec promises and this configuration cannot do, each with its reason."""
    granted: ClassVar[Mapping[str, str]] = {}
    """Parameters that change nothing because what they ask for always happens, each with its reason."""

    # The subject

    @property
    def values(self) -> dict[str, Any]:
        """The configuration in full: an address and a key where the subject has fields for them."""
        known = self.spec.config.model_fields
        given = {"base_url": self.base_url, "api_key": SECRET}
        return {name: value for name, value in given.items() if name in known} | dict(self.config)

    def settings(self) -> BaseModel:
        """The validated configuration."""
        return self.spec.config.model_validate(self.values)

    def make(self) -> Codec | Provider:
        """A fresh subject, made by a client as for a user."""
        world = World(self, "blocking")
        try:
            made: Codec | Provider = world.client.provider(INSTANCE)
            return made
        finally:
            world.close()

    def codec(self) -> Codec:
        """The subject's codec, its own or the one it wraps (`codec`, `native`); skips when it has none."""
        made: Any = self.make()
        for found in (made, getattr(made, "codec", None), getattr(made, "native", None)):
            if isinstance(found, Codec):
                return found
        pytest.skip(f"{self.spec.name} sends by itself: there is no codec to test")

    def can(self, capability: str) -> bool:
        """Whether the subject promises this."""
        return capability in self.spec.capabilities and capability not in self.lacks

    def needs(self, capability: str) -> None:
        """Skip what the subject does not promise."""
        if capability in self.lacks:
            pytest.skip(f"no {capability}: {self.lacks[capability]}")
        if capability not in self.spec.capabilities:
            pytest.skip(f"the spec of {self.spec.name!r} does not promise {capability!r}")

    # Requests

    def chat(self, text: str = "Hello", *, stream: bool = False, **fields: Any) -> ChatRequest:
        """A chat about one text."""
        fields.setdefault("messages", (Message("user", text),))
        return ChatRequest(model=f"{INSTANCE}/{self.model}", stream=stream, **fields)

    def embedding(self, *inputs: str) -> EmbedRequest:
        return EmbedRequest(model=f"{INSTANCE}/{self.model}", inputs=inputs)

    # Exchanges in memory

    def exchange(
        self,
        codec: Codec,
        request: ChatRequest | EmbedRequest | ModelsRequest,
        *faults: Fault,
        text: str | None = TEXT,
        change: Callable[[Plan], Plan] | None = None,
    ) -> tuple[HttpHead, list[bytes]]:
        """
        The simulated answer to what the codec sends: its head, and its body in the pieces it comes in.

        Args:
            change: a last change of the plan.
        """
        sent = codec.encode(request, self.model)
        _, _, rest = sent.url.partition("://")
        simulator = Simulator(faults, text=text, dialects=[self.dialect])
        plan = simulator.receive(
            method=sent.method,
            target="/" + rest.partition("/")[2],
            headers={name.lower(): value for name, value in sent.headers.items()},
            body=sent.body or b"",
            at=0.0,
            wall=EPOCH,
        )
        if change is not None:
            plan = change(plan)
        head = head_of(plan)
        assert head is not None, "the fault leaves no answer"
        pieces = [step.data for step in plan if isinstance(step, Data)] or [body_of(plan)]
        headers = {name.lower(): value for name, value in head.headers.items()}
        return HttpHead(head.status, headers, EPOCH), pieces

    def ask(
        self,
        request: ChatRequest | EmbedRequest | ModelsRequest,
        *faults: Fault,
        codec: Codec | None = None,
        text: str | None = TEXT,
    ) -> Any:
        """The answer to a plain request; raises what the codec makes of a refusal."""
        codec = codec or self.codec()
        head, pieces = self.exchange(codec, request, *faults, text=text)
        response = HttpResponse(head.status, head.headers, head.received, b"".join(pieces))
        if not 200 <= head.status < 300:
            raise codec.error(response)
        return codec.decode(request, response)

    def read(
        self, request: ChatRequest, head: HttpHead, pieces: Iterable[bytes], codec: Codec | None = None
    ) -> Read:
        """A streamed answer, read from these pieces."""
        decoder = (codec or self.codec()).decoder(request, head)
        assembly, chunks, error = Assembly(), list[Chunk](), None
        try:
            for piece in pieces:
                for chunk in decoder.feed(piece):
                    chunks.append(chunk)
                    assembly.add(chunk)
            for chunk in decoder.close():
                chunks.append(chunk)
                assembly.add(chunk)
        except ProviderError as caught:
            error = caught
        assembly.model, assembly.id, assembly.extra = decoder.model, decoder.id, decoder.extra
        return Read(chunks, assembly.response(decoder.upstream_id), error, decoder)

    def stream(self, request: ChatRequest, *faults: Fault, text: str | None = TEXT) -> Read:
        """A streamed answer in the pieces it comes in."""
        codec = self.codec()
        head, pieces = self.exchange(codec, request, *faults, text=text)
        assert 200 <= head.status < 300
        return self.read(request, head, pieces, codec)


def ways_to_split(pieces: Sequence[bytes], *, seeds: int = 3) -> list[list[bytes]]:
    """A body whole, byte by byte, and cut at random places."""
    body = b"".join(pieces)
    ways = [[body], [body[at : at + 1] for at in range(len(body))]]
    for seed in range(seeds):
        cuts = sorted(random.Random(seed).sample(range(len(body) + 1), min(len(body), 30)))
        ways.append([body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)])
    return ways


def said(response: Response) -> tuple[Any, ...]:
    """What an answer says, without what names this one answer."""
    assert isinstance(response, ChatResponse)
    choices = [
        (
            choice.text,
            choice.reasoning,
            choice.refusal,
            [(call.name, call.arguments) for call in choice.tool_calls],
            choice.finish_reason,
        )
        for choice in response.choices
    ]
    return choices, response.usage, response.model


def secret_fields(config: BaseModel) -> list[str]:
    """The fields that hold one secret."""
    return [name for name in type(config).model_fields if isinstance(getattr(config, name), SecretStr)]


class World:
    """
    A client of one colour with nothing but the subject in it.

    Args:
        suite: who is tested.
        colour: of the client.
        faults: what the simulated upstream does.

    Attributes:
        client: the client.
        simulator: counts what arrived.
        transport: knows what is open.
    """

    def __init__(
        self,
        suite: ProviderScenarios,
        colour: Colour,
        *faults: Fault,
        text: str | None = TEXT,
        **arguments: Any,
    ) -> None:
        self.simulator = Simulator(faults, text=text, dialects=[suite.dialect])
        self.transport = SimulatedTransport(self.simulator)
        self._runner: asyncio.Runner | None = None
        clock = ManualClock()
        dice = random.Random(1).random
        spec = suite.spec
        given = {
            "config": False,
            "environ": {},
            "pipeline": [],
            "plugins": [(spec.name, _Offer(spec))],
            "providers": {INSTANCE: {"plugin": spec.name, **suite.values}},
            **arguments,
        }
        runtime: Any
        if colour == "blocking":
            runtime = BlockingRuntime(self.transport, random=dice, clock=clock.now, sleep=clock.sleep)
            self.client: Any = Client(runtime=runtime, **given)
        elif colour == "async":
            self._runner = asyncio.Runner()
            runtime = AsyncioRuntime(self.transport, random=dice, clock=clock.now, sleep=clock.sleep_async)
            self.client = AsyncClient(runtime=runtime, **given)
        else:
            runtime = SimulatedRuntime(self.transport, seed=1)
            self.client = SimulatedClient(runtime, **given)
        self.transport.runtime = runtime
        self._model = f"{INSTANCE}/{suite.model}"

    def run(self, value: Any) -> Any:
        """A coroutine of this colour, to its end; for blocking, the value itself."""
        if not asyncio.iscoroutine(value):
            return value
        return self._runner.run(value) if self._runner is not None else self.client.run(value)

    def chat(self, messages: Any = "Hello", **parameters: Any) -> Any:
        """One plain call."""
        return self.run(self.client.chat(self._model, messages, **parameters))

    def embed(self, inputs: Any) -> Any:
        """One embedding call."""
        return self.run(self.client.embed(self._model, inputs))

    def stream(self, *, take: int | None = None) -> list[Chunk]:
        """The chunks of one streamed call; at most `take` of them, and the stream is closed."""
        if isinstance(self.client, Client):
            with self.client.stream(self._model, "Hello") as stream:
                return [chunk for _, chunk in zip(range(take or 10**6), stream, strict=False)]

        async def read() -> list[Chunk]:
            chunks: list[Chunk] = []
            async with self.client.stream(self._model, "Hello") as stream:
                async for chunk in stream:
                    chunks.append(chunk)
                    if len(chunks) == take:
                        break
            return chunks

        found: list[Chunk] = self.run(read())
        return found

    def close(self) -> None:
        """Close the client twice; nothing may be left open."""
        self.run(self.client.close())
        self.run(self.client.close())
        if self._runner is not None:
            self._runner.close()
        assert self.transport.open == ()


class _Offer:
    """A plugin that registers one provider."""

    def __init__(self, spec: ProviderSpec) -> None:
        self._spec = spec

    @hookimpl
    def penstock_register_providers(self) -> Sequence[ProviderSpec]:
        return [self._spec]
