"""
What the installed plugins make of a configuration, without building a client.

A client stops at the first thing that is wrong. Here every problem is collected instead, so that one run of
`penstock config check` shows them all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.config import CoreConfig, Settings
from penstock.config.shape import short_names
from penstock.errors import ConfigError, PluginError
from penstock.plugins import Plugins
from penstock.specs import ListenerSpec, ProviderSpec, StageSpec, StoreSpec, TransportSpec

if TYPE_CHECKING:
    from pydantic import BaseModel

    from penstock.specs import Spec

KINDS: dict[str, type[Any]] = {
    "providers": ProviderSpec,
    "stages": StageSpec,
    "transports": TransportSpec,
    "stores": StoreSpec,
    "listeners": ListenerSpec,
}
"""The specs that have a configuration, by the word for many of them."""
_SECTIONS = (StageSpec, TransportSpec, StoreSpec, ListenerSpec)


class Catalogue:
    """
    A configuration and the plugins it may use.

    Args:
        settings: the merged configuration.

    Attributes:
        problems: everything that is wrong, one text for each, in the order it was found.
        warnings: what is wrong but not used.
        plugins: those that could be loaded.

    Raises:
        ConfigError: the core's own keys are wrong, so nothing else can be said.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.problems: list[str] = []
        self.warnings: list[str] = []
        lists = settings.core.plugins
        self.plugins = Plugins(allow=lists.allow, deny=lists.deny)
        self._instances: dict[str, str] = {}
        with self._collecting():
            self._instances = settings.providers
        self._load()

    @classmethod
    def read(cls, config: Path | None, profile: str | None) -> Catalogue:
        """From a file, or the one that is found; raises ConfigError when it cannot be read."""
        return cls(Settings.load(config, environ=os.environ, profile=profile))

    @contextmanager
    def _collecting(self) -> Iterator[None]:
        try:
            yield
        except ConfigError as error:
            self._note(error)

    def _note(self, error: ConfigError) -> None:
        known = set(self.problems)
        self.problems += [line for line in str(error).splitlines() if line.strip() and line not in known]

    def _load(self) -> None:
        settings = self.settings
        tables = settings.tables()
        named = [*(settings.core.pipeline or ()), *tables, *self._instances.values(), settings.core.transport]
        for name in dict.fromkeys(named):
            with self._collecting():
                self.plugins.load(name)
        for name in self.plugins.offered():
            try:
                self.plugins.load(name)
            except PluginError as error:
                if str(error) not in self.problems:
                    self.warnings.append(f"{error}; left out")

    def stages(self) -> list[StageSpec]:
        """The stages of the pipeline, outermost first; what is missing becomes a problem."""
        from penstock.pipeline import in_slot_order

        if self.settings.core.pipeline is None:
            return in_slot_order(self.plugins.specs(StageSpec))
        found: list[StageSpec] = []
        for name in self.settings.core.pipeline:
            with self._collecting():
                found.append(self.plugins.need(StageSpec, name, "pipeline"))
        return found

    def providers(self) -> dict[str, ProviderSpec]:
        """
        The provider instances of the configuration, then those whose key is in the environment.

        What is missing becomes a problem.
        """
        found: dict[str, ProviderSpec] = {}
        for instance, plugin in self._instances.items():
            with self._collecting():
                found[instance] = self.plugins.need(ProviderSpec, plugin, f"providers.{instance}")
        for spec in self.plugins.specs(ProviderSpec):
            named = any(os.environ.get(mark.name) for _, mark in short_names(spec.config))
            if named and spec.name not in found:
                found[spec.name] = spec
        return found

    def sections(self) -> dict[str, type[BaseModel]]:
        """The sections in force by name: "" of the core, provider instances, stages, what else has one."""
        sections: dict[str, type[BaseModel]] = {"": CoreConfig}
        sections |= {f"providers.{name}": spec.config for name, spec in self.providers().items()}
        for stage in self.stages():
            sections.setdefault(stage.name, stage.config)
            sections |= stage.tables
        for kind in _SECTIONS:
            for spec in self._specs(kind):
                sections.setdefault(spec.name, spec.config)
        return sections

    def models(self) -> dict[str, type[BaseModel]]:
        """The model of every section that could be written: of all plugins, used or not."""
        models: dict[str, type[BaseModel]] = {}
        for spec in self._specs(ProviderSpec):
            models[f"providers.{spec.name}"] = spec.config
        for kind in _SECTIONS:
            for spec in self._specs(kind):
                models.setdefault(spec.name, spec.config)
        for stage in self.plugins.specs(StageSpec):
            models |= stage.tables
        return models

    def check(self) -> None:
        """Collect every problem of every section, then those that only building a client shows."""
        settings = self.settings
        sections = self.sections()
        known = {name for name in settings.tables() if self._is_loaded(name)} | set(self.models())
        with self._collecting():
            settings.check_unknown(known)
        for name, model in sections.items():
            with self._collecting():
                settings.validate(name, model)
        with self._collecting():
            self.plugins.need(TransportSpec, settings.core.transport, "transport")
        if not self.problems:
            with self._collecting():
                self._assemble()

    def _assemble(self) -> None:
        """Put an engine together as a client does, with nothing to send by, and take it apart again."""
        import asyncio

        from penstock.asynchronous import AsyncioRuntime
        from penstock.engine import Engine

        # The colour that offers everything: a file may be meant for it alone (hedging).
        engine = Engine(self.settings, self.plugins, AsyncioRuntime(_NoTransport()))
        # A listener may have set something up for the whole process, logging for one.
        asyncio.run(engine.close())

    def _is_loaded(self, name: str) -> bool:
        try:
            return self.plugins.load(name)
        except ConfigError:
            return True  # it is known; what is wrong with it was said

    def _specs(self, kind: type[Any]) -> tuple[Any, ...]:
        specs: Callable[[type[Any]], tuple[Spec, ...]] = self.plugins.specs
        return specs(kind)


class _NoTransport:
    """Stands where the transport of a client would; a check sends nothing."""

    async def send(self, request: object, limits: object) -> Any:
        raise ConfigError("a check of the configuration sends nothing")

    async def close(self) -> None:
        """Nothing is open."""
