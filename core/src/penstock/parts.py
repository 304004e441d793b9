"""
What a client is made of: providers, stages, listeners and stores, created from the configuration.

Everything the configuration names is created, and so checked, when the client is built; what only a model's
name asks for (a provider nobody configured, the stages of a place) is created when it is first needed, once,
behind one lock that no call takes again after its first use of a name.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from penstock.budget import RetryBudget
from penstock.call import tell
from penstock.config.section import OWNERS
from penstock.errors import ConfigError, PluginNotFoundError
from penstock.exchange import CodecProvider
from penstock.messages import EMPTY
from penstock.pipeline import Pipeline, Ring, check_order, in_slot_order
from penstock.provider import Codec, Provider
from penstock.resolution import Resolver
from penstock.responses import Model
from penstock.specs import ListenerSpec, ProviderSpec, Services, StageSpec, StoreSpec, TransportSpec

if TYPE_CHECKING:
    from pydantic import BaseModel

    from penstock.call import Call, Target
    from penstock.config import Settings
    from penstock.errors import CallError
    from penstock.events import Event, Listener
    from penstock.plugins import Plugins
    from penstock.runtime import Runtime
    from penstock.specs import Stage

NOTHING: frozenset[str] = frozenset()
MODEL_WORDS = frozenset({"chat", "embed", "tools", "vision", "reasoning"})
"""Capabilities that differ from model to model; of the others the provider alone can tell."""


class Parts:
    """
    The parts of one client.

    Args:
        settings: the merged configuration.
        plugins: what may be loaded.
        runtime: the colour.
        listeners: callables handed over in code, told before those of plugins.

    Raises:
        ConfigError: names the culprit and the fix.
    """

    def __init__(
        self, settings: Settings, plugins: Plugins, runtime: Runtime, listeners: Sequence[Listener]
    ) -> None:
        self.settings = settings
        self.plugins = plugins
        self.runtime = runtime
        self.listeners: tuple[Listener, ...] = tuple(listeners)
        self.lock = threading.RLock()
        self._core = settings.core
        self._providers: dict[str, Provider] = {}
        self._budgets: dict[str, RetryBudget] = {}
        self._stores: dict[str, Any] = {}
        self._named_listeners: dict[str, Listener] = {}
        self.resolver = Resolver(settings, plugins, self.provider)
        self.rings: list[Ring] = []
        self._load_plugins()
        self.rings = self._make_rings()
        self.stage_names = frozenset(ring.spec.name for ring in self.rings)
        check_order(self.rings)
        self._pipelines = {NOTHING: Pipeline(self.rings, self.provider, self.lock)}
        for instance in settings.providers:
            self.provider(instance)
        self._check_tracing()
        # Last: a listener may set something up for the process; nobody would undo that for half a client.
        self.listeners += self._make_listeners()

    def pipeline(self, without: frozenset[str]) -> Pipeline:
        """The pipeline without some stages; compiled once for each set of names."""
        pipeline = self._pipelines.get(without)
        if pipeline is None:
            rings = [ring for ring in self.rings if ring.spec.name not in without]
            pipeline = self._pipelines.setdefault(without, Pipeline(rings, self.provider, self.lock))
        return pipeline

    def closable(self) -> list[Any]:
        """Everything that may have a `close`, in the order to close it: from the outside in."""
        stages = [stage for ring in self.rings for stage in ring.instances()]
        return [*stages, *self.listeners, *self._stores.values(), *self._providers.values()]

    def _load_plugins(self) -> None:
        core, plugins, settings = self._core, self.plugins, self.settings
        if core.pipeline is None or not settings.providers:
            plugins.load_all()
        tables = settings.tables()
        for name in (*tables, *(core.pipeline or ())):
            plugins.load(OWNERS.get(name, name))
        known = {name for name in tables if plugins.load(name)}
        for transport in plugins.specs(TransportSpec):
            if transport.name != core.transport:
                # Its keys may be the ones that keep calls from private addresses.
                settings.check_empty(
                    transport.name,
                    f"has no effect, because transport = {core.transport!r}; move what it says to "
                    f"[{core.transport}], or remove it",
                )
        for spec in plugins.specs(StageSpec):
            known |= {spec.name, *spec.tables}
        settings.check_unknown(known)

    def _make_rings(self) -> list[Ring]:
        if self._core.pipeline is None:
            specs = in_slot_order(self.plugins.specs(StageSpec))
        else:
            specs = [self.plugins.need(StageSpec, name, "pipeline") for name in self._core.pipeline]
        return [Ring(spec, self.settings, self._services(spec.name, spec.tables)) for spec in specs]

    def _make_listeners(self) -> tuple[Listener, ...]:
        made, section = self._named_listeners, self.settings.section
        # Every table is checked before the first listener sets anything up.
        wanted = [(spec, section(spec.name, spec.config)) for spec in self.plugins.specs(ListenerSpec)]
        for spec, config in wanted:
            if getattr(config, "enabled", True):
                try:
                    made[spec.name] = spec.create(config, self._services(spec.name))
                except BaseException:
                    _abandon(made.values())
                    raise
        return tuple(made.values())

    def _services(self, name: str, tables: Mapping[str, type[BaseModel]] = EMPTY) -> Services:
        return Services(
            name=name,
            runtime=self.runtime,
            emit=self._emit,
            redactor=self.settings.redactor,
            retry_budget=self.retry_budget,
            peek=self._peek,
            store=self._store,
            section=lambda table: self.settings.section(table, tables[table]),
            resolve=self.resolver.resolve,
            describe=self.describe,
            stage=self._find_stage,
        )

    def _emit(self, event: Event) -> None:
        tell(self.listeners, event)

    def _peek(self, call: Call) -> CallError | None:
        without = call.without
        return (self._pipelines.get(without) or self.pipeline(without)).peek(call)

    def _store(self, name: str) -> Any:
        with self.lock:
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
        with self.lock:
            if instance not in self._providers:
                self._providers[instance] = self._make_provider(instance)
            return self._providers[instance]

    def _make_provider(self, instance: str) -> Provider:
        plugin = self.settings.providers.get(instance, instance)
        spec = self.plugins.need(ProviderSpec, plugin, f"providers.{instance}")
        config = self.settings.provider(instance, spec.config)
        made = spec.create(config, self._services(instance))
        if isinstance(made, Codec):
            return CodecProvider(made, max_bytes=self._core.limits.max_response_bytes)
        if isinstance(made, Provider):
            return made
        raise ConfigError(f"provider {plugin!r} created neither a Codec nor a Provider: {made!r}")

    def instances(self) -> tuple[str, ...]:
        """The provider instances there are, in the order they were made."""
        return tuple(self._providers)  # without the lock: a provider that is being made may take its time

    def base_url(self, instance: str) -> str:
        """The address of a provider instance, "" where it has none."""
        return getattr(self.provider(instance), "base_url", "")

    def _check_tracing(self) -> None:
        """A name in `[tracing] propagate` that no provider has would silently do nothing."""
        wanted = self._core.tracing.propagate
        for name in wanted if isinstance(wanted, tuple) else ():
            if name not in self.settings.providers and not self.plugins.find(ProviderSpec, name):
                raise ConfigError(f"tracing.propagate: no provider is called {name!r}")

    def describe(self, target: Target) -> Model:
        """What is known of a target's model without asking anybody; None where nothing is."""
        instance, name = target
        spec = self.plugins.need(
            ProviderSpec, self.settings.providers.get(instance, instance), f"providers.{instance}"
        )
        provider = self.provider(instance)
        known = getattr(provider, "known_model", None) or getattr(
            getattr(provider, "codec", None), "known_model", None
        )
        model: Model | None = known(name) if known is not None else None
        if model is None:
            return Model(name, instance, capabilities=spec.capabilities or None)
        able = model.capabilities
        able = spec.capabilities or None if able is None else able | (spec.capabilities - MODEL_WORDS)
        return Model(name, instance, model.context_length, able)

    def targets(self, route: str) -> tuple[Target, ...]:
        """Whom a route may ask, in the order they are preferred; none when its stage does not say."""
        for ring in self.rings:
            stage: Any = ring.stage
            if hasattr(stage, "targets") and stage.claims(route):
                return tuple(stage.targets(route))
        return ()

    def _find_stage(self, name: str) -> Stage | None:
        return next((ring.stage for ring in self.rings if ring.spec.name == name), None)

    def stage(self, name: str) -> Any:
        """
        A stage of the pipeline, for its statistics and manual control.

        Raises:
            PluginNotFoundError: no such stage in this client; lists those there are.
        """
        found = self._find_stage(name)
        if found is not None:
            return found
        there = ", ".join(ring.spec.name for ring in self.rings) or "none"
        raise PluginNotFoundError(f"no stage {name!r} in this client's pipeline; there are: {there}")

    def listener(self, name: str) -> Any:
        """
        A plugin's listener, for what only it can do.

        Raises:
            PluginNotFoundError: this client has none of that name; says how to get it.
        """
        if name in self._named_listeners:
            return self._named_listeners[name]
        if self.plugins.find(ListenerSpec, name) is None:
            raise PluginNotFoundError(f"the listener {name!r} is not installed; pip install penstock-{name}")
        raise PluginNotFoundError(
            f"the listener {name!r} is not part of this client; give it a table [{name}], or enable it there"
        )


def _abandon(listeners: Iterable[Listener]) -> None:
    """Undo what listeners set up at once; there was no call yet, so nothing has to be waited for."""
    for listener in listeners:
        close: Callable[[], Coroutine[Any, Any, None] | None] | None = getattr(listener, "close", None)
        closing = close() if close is not None else None
        if closing is not None:
            closing.close()
