"""
The contract of a dialect: how one kind of provider answers, without I/O.

The simulator asks the first dialect that claims a path. Faults ask it for what they must say in the
provider's own words: an error answer, an error event, a keep-alive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from penstock_testkit.failure import Failure
    from penstock_testkit.plan import Data, Plan
    from penstock_testkit.rate_limits import RateReading
    from penstock_testkit.received import ReceivedRequest

TextRule: TypeAlias = "str | Callable[[ReceivedRequest, str], str]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    What the simulated upstream is like; all dialects share it.

    Args:
        text: what models answer: a text, a function of the request and the prompt, or None for a
            text derived from the prompt.
        models: the models that exist; None lets every name through.
        api_key: the only key that is accepted; None accepts every request.
        dimensions: length of an embedding when the request does not say.
    """

    text: TextRule | None = None
    models: tuple[str, ...] | None = None
    api_key: str | None = None
    dimensions: int = 32


@dataclass(frozen=True, slots=True)
class Occasion:
    """
    One request on its way to its answer.

    Args:
        request: what arrived.
        dialect: who answers.
        settings: what the upstream is like.
        reading: the rate limiter's state after this request.
        wall: seconds since the epoch, for HTTP dates.
    """

    request: ReceivedRequest
    dialect: Dialect
    settings: Settings
    reading: RateReading
    wall: float


class Dialect(Protocol):
    """
    One provider's way of answering.

    Attributes:
        name: such as `openai`.
        keep_alive: bytes that keep a stream of this dialect open and mean nothing.
    """

    name: str
    keep_alive: bytes

    def claims(self, request: ReceivedRequest) -> bool:
        """Whether the path belongs to this dialect."""

    def answer(self, occasion: Occasion, text: str | None = None) -> Plan:
        """
        What the healthy provider does, its refusals included.

        Args:
            occasion: the request and its surroundings.
            text: what the model says this once, instead of what the settings say.
        """

    def failure(self, failure: Failure, occasion: Occasion) -> Plan:
        """A whole error answer in the provider's shape."""

    def error_event(self, failure: Failure, occasion: Occasion) -> Data:
        """The same error as an event inside a running stream."""
