"""
Discovery: which distributions offer what, and loading only what is used.

Rules
1. Entry points of the group `penstock` are scanned once per process, without importing anything.
2. A plugin is loaded when the configuration names it, or when the configuration leaves the choice open.
   In the second case a broken one is logged and left out, unless somebody asks for it by name later.
3. Two distributions under one name are refused, naming both; so are two plugins that register one spec.
4. Allow and deny lists decide before anything is imported.
5. A plugin may be loaded late, by the first call that names it, in whichever thread: once, behind a lock.
"""

from __future__ import annotations

import functools
import inspect
import logging
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy
from importlib_metadata import EntryPoint, entry_points

from penstock import hookspecs
from penstock.errors import ConfigError, DuplicatePluginError, PluginLoadError, PluginNotFoundError
from penstock.frozen import dataclass
from penstock.specs import (
    API,
    Spec,
)

if TYPE_CHECKING:
    from pluggy import HookImpl

logger = logging.getLogger("penstock")
GROUP = "penstock"
INTERCEPTORS = ("penstock_pre_request", "penstock_post_response")
S = TypeVar("S", bound=Spec)


@dataclass(frozen=True, slots=True)
class Installed:
    """
    A plugin that is installed, not yet imported.

    Args:
        name: the entry point's name.
        distribution: the package that brings it, `""` for one handed over in code.
        version: of that package.
        entry: what to load.
    """

    name: str
    distribution: str
    version: str
    entry: EntryPoint

    def __str__(self) -> str:
        return f"{self.name!r} ({self.distribution} {self.version})"


@functools.cache
def installed() -> Mapping[str, tuple[Installed, ...]]:
    """Every installed plugin by name; more than one under a name means a clash."""
    found: dict[str, dict[tuple[str, str], Installed]] = {}
    for entry in entry_points(group=GROUP):
        distribution, version = _origin(entry)
        # The same distribution may be seen twice, through two folders of sys.path.
        found.setdefault(entry.name, {}).setdefault(
            (distribution, entry.value), Installed(entry.name, distribution, version, entry)
        )
    return {name: tuple(claims.values()) for name, claims in sorted(found.items())}


def _origin(entry: EntryPoint) -> tuple[str, str]:
    """Distribution and version; a package that was removed by halves has no metadata to tell them."""
    distribution = entry.dist
    try:
        return (distribution.name, distribution.version) if distribution is not None else ("", "?")
    except Exception:
        return "a distribution without metadata,", "of unknown version"


class Plugins:
    """
    The plugins of one client.

    Args:
        allow: names that may be used, None for all.
        deny: names that may not.
        extra: plugin modules or objects handed over in code, as `(name, plugin)`.
    """

    def __init__(
        self,
        *,
        allow: Iterable[str] | None = None,
        deny: Iterable[str] = (),
        extra: Iterable[tuple[str, Any]] = (),
    ) -> None:
        self._allow = None if allow is None else frozenset(allow)
        self._deny = frozenset(deny)
        self._broken: dict[str, PluginLoadError] = {}
        self._specs: dict[tuple[type, str], tuple[Spec, str]] = {}
        self._manager = pluggy.PluginManager("penstock")
        self._manager.add_hookspecs(hookspecs)
        self._order: list[str] = []
        self._lock = threading.RLock()
        given: Any
        for given in extra:
            if not (isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str)):
                raise ConfigError("plugins must be pairs (name, module or object)")
            self._register(*given)

    def offered(self) -> tuple[str, ...]:
        """The names of the installed plugins that may be used."""
        return tuple(name for name in installed() if self._permits(name))

    def load_all(self) -> None:
        """Load whatever is installed; a broken one is logged and left out."""
        for name in self.offered():
            try:
                self.load(name)
            except DuplicatePluginError:
                raise
            except PluginLoadError as error:
                logger.warning("%s; left out", error)
                # It is kept for whoever asks by name; its frames would keep the half-built client alive.
                for kept in (error, error.__cause__):
                    if kept is not None:
                        kept.__traceback__ = None

    def load(self, name: str) -> bool:
        """
        Load one plugin by name; False when none of that name is installed.

        Raises:
            PluginLoadError: it is broken, or written for another contract.
            DuplicatePluginError: two distributions claim the name.
            ConfigError: a list forbids it.
        """
        with self._lock:
            return self._manager.has_plugin(name) or self._load(name)

    def _load(self, name: str) -> bool:
        if name in self._broken:
            raise self._broken[name]
        claims = installed().get(name, ())
        if not claims:
            return False
        if not self._permits(name):
            raise ConfigError(
                f"plugin {name!r} is not permitted; see [plugins] allow and deny, PENSTOCK_PLUGINS"
            )
        if len(claims) > 1:
            both = " and ".join(f"{claim.distribution} {claim.version}" for claim in claims)
            raise DuplicatePluginError(f"plugin {name!r} is claimed by {both}; uninstall one of them")
        try:
            self._register(name, claims[0].entry.load())
        except DuplicatePluginError:
            self._forget(name)
            raise
        except Exception as error:
            self._forget(name)
            broken = PluginLoadError(f"plugin {claims[0]} is broken: {type(error).__name__}: {error}")
            broken.__cause__ = error
            self._broken[name] = broken
            raise broken from error
        return True

    def find(self, kind: type[S], name: str) -> S | None:
        """The spec of this kind and name, loading the plugin of that name if there is one."""
        if (kind, name) not in self._specs:
            self.load(name)
        found = self._specs.get((kind, name))
        return found[0] if found is not None else None  # type: ignore[return-value]  # keyed by kind

    def need(self, kind: type[S], name: str, place: str) -> S:
        """
        As `find`, but it must be there.

        Args:
            place: who asks, for the message, such as `pipeline`.

        Raises:
            PluginNotFoundError: says what to install.
        """
        spec = self.find(kind, name)
        if spec is not None:
            return spec
        noun = kind.__name__.removesuffix("Spec").lower()
        if self._manager.has_plugin(name):
            raise PluginNotFoundError(
                f"{place}: the plugin {name!r} is installed but offers no {noun} {name!r}"
            )
        raise PluginNotFoundError(
            f"{place}: the {noun} {name!r} is not installed; pip install penstock-{name}"
        )

    def specs(self, kind: type[S]) -> tuple[S, ...]:
        """Every spec of this kind among the loaded plugins, in the order they were loaded."""
        with self._lock:
            return tuple(spec for (key, _), (spec, _) in self._specs.items() if key is kind)  # type: ignore[misc]

    def hooks(self, name: str, order: Iterable[str] = ()) -> tuple[HookImpl, ...]:
        """
        The implementations of a hook.

        Args:
            order: plugin names that come first, in this order; the others follow as they were loaded.
        """
        names = [*order, *self._order]
        implementations = getattr(self._manager.hook, name).get_hookimpls()
        return tuple(sorted(implementations, key=lambda each: names.index(each.plugin_name)))

    def _permits(self, name: str) -> bool:
        return name not in self._deny and (self._allow is None or name in self._allow)

    def _register(self, name: str, plugin: Any) -> None:
        self._manager.register(plugin, name=name)
        self._manager.check_pending()
        self._check_interceptors(name)
        for hook in ("providers", "stages", "transports", "stores", "listeners", "health_checks"):
            for implementation in getattr(self._manager.hook, f"penstock_register_{hook}").get_hookimpls():
                if implementation.plugin_name == name:
                    for spec in implementation.function():
                        self._add(spec, name)
        self._order.append(name)

    def _check_interceptors(self, name: str) -> None:
        """Refuse what would never run: nobody awaits a hook, and wrappers belong to chains of pluggy's."""
        for hook in INTERCEPTORS:
            for each in getattr(self._manager.hook, hook).get_hookimpls():
                if each.plugin_name != name:
                    continue
                if each.hookwrapper or each.wrapper:
                    raise ConfigError(
                        f"plugin {name!r}: {hook} cannot be a wrapper; what goes around a call is a stage"
                    )
                if inspect.iscoroutinefunction(each.function):
                    raise ConfigError(
                        f"plugin {name!r}: {hook} must be a plain function; what waits is a stage"
                    )

    def _forget(self, name: str) -> None:
        """Undo a registration that failed halfway: of a broken plugin nothing may be used."""
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)
        self._specs = {key: claim for key, claim in self._specs.items() if claim[1] != name}

    def _add(self, spec: Spec, owner: str) -> None:
        if spec.api[0] != API[0] or spec.api[1] > API[1]:
            raise ConfigError(
                f"it is written for the plugin contract {spec.api[0]}.{spec.api[1]}, "
                f"this core implements {API[0]}.{API[1]}"
            )
        key = (type(spec), spec.name)
        if key in self._specs:
            noun = type(spec).__name__.removesuffix("Spec").lower()
            raise DuplicatePluginError(
                f"{noun} {spec.name!r} is registered by {self._describe(self._specs[key][1])} "
                f"and by {self._describe(owner)}"
            )
        self._specs[key] = (spec, owner)

    @staticmethod
    def _describe(name: str) -> str:
        claims = installed().get(name, ())
        return f"plugin {claims[0]}" if claims else f"plugin {name!r}"
