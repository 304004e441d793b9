"""
The configuration of one client: every source laid over the one before, sections checked when they are used.

Rules
1. Precedence, lowest first: defaults of the model, the file, its profile, short environment names,
   `PENSTOCK__` variables, arguments.
2. `[<section>.routes.<route>]` and `[<section>.targets."<glob>"]` are laid over the whole section: first the
   route's, then those of the targets that match, the one with fewer literal characters first.
3. A short name is a stage's, or that of the provider instance called like its plugin, and leaves a secret
   that the file gives alone: a key that is meant for one origin must not reach another.
4. Nothing is resolved or checked before its section is used; no message and no repr holds a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from penstock.config.core import CoreConfig
from penstock.config.environment import read_short_names, read_variables
from penstock.config.section import Checked, Problem, check, unknown_key
from penstock.config.shape import fields
from penstock.config.source import choose_profile, read_source
from penstock.config.tree import EMPTY, Node, Origin, find, grow, merge, written
from penstock.errors import ConfigError, MissingCredentialError
from penstock.redaction import Redactor, Unpicklable

if TYPE_CHECKING:
    from pydantic import BaseModel

    from penstock.call import Target

M = TypeVar("M", bound="BaseModel")
Override = tuple[str, str]

CORE_KEYS = frozenset((*CoreConfig.model_fields, "providers"))
_TABLES = {"route": "routes", "target": "targets"}
_WILDCARD = re.compile(r"\[[^\]]+\]|[*?]")


class Settings(Unpicklable):
    """
    The configuration of one client; made by `load`.

    Sections are named by their table: `cache`, `providers.openai`, or "" for the core's own keys.

    Attributes:
        redactor: knows every secret of the sections that were used so far.
        path: the file as it was named or found, "" without one.
        profile: the profile in force, or None.
    """

    def __init__(
        self, document: Node, environ: Mapping[str, str], arguments: Node, path: str, profile: str | None
    ) -> None:
        self.redactor = Redactor()
        self.path = path
        self.profile = profile
        self._environ = environ
        self._document = document
        self._above = merge(read_variables(environ, merge(document, arguments)), arguments)
        self._everything = merge(document, self._above)
        self._checked: dict[tuple[str, type[BaseModel], tuple[Override, ...]], BaseModel] = {}

    @classmethod
    def load(
        cls,
        source: object = None,
        *,
        environ: Mapping[str, str],
        profile: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        start: Path | None = None,
    ) -> Settings:
        """
        Read every source; nothing is checked yet but the syntax.

        Args:
            source: a path or a mapping; None searches for `penstock.toml`; False reads no file.
            environ: the environment, usually `os.environ`; copied.
            profile: a profile of the file; None takes `PENSTOCK_ENV`.
            arguments: sections on top of everything; True and False switch one on or off, None says nothing.
            start: the folder the search begins in, None for the working directory.

        Raises:
            ConfigError: the file cannot be read or is no TOML, or has no such profile.
        """
        document, path = read_source(source, environ, start or Path.cwd())
        document, profile = choose_profile(document, profile, environ.get("PENSTOCK_ENV"), path)
        sections = {
            key: {"enabled": value} if isinstance(value, bool) and key not in CORE_KEYS else value
            for key, value in (arguments or {}).items()
            if value is not None
        }
        on_top = grow(sections, lambda keys: Origin("argument", f"argument {written(keys[:1])}"))
        return cls(document, dict(environ), on_top, path, profile)

    def __repr__(self) -> str:
        return f"Settings({self.path!r}, profile={self.profile!r})"

    @cached_property
    def core(self) -> CoreConfig:
        """The core's own keys; raises ConfigError when one is wrong."""
        return self.section("", CoreConfig)

    @cached_property
    def providers(self) -> dict[str, str]:
        """The plugin of every provider instance, in the order of the sources; raises ConfigError."""
        table = find(self._everything, ("providers",)) or EMPTY
        if not isinstance(table.value, dict):
            raise ConfigError(f"{table.origin.place}: providers: must be a table")
        plugins: dict[str, str] = {}
        for instance, node in table.value.items():
            named = find(node, ("plugin",)) or Node(instance, node.origin, node.path)
            if not isinstance(node.value, dict):
                raise ConfigError(f"{node.origin.place}: {written(node.path)}: must be a table")
            if not isinstance(named.value, str):
                raise ConfigError(f"{named.origin.place}: {written(named.path)}: must be a plugin's name")
            plugins[instance] = named.value
        return plugins

    def tables(self) -> tuple[str, ...]:
        """The top-level keys that are not the core's, in the order of the sources."""
        return tuple(key for key in self.keys() if key not in CORE_KEYS)

    def keys(self, *path: str) -> tuple[str, ...]:
        """The keys of a table, in the order of the sources: `keys("routes")` are the names of the routes."""
        table = find(self._everything, path)
        return tuple(table.value) if table is not None and isinstance(table.value, dict) else ()

    def check_empty(self, table: str, why: str) -> None:
        """Raises ConfigError if a table says anything, with the reason why it must not."""
        node = find(self._everything, (table,))
        if node is not None and node.value:
            raise ConfigError(f"{node.origin.place}: [{table}] {why}")

    def check_unknown(self, known: Iterable[str]) -> None:
        """Raises ConfigError for the top-level keys that are neither the core's nor `known`."""
        known = CORE_KEYS.union(known)
        strangers = [find(self._everything, (key,)) for key in self.tables() if key not in known]
        if strangers:
            raise ConfigError("\n".join(unknown_key(node, known) for node in strangers if node))

    def section(self, name: str, model: type[M]) -> M:
        """A section without its overrides; raises ConfigError with every problem, one in a line."""
        return self.resolve(name, model)

    def provider(self, instance: str, model: type[M]) -> M:
        """The configuration of a provider instance; raises as `section` does."""
        return self.resolve(f"providers.{instance}", model)

    def resolve(
        self,
        name: str,
        model: type[M],
        *,
        route: str | None = None,
        target: Target | str | None = None,
    ) -> M:
        """The section as it is for a route and a target; the same overrides give the same object."""
        key = (name, model, self._matching(name, route, target))
        if key not in self._checked:
            self._checked[key] = _require(self._check(*key))
        return cast("M", self._checked[key])

    def overrides(self, name: str) -> list[Override]:
        """`("route", name)` and `("target", glob)` of every override of a plugin's section."""
        if not name or name.startswith("providers."):
            return []
        return [(kind, key) for kind, table in _TABLES.items() for key in self.keys(name, table)]

    def validate(self, name: str, model: type[BaseModel]) -> None:
        """Check a section and each of its overrides; raises ConfigError with every problem."""
        problems = list(self._check(name, model).problems)
        for kind, key in self.overrides(name):
            problems += self._check(name, model, ((kind, key),)).problems
            if kind == "target" and "/" not in key and not _WILDCARD.search(key):
                node = find(self._everything, (name, "targets", key)) or EMPTY
                hint = f"matches no target, they are called provider/model; did you mean {key + '/*'!r}?"
                problems.append(Problem(f"{node.origin.place}: [{written(node.path)}]: {hint}"))
        _raise(problems)

    def explain(
        self,
        name: str,
        model: type[BaseModel],
        route: str | None = None,
        target: Target | str | None = None,
    ) -> list[tuple[str, Any, Origin]]:
        """Every key of a section for a route and a target: its value in force, secrets masked, its origin."""
        from penstock.config.explain import explain

        matching = self._matching(name, route, target)
        checked = self._check(name, model, matching)
        node = self._node(name, model, matching)
        return list(explain(_require(checked), node, _address(name), checked.templates, self.redactor))

    @staticmethod
    def schema(models: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
        """The JSON Schema of the whole file; the models by section name or `providers.<plugin>`."""
        from penstock.config.schema import file_schema

        return file_schema(models)

    def _matching(self, name: str, route: str | None, target: Target | str | None) -> tuple[Override, ...]:
        """The overrides in force, the least specific first."""
        routes = [(kind, key) for kind, key in self.overrides(name) if kind == "route" and key == route]
        targets = [
            (kind, key)
            for kind, key in self.overrides(name)
            if kind == "target" and target is not None and fnmatchcase(str(target), key)
        ]
        return (*routes, *sorted(targets, key=lambda override: len(_WILDCARD.sub("", override[1]))))

    def _check(self, name: str, model: type[BaseModel], overrides: tuple[Override, ...] = ()) -> Checked:
        node = self._node(name, model, overrides)
        return check(node, model, self._environ, self.redactor, short=self._takes_short_names(name))

    def _node(self, name: str, model: type[BaseModel], overrides: tuple[Override, ...] = ()) -> Node:
        """What all sources say about a section, without the keys in it that are the core's."""
        path, keys = _address(name), fields(model)
        short = None
        if self._takes_short_names(name):
            short = read_short_names(model, self._environ, path, self._document)
        node = merge(merge(find(self._document, path), short), find(self._above, path))
        if node is None or not isinstance(node.value, dict):
            return node or Node({}, EMPTY.origin, path)
        if not path:
            foreign = node.value.keys() - keys.keys()
        elif path[0] == "providers":
            foreign = {"plugin"} - keys.keys()
        else:  # a model without fields takes any key: it may name a route or target of its own like this
            foreign = set(_TABLES.values()) - keys.keys() if keys else set()
        inside = {key: inner for key, inner in node.value.items() if key not in foreign}
        base: Node | None = Node(inside, node.origin, node.path)
        for kind, key in overrides:
            base = merge(base, find(node, (_TABLES[kind], key)))
        return base or EMPTY

    def _takes_short_names(self, name: str) -> bool:
        prefix, _, instance = name.partition(".")
        return prefix != "providers" or self.providers.get(instance, instance) == instance


def _address(name: str) -> tuple[str, ...]:
    return tuple(name.split(".", 1)) if name.startswith("providers.") else (name,) if name else ()


def _require(checked: Checked) -> BaseModel:
    _raise(checked.problems)
    return cast("BaseModel", checked.config)


def _raise(problems: list[Problem]) -> None:
    if problems:
        kind = MissingCredentialError if all(problem.credential for problem in problems) else ConfigError
        raise kind("\n".join(dict.fromkeys(problem.line for problem in problems)))
