"""
Every table behind a client, found by walking from it: whoever adds one that grows need not tell anybody.

A table is a dict, list, set or deque that an object of Penstock, a closure of its chains or one of its
modules holds. They are named by class and attribute and added up over all instances, so a hundred breakers
with one window each and one breaker with a hundred windows look the same.
"""

from __future__ import annotations

import functools
import gc
import sys
from collections import Counter, deque
from collections.abc import Iterator
from types import BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

CONTAINERS = (dict, list, set, deque, WeakValueDictionary, WeakKeyDictionary, WeakSet)
_OPAQUE = (str, bytes, int, float, complex, type, ModuleType, type(None))


def tables(*roots: Any) -> dict[str, int]:
    """The length of every table reachable from `roots` and from Penstock's modules, by its name."""
    found: Counter[str] = Counter()
    seen: set[int] = set()
    waiting: list[tuple[Any, str]] = [(root, "") for root in roots]
    for name, module in list(sys.modules.items()):
        if name.split(".")[0].startswith("penstock"):
            waiting += [(value, f"{name}.{key}") for key, value in vars(module).items() if _is_table(value)]
    while waiting:
        value, name = waiting.pop()
        if isinstance(value, _OPAQUE) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, CONTAINERS):
            found[name or type(value).__name__] += len(value)
        elif cached := getattr(value, "cache_info", None):
            found[f"{name} (lru_cache)"] += cached().currsize
        waiting += _inside(value, name)
    return dict(found)


def _is_table(value: Any) -> bool:
    return isinstance(value, CONTAINERS) or hasattr(value, "cache_info")


def _inside(value: Any, name: str) -> Iterator[tuple[Any, str]]:
    """What an object holds, with the names it goes by."""
    if isinstance(value, dict | WeakValueDictionary | WeakKeyDictionary):
        yield from ((item, f"{name}[]") for item in list(value.values()))
    elif isinstance(value, list | tuple | set | frozenset | deque | WeakSet):
        yield from ((item, f"{name}[]") for item in list(value))
    elif isinstance(value, FunctionType):
        for cell in value.__closure__ or ():
            try:
                yield cell.cell_contents, f"{value.__qualname__}:cell"
            except ValueError:  # not filled yet
                continue
    elif isinstance(value, MethodType | BuiltinMethodType):
        yield value.__self__, name
    elif isinstance(value, functools.partial):
        yield value.func, name
        yield from ((item, name) for item in value.args)
    elif type(value).__module__.split(".")[0].startswith("penstock"):
        kind = type(value).__name__
        yield from ((item, f"{kind}.{key}") for key, item in getattr(value, "__dict__", {}).items())
        for cls in type(value).__mro__:
            slots = cls.__dict__.get("__slots__", ())
            for slot in (slots,) if isinstance(slots, str) else slots:
                key = f"_{cls.__name__}{slot}" if slot.startswith("__") else slot
                yield getattr(value, key, None), f"{kind}.{slot}"


def types() -> Counter[str]:
    """How many objects of each type the garbage collector tracks."""
    return Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())
