"""
What every client has inside, whatever its colour: plugins put together once, calls run many times.

Building (once): load the plugins the configuration uses, validate every table, create providers, stages and
listeners. Running (per call): find the compiled chain for the model's name, wrap it in hooks and events.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from penstock import spans
from penstock.budget import RetryBudget
from penstock.call import NEVER, Call, Outcome, Reply, Target, Timeouts, tell
from penstock.errors import CallError, ConfigError, InvalidRequestError, PluginNotFoundError
from penstock.events import CallFinished, CallStarted
from penstock.exchange import CodecProvider
from penstock.messages import EmbedRequest, ModelsRequest
from penstock.pipeline import Pipeline, Ring, in_slot_order
from penstock.provider import Codec, Provider
from penstock.resolution import Resolver
from penstock.specs import ListenerSpec, Proceed, ProviderSpec, Services, StageSpec, StoreSpec

if TYPE_CHECKING:
    from penstock.config import Settings
    from penstock.events import Event, Listener
    from penstock.messages import Request
    from penstock.plugins import Plugins
    from penstock.responses import Model, ModelsResponse, Response
    from penstock.runtime import Runtime

logger = logging.getLogger("penstock")
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Entry:
    """Where calls by one name go: the compiled chain, and the target or route behind the name."""

    proceed: Proceed
    target: Target | None
    route: str | None


class Engine:
    """
    The plugins of one client, put together.

    Args:
        settings: the merged configuration.
        plugins: what may be loaded.
        runtime: the colour.
        listeners: callables handed over in code, told before those of plugins.

    Raises:
        ConfigError: names the culprit and the fix; nothing was sent.
    """

    MAX_NAMES = 4096
    """Names remembered; they come from outside, so their number has no other bound."""

    def __init__(
        self, settings: Settings, plugins: Plugins, runtime: Runtime, listeners: Sequence[Listener] = ()
    ) -> None:
        self.settings = settings
        self.plugins = plugins
        self.runtime = runtime
        self._core = settings.core
        self._timeouts: Timeouts = self._core.timeouts.limits()
        self._listeners: tuple[Listener, ...] = tuple(listeners)
        self._spans = spans.SpanListener(settings.redactor)
        self._providers: dict[str, Provider] = {}
        self._budgets: dict[str, RetryBudget] = {}
        self._stores: dict[str, Any] = {}
        self._entries: dict[tuple[str, frozenset[str]], Entry] = {}
        self._load_plugins()
        self.rings = self._make_rings()
        self._stage_names = frozenset(ring.spec.name for ring in self.rings)
        self._pipelines = {NOTHING: Pipeline(self.rings, self.provider)}
        self._listeners += self._make_listeners()
        self.resolver = Resolver(settings, plugins, self.provider)
        for instance in settings.providers:
            self.provider(instance)
        order = self._core.pipeline or ()
        self._pre = plugins.hooks("penstock_pre_request", order)
        self._post = plugins.hooks("penstock_post_response", order)
        self._started: list[Any] = []
        self._closed = False

    # Building

    def _load_plugins(self) -> None:
        core, plugins, settings = self._core, self.plugins, self.settings
        if core.pipeline is None or not settings.providers:
            plugins.load_all()
        tables = settings.tables()
        for name in tables:
            plugins.load(name)
        known = {name for name in tables if plugins.load(name)}
        known |= {spec.name for spec in plugins.specs(StageSpec)}
        settings.check_unknown(known)

    def _make_rings(self) -> list[Ring]:
        if self._core.pipeline is None:
            specs = in_slot_order(self.plugins.specs(StageSpec))
        else:
            specs = [self.plugins.need(StageSpec, name, "pipeline") for name in self._core.pipeline]
        return [Ring(spec, self.settings, self._services(spec.name)) for spec in specs]

    def _make_listeners(self) -> tuple[Listener, ...]:
        made = []
        for spec in self.plugins.specs(ListenerSpec):
            config = self.settings.section(spec.name, spec.config)
            if getattr(config, "enabled", True):
                made.append(spec.create(config, self._services(spec.name)))
        return tuple(made)

    def _services(self, name: str) -> Services:
        return Services(
            name=name,
            runtime=self.runtime,
            emit=self._emit,
            redactor=self.settings.redactor,
            retry_budget=self.retry_budget,
            peek=self._peek,
            store=self._store,
        )

    def _emit(self, event: Event) -> None:
        tell(self._listeners, event)

    def _peek(self, call: Call) -> CallError | None:
        return self._pipelines[call.without].peek(call)

    def _store(self, name: str) -> Any:
        if name not in self._stores:
            spec = self.plugins.need(StoreSpec, name, "store")
            config = self.settings.section(name, spec.config)
            self._stores[name] = spec.create(config, self._services(name))
        return self._stores[name]

    def retry_budget(self, provider: str) -> RetryBudget:
        """The budget of extra attempts of a provider instance."""
        budget = self._budgets.get(provider)
        if budget is None:
            fresh = RetryBudget(self._core.budget.policy(), self.runtime.now())
            budget = self._budgets.setdefault(provider, fresh)
        return budget

    def provider(self, instance: str) -> Provider:
        """
        The provider of an instance name, created when it is first needed.

        Raises:
            ConfigError: it is not installed, or its configuration is wrong or lacks its key.
        """
        provider = self._providers.get(instance)
        if provider is not None:
            return provider
        plugin = self.settings.providers.get(instance, instance)
        spec = self.plugins.need(ProviderSpec, plugin, f"providers.{instance}")
        config = self.settings.provider(instance, spec.config)
        made = spec.create(config, self._services(instance))
        if isinstance(made, Codec):
            provider = CodecProvider(made, max_bytes=self._core.limits.max_response_bytes)
        elif isinstance(made, Provider):
            provider = made
        else:
            raise ConfigError(f"provider {plugin!r} created neither a Codec nor a Provider: {made!r}")
        return self._providers.setdefault(instance, provider)

    def stage(self, name: str) -> Any:
        """
        A stage of the pipeline, for its statistics and manual control.

        Raises:
            PluginNotFoundError: no such stage in this client; lists those there are.
        """
        for ring in self.rings:
            if ring.spec.name == name:
                return ring.stage
        there = ", ".join(ring.spec.name for ring in self.rings) or "none"
        raise PluginNotFoundError(f"no stage {name!r} in this client's pipeline; there are: {there}")

    @property
    def stage_names(self) -> frozenset[str]:
        """The stages of the pipeline, by which a call may give them options."""
        return self._stage_names

    # Running

    def new_call(
        self,
        request: Request,
        *,
        options: Mapping[str, Any] | None = None,
        timeout: float | Timeouts | None = None,
        request_id: str | None = None,
    ) -> tuple[Call, Proceed]:
        """
        A call and the chain it goes through.

        Args:
            request: a checked request.
            options: what the caller says to single stages; False leaves a stage out.
            timeout: total seconds, or all limits.
            request_id: the caller's id of the call.

        Raises:
            InvalidRequestError: the model is nobody's, or a value is wrong; nothing was sent.
            ConfigError: the provider behind the model cannot be used.
        """
        runtime, timeouts, stream_deadline = self.runtime, self._timeouts, NEVER
        without = NOTHING
        if options:
            without = frozenset(name for name, value in options.items() if value is False)
        entry = self._entries.get((request.model, without)) or self._enter(request.model, without)
        now = runtime.now()
        if timeout is not None:
            timeouts = (
                timeout if isinstance(timeout, Timeouts) else replace(timeouts, total=_seconds(timeout))
            )
            stream_deadline = now + timeouts.total
        call = Call(
            id=request_id or f"{int(runtime.random() * 2**64):016x}",
            request=request,
            target=entry.target,
            route=entry.route,
            runtime=runtime,
            timeouts=timeouts,
            started=now,
            deadline=now + timeouts.total,
            stream_deadline=stream_deadline,
            options=options,
            without=without,
            listeners=(self._spans, *self._listeners) if spans.active() else self._listeners,
        )
        return call, entry.proceed

    def batches(self, request: EmbedRequest) -> Iterator[EmbedRequest]:
        """The request in pieces that its provider takes at once; just itself in the usual case."""
        entry = self._entries.get((request.model, NOTHING)) or self._enter(request.model, NOTHING)
        size = None
        if entry.target is not None:
            size = getattr(self.provider(entry.target.provider), "max_inputs", None)
        if size is None or len(request.inputs) <= size:
            yield request
            return
        for first in range(0, len(request.inputs), size):
            yield replace(request, inputs=request.inputs[first : first + size])

    def _enter(self, name: str, without: frozenset[str]) -> Entry:
        pipeline = self._pipelines.get(without)
        if pipeline is None:
            rings = [ring for ring in self.rings if ring.spec.name not in without]
            pipeline = self._pipelines[without] = Pipeline(rings, self.provider)
        routed = any(ring.stage.claims(name) for ring in pipeline.rings if hasattr(ring.stage, "claims"))
        target = None if routed else self.resolver.resolve(name)
        route = name if routed else None
        if len(self._entries) >= self.MAX_NAMES:
            self._entries.clear()
        entry = Entry(pipeline.entry(route, target), target, route)
        self._entries[name, without] = entry
        return entry

    async def run(self, call: Call, proceed: Proceed) -> Reply:
        """Run a call through hooks and pipeline; its errors leave with every attempt attached."""
        if call.listeners:
            call.emit(CallStarted(call.started, call))
        try:
            if self._pre:
                proceed = self._before(call, proceed)
            reply = await proceed(call)
        except BaseException as error:
            self._failed(call, error)
            raise
        if self._post and reply.outcome is not None and reply.response is not None:
            reply.response = self._after(call, reply.response)
        if call.listeners or reply.outcome is None:
            reply.on_finish(lambda outcome: self._finished(call, outcome))
        return reply

    async def models(self, provider: str | None) -> tuple[Model, ...]:
        """
        The models a provider offers; without a name, those of every provider that can be used.

        Raises:
            CallError: the provider did not answer; without a name, such a provider is left out.
        """
        if provider is not None:
            return await self._models_of(provider)
        found: list[Model] = []
        for name in self.resolver.instances():
            try:
                found += await self._models_of(name)
            except (ConfigError, CallError) as error:
                logger.info("models of %s left out: %s", name, type(error).__name__)
        return tuple(found)

    async def _models_of(self, provider: str) -> tuple[Model, ...]:
        call, proceed = self.new_call(ModelsRequest(model=f"{provider}/*"))
        response = cast("ModelsResponse", (await self.run(call, proceed)).response)
        return tuple(replace(model, provider=provider) for model in response.models)

    def _before(self, call: Call, proceed: Proceed) -> Proceed:
        for hook in self._pre:
            try:
                request = cast("Request | None", hook.function(*(call for _ in hook.argnames)))
            except CallError:
                raise
            except Exception as error:
                _skipped(hook, error)
                continue
            if request is not None:
                call.request = request
        if call.request.model != (call.route or str(call.target)):
            entry = self._entries.get((call.request.model, call.without))
            entry = entry or self._enter(call.request.model, call.without)
            call.target, call.route, proceed = entry.target, entry.route, entry.proceed
        return proceed

    def _after(self, call: Call, response: Response) -> Response:
        for hook in self._post:
            given = {"call": call, "response": response}
            try:
                changed = cast("Response | None", hook.function(*(given[name] for name in hook.argnames)))
            except Exception as error:
                _skipped(hook, error)
                continue
            if changed is not None:
                response = changed
        return response

    def _finished(self, call: Call, outcome: Outcome) -> None:
        if isinstance(outcome.error, CallError):
            outcome.error.attempts = tuple(call.attempts)
        if call.request.stream and self._post and outcome.kind == "ok" and outcome.response is not None:
            self._after(call, outcome.response)
        if call.listeners:
            call.emit(CallFinished(self.runtime.now(), call, outcome))

    def _failed(self, call: Call, error: BaseException) -> None:
        if isinstance(error, CallError):
            error.attempts = tuple(call.attempts)
        if call.listeners:
            call.emit(CallFinished(self.runtime.now(), call, Outcome("failed", error=error)))

    # Life

    async def start(self) -> None:
        """Start stages, the innermost first; called once before the first call."""
        for ring in reversed(self.rings):
            for stage in ring.instances():
                start = getattr(stage, "start", None)
                if start is not None:
                    await start()

    async def close(self) -> None:
        """Close everything in reverse order; never raises, a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        parts = [stage for ring in self.rings for stage in ring.instances()]
        for part in [
            *parts,
            *self._listeners,
            *self._stores.values(),
            *self._providers.values(),
            self.runtime.transport,
        ]:
            close: Callable[[], Coroutine[Any, Any, None]] | None = getattr(part, "close", None)
            if close is None:
                continue
            try:
                closing = close()
                if closing is not None:
                    await closing
            except Exception as error:
                logger.error("closing %r raised %s; skipped", part, type(error).__name__)


def _seconds(timeout: Any) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
        raise InvalidRequestError(f"timeout must be seconds above zero, not {timeout!r}", param="timeout")
    return float(timeout)


def _skipped(hook: Any, error: Exception) -> None:
    logger.error(
        "hook %s of plugin %r raised %s; skipped",
        hook.function.__name__,
        hook.plugin_name,
        type(error).__name__,
    )
