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
        *, frozen: bool = False, slots: bool = True, kw_only: bool = False, repr: bool = True
    ) -> Any:
        """The standard library's decorator; what is not frozen it makes itself."""
        if not frozen:
            return dataclasses.dataclass(slots=slots, kw_only=kw_only, repr=repr)

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


def _completed(kind: type[T], *, show: bool) -> type[T]:
    for each in dataclasses.fields(kind):  # type: ignore[arg-type]  # it is one
        if not each.init or each.hash is not None:
            raise TypeError(f"{kind.__qualname__}.{each.name}: use dataclasses.dataclass for init= and hash=")
    own = vars(kind)
    methods = [*_comparing(kind), *([_repr] if show else [])]
    for method in methods:
        if method.__name__ not in own or (method.__name__ == "__hash__" and own["__hash__"] is None):
            setattr(kind, method.__name__, method)
    if "__init__" not in own:
        kind.__init__ = _first(kind)  # type: ignore[method-assign]  # what a dataclass decorator does
    return kind


def _comparing(kind: type[Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`__eq__` and `__hash__`; in C but for the call, because such objects are keys too."""
    names = [field.name for field in dataclasses.fields(kind) if field.compare]
    values: Callable[[Any], Any] = attrgetter(*names) if names else lambda record: ()

    def __eq__(self: Any, other: object) -> Any:  # noqa: N807
        if other.__class__ is not self.__class__:
            return NotImplemented
        return values(self) == values(other)

    def __hash__(self: Any) -> int:  # noqa: N807
        return hash(values(self))

    return __eq__, __hash__


def _first(kind: type[Any]) -> Callable[..., None]:
    """The constructor until there is one."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807  # it stands for the real one
        kind.__init__ = _compiled(kind)
        kind.__init__(self, *args, **kwargs)

    return __init__


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
    exec(f"def __init__({signature}):\n" + "\n".join(body or ["    pass"]), names)  # noqa: S102  # as dataclasses do
    init = names["__init__"]
    init.__qualname__ = f"{kind.__qualname__}.__init__"
    return init


@recursive_repr()
def _repr(self: Any) -> str:
    shown = [f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self) if f.repr]
    return f"{type(self).__qualname__}({', '.join(shown)})"


_repr.__name__ = "__repr__"
