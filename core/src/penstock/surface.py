"""What all clients do alike, whatever their colour: build the engine, and turn arguments into calls."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from penstock.answers import Answer, Embeddings, answer_from, embeddings_from, joined
from penstock.errors import ConfigError, UsageError
from penstock.redaction import Unpicklable

if TYPE_CHECKING:
    from pathlib import Path

    from penstock.call import Call, Reply
    from penstock.config import Settings
    from penstock.engine import Engine
    from penstock.events import Listener
    from penstock.explanation import Explanation
    from penstock.health import Checkup, Health
    from penstock.http import Transport
    from penstock.responses import Model
    from penstock.runtime import Runtime


class Surface(Unpicklable):
    """The part of a client that knows no colour."""

    def __init__(
        self,
        config: str | Path | Mapping[str, Any] | Literal[False] | None,
        arguments: Mapping[str, Any],
        *,
        profile: str | None,
        plugins: Iterable[tuple[str, Any]],
        listeners: Sequence[Listener],
        environ: Mapping[str, str] | None,
    ) -> None:
        from penstock import requests
        from penstock.config import Settings
        from penstock.plugins import Plugins

        self._closed = False
        self._requests = requests  # an import statement in each call would cost half a microsecond
        if callable(listeners) or not all(map(callable, listeners)):
            raise ConfigError("listeners must be a list of callables that take one event")
        settings = Settings.load(
            config,
            profile=profile,
            environ=os.environ if environ is None else environ,
            arguments=arguments,
        )
        lists = settings.core.plugins
        self._plugins = Plugins(allow=lists.allow, deny=lists.deny, extra=plugins)
        self._settings = settings
        self._listeners = tuple(listeners)

    def _make_transport(self, colour: str) -> Transport:
        from penstock.specs import TransportSpec

        name = self._settings.core.transport
        spec = self._plugins.need(TransportSpec, name, "transport")
        create = spec.blocking if colour == "blocking" else spec.asynchronous
        if create is None:
            raise ConfigError(f"transport: {name!r} offers no {colour} transport")
        return create(self._settings.section(name, spec.config))

    def _make_engine(self, runtime: Runtime) -> Engine:
        from penstock.engine import Engine

        return Engine(self._settings, self._plugins, runtime, self._listeners)

    _engine: Engine

    def stage(self, name: str) -> Any:
        """
        A stage of the pipeline, for its statistics and manual control, such as `stage("breaker")`.

        Raises:
            PluginNotFoundError: no such stage in this client; lists those there are.
        """
        return self._engine.parts.stage(name)

    def listener(self, name: str) -> Any:
        """
        A plugin's listener, for what only it can do, such as `listener("metrics").exposition()`.

        Raises:
            PluginNotFoundError: this client has none of that name; says how to get it.
        """
        return self._engine.parts.listener(name)

    def metrics(self) -> Any:
        """
        Counts, error rates, percentiles, tokens and cost so far, by provider and model; prints as a table.

        Raises:
            PluginNotFoundError: `penstock-metrics` is not installed, or not part of this client.
        """
        return self.listener("metrics").snapshot()

    _checkup: Checkup | None = None

    def health(self) -> Health:
        """
        How this client is: `status` is `pass`, `warn` or `fail`, `checks` says why; prints as lines.

        Told from what is known already; nothing is sent, and what was found is kept for a second.
        """
        from penstock.health import Checkup, Finding, Health
        from penstock.specs import HealthCheckSpec

        if self._closed:
            closed = Finding(status="fail", output="the client is closed")
            return Health(status="fail", checks={"penstock:client": (closed,)})
        if self._checkup is None:
            self._checkup = Checkup()
        parts = self._engine.parts
        specs = self._plugins.specs(HealthCheckSpec)
        return self._checkup(self, specs, parts.instances(), self._engine.runtime.now())

    @property
    def settings(self) -> Settings:
        """The configuration in force, and where each value came from."""
        return self._settings

    def explain(self, model: str) -> Explanation:
        """
        Where a call to `model` would go, and through which stages with which values; sends nothing.

        Raises:
            UnknownModelError: no provider claims the model.
            ConfigError: its provider cannot be used.
        """
        from penstock.explanation import explain

        return explain(self._engine, model)

    def provider(self, name: str) -> Any:
        """
        A provider instance, for what only it can do, such as `provider("ollama")`.

        Raises:
            ConfigError: it is not installed, or cannot be used.
        """
        provider = self._engine.parts.provider(name)
        return getattr(provider, "codec", provider)

    async def _chat(self, model: str, messages: Any, given: dict[str, Any]) -> Answer:
        call, reply = await self._send_chat(model, messages, given, stream=False)
        return answer_from(call, reply.response, given.get("schema"))

    async def _send_chat(
        self, model: str, messages: Any, given: dict[str, Any], *, stream: bool
    ) -> tuple[Call, Reply]:
        engine = self._engine
        settings, options = self._split(given)
        request = self._requests.chat_request(model, messages, given, stream=stream)
        call, proceed = engine.new_call(request, options=options, **settings)
        return call, await engine.run(call, proceed)

    async def _embed(self, model: str, inputs: Any, given: dict[str, Any]) -> Embeddings:
        settings, options = self._split(given)
        request = self._requests.embed_request(model, inputs, given)
        deadline: float | None = None
        parts: list[Embeddings] = []
        for batch in self._engine.batches(request):
            call, proceed = self._engine.new_call(batch, options=options, **settings)
            # The time is the whole call's, whatever number of requests it takes.
            deadline = call.deadline = call.deadline if deadline is None else deadline
            reply = await self._engine.run(call, proceed)
            parts.append(embeddings_from(call, reply.response))
        return joined(parts)

    async def _models(self, provider: str | None) -> tuple[Model, ...]:
        self._check_open()
        return await self._engine.models(provider)

    async def _capabilities(self, model: str) -> frozenset[str]:
        self._check_open()
        return await self._engine.capabilities(model)

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"this {type(self).__name__} is closed")

    def _split(self, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Take what is not the request's out of the keywords: call settings, options for stages."""
        self._check_open()
        settings: dict[str, Any] = {}
        options: dict[str, Any] | None = None
        if "timeout" in given:
            settings["timeout"] = given.pop("timeout")
        if "request_id" in given:
            settings["request_id"] = given.pop("request_id")
        names = self._engine.parts.stage_names
        if not names.isdisjoint(given):
            said = {name: given.pop(name) for name in names.intersection(given)}
            # None is "not given", as with every other parameter.
            options = {name: value for name, value in said.items() if value is not None} or None
        return settings, options

    def __del__(self) -> None:
        if not getattr(self, "_closed", True) and hasattr(self, "_engine"):
            warnings.warn(
                f"{type(self).__name__} was never closed", ResourceWarning, stacklevel=2, source=self
            )
