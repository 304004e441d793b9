"""What the guard stage refuses, fetches and finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from penstock.events.calls import CallEvent
from penstock.frozen import dataclass

if TYPE_CHECKING:
    from penstock.errors import CallError


@dataclass(frozen=True, slots=True)
class GuardRejected(CallEvent):
    """
    The guard refused a call, or its answer.

    Args:
        param: the parameter at fault, None when a scan found something.
        error: what the caller sees.
    """

    param: str | None
    error: CallError


@dataclass(frozen=True, slots=True)
class GuardFetched(CallEvent):
    """
    An image of a request was fetched.

    Args:
        url: scheme, host and path.
        size: bytes.
        seconds: how long it took.
    """

    url: str
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class GuardFound(CallEvent):
    """
    A scan found private data or a secret; the find itself is nowhere in the event.

    Args:
        where: `prompt` or `answer`.
        action: what was done: `log`, `mask` or `reject`.
        found: how often, by the pattern's name.
    """

    where: Literal["prompt", "answer"]
    action: Literal["log", "mask", "reject"]
    found: Mapping[str, int]
