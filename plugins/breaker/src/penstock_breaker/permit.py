"""What asking a circuit brings: leave for one attempt, or a refusal; and what can come of it."""

from __future__ import annotations

from typing import Literal, TypeAlias

from penstock.frozen import dataclass

Settled: TypeAlias = Literal["success", "failure", "ignored", "cancelled"]
RefusalReason: TypeAlias = Literal["open", "probing", "forced_open", "credential_rests"]


class Permit:
    """
    Leave for one attempt; hand it to `Circuit.settle` on every path.

    Args:
        generation: the circuit's when it was given.
        due: a probe's lease ends at this reading of the clock; `inf` for others.
    """

    __slots__ = ("due", "generation", "settled")

    def __init__(self, generation: int, due: float = float("inf")) -> None:
        self.generation = generation
        self.due = due
        self.settled = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    No leave, and why.

    Args:
        reason: `open`, `probing` (half open, all probes under way), `forced_open`, or for a credential
            `credential_rests`.
        retry_after: seconds after which asking again may help.
    """

    reason: RefusalReason
    retry_after: float
