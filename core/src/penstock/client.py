"""
The three clients: one engine, three ways to wait.

`Client` drives the engine's coroutines to their end in the calling thread; `AsyncClient` awaits them in one
event loop; `SimulatedClient` runs them in virtual time. Everything else is shared.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from penstock.answers import Answer, AsyncStream, Embeddings, Stream
from penstock.call import NEVER
from penstock.errors import UsageError
from penstock.runtime import BlockingRuntime, Event, Runtime, drive
from penstock.surface import Surface

if TYPE_CHECKING:
    from pathlib import Path

    from penstock.call import Call, Reply
    from penstock.events import Listener
    from penstock.http import Transport
    from penstock.responses import Model
    from penstock.simulated import SimulatedRuntime

T = TypeVar("T")


class Client(Surface):
    """
    The blocking client; safe to share between threads, and usable in a forked child.

    Args:
        config: a path, a mapping with the same keys as the file, None to search for `penstock.toml`, or False
            to use none.
        profile: the profile on top, instead of `PENSTOCK_ENV`.
        transport: the name of an installed transport, or a transport object of this colour.
        plugins: plugins handed over in code, as `(name, module or object)`.
        listeners: callables that hear every event.
        runtime: clock, sleep and dice, replaceable for tests; brings its own transport.
        environ: instead of `os.environ`.
        arguments: tables of the configuration, on top of everything: `cache={"ttl": 60}`, `retry=False`.

    Raises:
        ConfigError: names the place, the culprit and the fix.
    """

    def __init__(
        self,
        config: str | Path | Mapping[str, Any] | Literal[False] | None = None,
        *,
        profile: str | None = None,
        transport: str | Transport | None = None,
        plugins: Iterable[tuple[str, Any]] = (),
        listeners: Sequence[Listener] = (),
        runtime: Runtime | None = None,
        environ: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> None:
        if isinstance(transport, str):
            arguments["transport"] = transport
        super().__init__(
            config, arguments, profile=profile, plugins=plugins, listeners=listeners, environ=environ
        )
        if runtime is None:
            made = (
                self._make_transport("blocking")
                if transport is None or isinstance(transport, str)
                else transport
            )
            runtime = BlockingRuntime(made)
        self._engine = self._make_engine(runtime)
        try:
            drive(self._engine.start())
        except BaseException:
            self.close()  # there will be no client for anybody to close
            raise

    def chat(self, model: str, messages: Any, **parameters: Any) -> Answer:
        """
        Ask a model and wait for its whole answer.

        Args:
            model: `provider/model`, a route, or a bare model name.
            messages: a string, or a list of `Message` or dicts in OpenAI's form.
            parameters: fields of `ChatRequest` (`temperature`, `max_tokens`, `tools`, `schema`, `extra`);
                `timeout` in seconds for the whole call; `request_id`; an option for a stage by its name
                (`retry=False` leaves it out).

        Raises:
            InvalidRequestError: a value is wrong; nothing was sent.
            CallError: no answer; see `penstock.errors`.
        """
        return drive(self._chat(model, messages, parameters))

    def stream(self, model: str, messages: Any, **parameters: Any) -> Stream:
        """
        Ask a model and read its answer while it is written; arguments and errors as `chat`.

        The request is sent, and retried if need be, before this returns. Use it in a `with` block.
        """
        shape = parameters.get("schema")
        call, reply = drive(self._send_chat(model, messages, parameters, stream=True))
        return Stream(call, reply, shape)

    def embed(self, model: str, inputs: str | Sequence[str], **parameters: Any) -> Embeddings:
        """
        Vectors for one or more texts.

        Args:
            model: as for `chat`.
            inputs: a text or a list of texts.
            parameters: `dimensions`, `user`, `extra`, `timeout`, `request_id`, options for stages.

        Raises:
            InvalidRequestError: a value is wrong; nothing was sent.
            CallError: no answer.
        """
        return drive(self._embed(model, inputs, parameters))

    def models(self, provider: str | None = None) -> tuple[Model, ...]:
        """What a provider offers, or every usable provider when none is named."""
        return drive(self._models(provider))

    def capabilities(self, model: str) -> frozenset[str]:
        """
        What a model can do, such as `chat`, `tools`, `vision`, `embed`, `reasoning`; asks the server where
        the provider can.

        Raises:
            UnknownModelError: no provider claims the model.
            CallError: the server does not know it, or did not answer.
        """
        return drive(self._capabilities(model))

    def close(self) -> None:
        """Close connections and stages; a second call does nothing."""
        if not self._closed:
            self._closed = True
            drive(self._engine.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Awaitable(Surface):
    """The surface of the clients whose methods are coroutines."""

    _started = False
    _starting: Event | None = None

    async def chat(self, model: str, messages: Any, **parameters: Any) -> Answer:
        """Ask a model and wait for its whole answer; see `Client.chat`."""
        await self._ready()
        return await self._chat(model, messages, parameters)

    def stream(self, model: str, messages: Any, **parameters: Any) -> AsyncStream:
        """
        Ask a model and read its answer while it is written; see `Client.stream`.

        The request is sent by `async with`, or by `await`.
        """
        return AsyncStream(self._open_stream(model, messages, parameters), parameters.get("schema"))

    async def _open_stream(self, model: str, messages: Any, given: dict[str, Any]) -> tuple[Call, Reply]:
        await self._ready()
        return await self._send_chat(model, messages, given, stream=True)

    async def embed(self, model: str, inputs: str | Sequence[str], **parameters: Any) -> Embeddings:
        """Vectors for one or more texts; see `Client.embed`."""
        await self._ready()
        return await self._embed(model, inputs, parameters)

    async def models(self, provider: str | None = None) -> tuple[Model, ...]:
        """What a provider offers, or every usable provider when none is named."""
        await self._ready()
        return await self._models(provider)

    async def capabilities(self, model: str) -> frozenset[str]:
        """What a model can do; see `Client.capabilities`."""
        await self._ready()
        return await self._capabilities(model)

    async def close(self) -> None:
        """Close connections and stages; a second call does nothing."""
        if not self._closed:
            self._closed = True
            await self._engine.close()

    async def _ready(self) -> None:
        self._check_open()
        while not self._started:
            if self._starting is not None:  # another first call is at it
                await self._starting.wait(NEVER)
                continue
            self._starting = over = self._engine.runtime.event()
            try:
                await self._engine.start()
                self._started = True
            finally:
                self._starting = None
                over.set()

    async def __aenter__(self) -> Self:
        try:
            await self._ready()
        except BaseException:
            await self.close()  # a block that is not entered is not left either
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class AsyncClient(_Awaitable):
    """
    The asyncio client; belongs to the event loop of its first call. Arguments and errors as `Client`.
    """

    def __init__(
        self,
        config: str | Path | Mapping[str, Any] | Literal[False] | None = None,
        *,
        profile: str | None = None,
        transport: str | Transport | None = None,
        plugins: Iterable[tuple[str, Any]] = (),
        listeners: Sequence[Listener] = (),
        runtime: Runtime | None = None,
        environ: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> None:
        from asyncio import get_running_loop

        from penstock.asynchronous import AsyncioRuntime

        if isinstance(transport, str):
            arguments["transport"] = transport
        super().__init__(
            config, arguments, profile=profile, plugins=plugins, listeners=listeners, environ=environ
        )
        if runtime is None:
            made = (
                self._make_transport("async")
                if transport is None or isinstance(transport, str)
                else transport
            )
            runtime = AsyncioRuntime(made)
        self._loop: Any = None
        self._running_loop = get_running_loop
        self._engine = self._make_engine(runtime)

    async def _ready(self) -> None:
        loop = self._running_loop()
        if self._loop is loop:
            if self._started:
                return
        else:
            if self._loop is not None:
                raise UsageError(
                    "this AsyncClient belongs to another event loop; make one client for each loop"
                )
            self._loop = loop
        await super()._ready()


class SimulatedClient(_Awaitable):
    """
    A client in virtual time, for tests: `client.run(client.chat(...))`.

    Args:
        runtime: the simulation, with its transport set.
        config, profile, plugins, listeners, environ, arguments: as for `Client`.
    """

    def __init__(
        self,
        runtime: SimulatedRuntime,
        config: str | Path | Mapping[str, Any] | Literal[False] | None = None,
        *,
        profile: str | None = None,
        plugins: Iterable[tuple[str, Any]] = (),
        listeners: Sequence[Listener] = (),
        environ: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(
            config, arguments, profile=profile, plugins=plugins, listeners=listeners, environ=environ
        )
        self.runtime = runtime
        self._engine = self._make_engine(runtime)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine, and whatever was spawned beside it, until it ends."""
        return self.runtime.run(coroutine)
