"""
Frozen dataclasses that are cheap to define and cheap to make.

`dataclass(frozen=True, slots=True)` means the same here as in the standard library, and type checkers see
the standard library's. It differs in cost, which matters because there are some 150 such classes and a
call makes a dozen objects of them:

- The standard library compiles six methods for each class, half a millisecond together, a sixth of the time
  it took to build a client. Here classes share what can be shared, and the constructor is compiled when the
  first object is made.
- Its constructor sets each field through `object.__setattr__`, which looks the name up each time. Ours fills
  the slots through their descriptors, in less than half the time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(
        *, frozen: bool = False, slots: bool = False, kw_only: bool = False, repr: bool = True
    ) -> Any:
        """The standard library's decorator; what is not frozen, or has no slots, it makes itself."""
        if not (frozen and slots):
            return dataclasses.dataclass(frozen=frozen, slots=slots, kw_only=kw_only, repr=repr)

        def decorate(kind: type[T]) -> type[T]:
            bare = dataclasses.dataclass(
                frozen=True, slots=True, kw_only=kw_only, init=False, repr=False, eq=False
            )
            return _completed(bare(kind), show=repr)

        return decorate


class Shared:
    """
    A default that all objects may share, where the standard library would refuse it for not being hashable:
    `field(default_factory=Shared(EMPTY))`.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self) -> Any:
        return self.value


def _completed(kind: type[Any], *, show: bool) -> type[Any]:
    fields = dataclasses.fields(kind)
    for field in fields:
        if not field.init or field.hash is not None:
            raise TypeError(
                f"{kind.__qualname__}.{field.name}: use dataclasses.dataclass for init= and hash="
            )
    methods = _comparing([field.name for field in fields if field.compare])
    if show:
        methods["__repr__"] = _repr
    methods["__init__"] = _first(kind)
    own = vars(kind)
    for name, method in methods.items():
        if own.get(name) is None:  # `__hash__` is None where there was only an `__eq__`
            setattr(kind, name, method)
    return kind


def _comparing(names: list[str]) -> dict[str, Callable[..., Any]]:
    """`__eq__` and `__hash__`; in C but for the call, because such objects are keys too."""
    values: Callable[[Any], Any] = attrgetter(*names) if names else lambda record: ()

    def equal(self: Any, other: object) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return values(self) == values(other)

    def hashed(self: Any) -> int:
        return hash(values(self))

    return {"__eq__": equal, "__hash__": hashed}


def _first(kind: type[Any]) -> Callable[..., None]:
    """The constructor until there is one."""

    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        kind.__init__ = _compiled(kind)
        kind.__init__(self, *args, **kwargs)

    return construct


def _compiled(kind: type[Any]) -> Any:
    """A constructor with the signature the standard library would give it."""
    names: dict[str, Any] = {"_MISSING": dataclasses.MISSING}
    positional: list[str] = []
    keyword: list[str] = []
    body: list[str] = []
    for field in dataclasses.fields(kind):
        name = parameter = value = field.name
        names[f"_set_{name}"] = getattr(kind, name).__set__
        make: Any = field.default_factory
        if isinstance(make, Shared) or field.default is not dataclasses.MISSING:
            names[f"_default_{name}"] = make.value if isinstance(make, Shared) else field.default
            parameter = f"{name}=_default_{name}"
        elif make is not dataclasses.MISSING:
            names[f"_make_{name}"] = make
            parameter = f"{name}=_MISSING"
            value = f"_make_{name}() if {name} is _MISSING else {name}"
        (keyword if field.kw_only else positional).append(parameter)
        body.append(f"    _set_{name}(self, {value})")
    if hasattr(kind, "__post_init__"):
        body.append("    self.__post_init__()")
    signature = ", ".join(["self", *positional, *(["*", *keyword] if keyword else [])])
    source = f"def __init__({signature}):\n" + "\n".join(body or ["    pass"])
    exec(source, names)  # noqa: S102  # made of names of fields alone, which the class statement has parsed
    init = names["__init__"]
    init.__qualname__ = f"{kind.__qualname__}.__init__"
    return init


@recursive_repr()
def _repr(self: Any) -> str:
    shown = [f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self) if f.repr]
    return f"{type(self).__qualname__}({', '.join(shown)})"
