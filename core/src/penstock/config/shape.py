"""
What a configuration model expects at a key, read from its annotations.

The secrets, the environment names and the nearest known key all depend on the field a value is meant for,
before pydantic has seen it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, RootModel, SecretBytes, SecretStr

from penstock.config.types import Env

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


def fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys a model takes; none when it takes any (a RootModel)."""
    if issubclass(model, RootModel):
        return {}
    return {field.alias or name: field for name, field in model.model_fields.items()}


def members(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of an annotation, without unions, `Annotated` and aliases around them."""
    annotation = getattr(annotation, "__value__", annotation)
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return tuple(member for choice in get_args(annotation) for member in members(choice))
    if is_model(annotation) and issubclass(annotation, RootModel):
        return members(annotation.model_fields["root"].annotation)
    return (annotation,)


def below(kinds: tuple[Any, ...], key: str | int) -> tuple[Any, ...]:
    """The alternatives for what stands at `key` inside a value of one of `kinds`."""
    found: list[Any] = []
    for kind in kinds:
        origin, arguments = get_origin(kind), get_args(kind)
        if is_model(kind):
            field = fields(kind).get(str(key))
            arguments = () if field is None else (field.annotation,)
        elif not isinstance(origin, type):
            continue
        elif issubclass(origin, Mapping):
            arguments = arguments[1:]
        found.extend(member for argument in arguments for member in members(argument))
    return tuple(found)


def is_model(kind: Any) -> bool:
    """Whether an alternative is a pydantic model."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def is_secret(kinds: tuple[Any, ...]) -> bool:
    """Whether a field may hold a secret."""
    return SecretStr in kinds or SecretBytes in kinds


def takes_text(kinds: tuple[Any, ...], value: object) -> bool:
    """Whether an environment variable is meant as text although `value`, read as TOML, is not."""
    return (str in kinds or is_secret(kinds)) and type(value) not in kinds and not isinstance(value, str)


def known_keys(kinds: tuple[Any, ...]) -> list[str]:
    """The keys that any of the models among the alternatives takes."""
    return [key for kind in kinds if is_model(kind) for key in fields(kind)]


def short_names(
    model: type[BaseModel], prefix: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Env]]:
    """Every `Env` of a model and of the models inside it, with the keys of its field."""
    for key, field in fields(model).items():
        for mark in field.metadata:
            if isinstance(mark, Env):
                yield (*prefix, key), mark
        for kind in members(field.annotation):
            if is_model(kind):
                yield from short_names(kind, (*prefix, key))


def undescribed(model: type[BaseModel]) -> list[str]:
    """The keys without a description, which a plugin's tests expect to be none."""
    bare = [key for key, field in fields(model).items() if not field.description]
    for key, field in fields(model).items():
        inner = [kind for kind in members(field.annotation) if is_model(kind)]
        bare.extend(f"{key}.{name}" for kind in inner for name in undescribed(kind))
    return bare
