"""
The file `penstock config init` writes: every key of every installed plugin, explained, with its default.

A comment with a space (`# text`) explains; a value without one (`#key = value`) can be switched on by taking
the `#` away. Defaults stay comments, so that a later version may improve them; only what the specification
asks a new user to have is switched on.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic_core import PydanticUndefined

from penstock.config import CoreConfig, Env, Settings
from penstock.config.shape import fields, is_model, is_secret, members
from penstock_cli.catalogue import Catalogue
from penstock_cli.values import toml_value

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

SWITCHED_ON: Mapping[str, Mapping[str, Any]] = {"limiter": {"rate": "10/s", "burst": 20}}
"""A limiter without a rate only learns from what servers say; a new user gets one that protects at once."""

HEAD = """\
# The configuration of Penstock. Lines like `#key = value` are the defaults: take the # away to change one.
# Any value may be "${VARIABLE}" from the environment, a secret also "file:/path/to/it".
# `penstock config check` checks this file, `penstock config show --origin` shows what is in force and why.
"""
PROFILES = """\
# What differs in an environment, chosen by PENSTOCK_ENV or --profile: any table of this file, below its name.
#[profiles.production.timeouts]
#total = "2m"
"""


def template() -> str:
    """The text of the file."""
    lists = {name: value for name, value in os.environ.items() if name == "PENSTOCK_PLUGINS"}
    catalogue = Catalogue(Settings.load(False, environ=lists))
    parts = [HEAD, *_core(catalogue)]
    for name, model in catalogue.models().items():
        # A provider's table makes it a part of every client, which then needs its key: left to the user.
        parts.append(_section(name, model, header_on=not name.startswith("providers.")))
    return "\n".join(dict.fromkeys([*parts, PROFILES]))


def _core(catalogue: Catalogue) -> Iterator[str]:
    names = [stage.name for stage in catalogue.stages()]
    lines: list[str] = []
    for key, field in fields(CoreConfig).items():
        if not _is_table(field):
            default = names if key == "pipeline" else field.default
            lines += _entry(key, field, default, on=key == "version")
    yield "\n".join(lines) + "\n"
    for key, field in fields(CoreConfig).items():
        if _is_table(field):
            yield _section(key, type(field.default), intro=field.description or "")


def _section(
    name: str,
    model: type[BaseModel],
    *,
    intro: str | None = None,
    header_on: bool = True,
) -> str:
    """One table with the tables inside it."""
    if intro is None:
        intro, *_ = (model.__doc__ or "").strip().split("\n\n")
    lines = [*_prose(intro), f"{'' if header_on else '#'}[{name}]"]
    inner, on = [], SWITCHED_ON.get(name, {})
    for key, field in fields(model).items():
        if _is_table(field):
            intro = field.description or ""
            inner.append(_section(f"{name}.{key}", type(field.default), intro=intro, header_on=header_on))
        else:
            value = on.get(key)
            lines += _entry(
                key,
                field,
                field.get_default(call_default_factory=True) if value is None else value,
                on=value is not None,
            )
    return "\n".join(["\n".join(lines) + "\n", *inner])


def _entry(key: str, field: FieldInfo, default: Any, *, on: bool) -> Iterator[str]:
    names = [mark.name for mark in field.metadata if isinstance(mark, Env)]
    value = None if default is PydanticUndefined else toml_value(default)
    note = f" Also: {', '.join(names)}." if names else ""
    if value is None:
        note += " Not set by default."
    yield from _prose(f"{field.description or ''}{note}")
    yield f"{'' if on else '#'}{key} = {value or _example(field, names)}"


def _example(field: FieldInfo, names: list[str]) -> str | None:
    """Something to replace, of the right kind, where the default is "not set", which TOML cannot say."""
    kinds = members(field.annotation)
    choices = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    if is_secret(kinds) and names:
        return f'"${{{names[0]}}}"'
    lists = [("...",) for kind in kinds if get_origin(kind) in (list, tuple)]
    numbers = [0 for kind in kinds if kind in (int, float)]
    return toml_value([*(field.examples or ()), *choices, *lists, *numbers, "..."][0])


def _is_table(field: FieldInfo) -> bool:
    return is_model(type(field.default))


def _prose(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), 108)]
