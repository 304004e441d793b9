"""
From the model's name in a call to who is asked.

`provider/model` names an instance; a bare name goes to the provider that claims it. A name with a slash
whose first part is no provider (`org/model`) is a bare name too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from penstock.call import Target
from penstock.errors import ConfigError, UnknownModelError
from penstock.specs import ProviderSpec

if TYPE_CHECKING:
    from penstock.config import Settings
    from penstock.plugins import Plugins


class Resolver:
    """
    Resolves model names for one client.

    Args:
        settings: names the configured instances, asked first and in this order.
        plugins: knows the installed providers, asked next.
        provider: creates a provider; a claim counts only if that works, or if nobody else claims.
    """

    def __init__(self, settings: Settings, plugins: Plugins, provider: Callable[[str], Any]) -> None:
        self._settings = settings
        self._plugins = plugins
        self._provider = provider

    def instances(self) -> dict[str, ProviderSpec]:
        """Every provider instance there is or could be, configured ones first."""
        configured = self._settings.providers
        found = {
            name: self._plugins.need(ProviderSpec, plugin, f"providers.{name}")
            for name, plugin in configured.items()
        }
        for spec in self._plugins.specs(ProviderSpec):
            found.setdefault(spec.name, spec)
        return found

    def resolve(self, model: str) -> Target:
        """
        The target behind a name.

        Raises:
            UnknownModelError: nobody claims it; lists who was asked.
            ConfigError: the provider it names cannot be used.
        """
        prefix, slash, rest = model.partition("/")
        instances = self.instances()
        if slash and rest and (prefix in instances or self._plugins.find(ProviderSpec, prefix)):
            self._provider(prefix)
            return Target(prefix, rest)
        first_problem: ConfigError | None = None
        for name, spec in instances.items():
            if not spec.claims(model):
                continue
            try:
                self._provider(name)
            except ConfigError as problem:
                first_problem = first_problem or problem
                continue
            return Target(name, model)
        if first_problem is not None:
            raise first_problem
        raise self._unknown(model, prefix if slash else "", list(instances))

    def _unknown(self, model: str, prefix: str, asked: list[str]) -> UnknownModelError:
        who = ", ".join(asked) or "none is installed: pip install penstock-openai, for example"
        hint = f", or install its provider: pip install penstock-{prefix}" if prefix else ""
        message = f"no provider claims the model {model!r} (asked: {who}); write it as provider/model{hint}"
        # A key in the wrong place is what some people pass first.
        return UnknownModelError(self._settings.redactor(message), param="model")
