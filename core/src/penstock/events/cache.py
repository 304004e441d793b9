"""What the cache stage finds and keeps."""

from __future__ import annotations

from typing import Literal

from penstock.events.calls import CallEvent
from penstock.frozen import dataclass


@dataclass(frozen=True, slots=True)
class CacheLookup(CallEvent):
    """
    What the cache had for a call; once for every call that passes it.

    Args:
        result: `hit`, `stale` (an expired answer was given), `miss` (upstream is asked), `bypass` (the cache
            has nothing to do with the call) or `error` (the store failed; upstream is asked).
        reason: of a hit `fresh`, `coalesced` (another call's answer) or `negative` (a remembered error); of a
            stale one `revalidating` or `error`; of a miss `absent`, `expired` or `refresh`; of a bypass
            `sampled`, `not_selected`, `kind` or `unhashable`; of an error `store`.
        key: a hash, "" for a bypass.
        age: seconds since the answer was given, None without one.
    """

    result: Literal["hit", "stale", "miss", "bypass", "error"]
    reason: str
    key: str
    age: float | None


@dataclass(frozen=True, slots=True)
class CacheStored(CallEvent):
    """
    An answer was kept.

    Args:
        key: a hash.
        ttl: seconds it is fresh.
        size: bytes as stored.
    """

    key: str
    ttl: float
    size: int


@dataclass(frozen=True, slots=True)
class CacheNotStored(CallEvent):
    """
    An answer that was looked up is not kept.

    Args:
        key: a hash.
        reason: `incomplete` (cut, broken or left early), `empty`, `error` (inside the answer), `ttl` (the
            call said 0), `invalidated` (cleared meanwhile) or `unstorable`.
    """

    key: str
    reason: Literal["incomplete", "empty", "error", "ttl", "invalidated", "unstorable"]


@dataclass(frozen=True, slots=True)
class CacheFailed(CallEvent):
    """
    Something of the cache failed; the call did not.

    Args:
        operation: `get` or `set` of the store, `decode` of what it gave back, `ttl_rule`, or `revalidate`.
        error: what it failed with.
    """

    operation: Literal["get", "set", "decode", "ttl_rule", "revalidate"]
    error: Exception
