"""
What a limit is to the gate, and the limit that a configuration describes.

A `Limit` counts one key in every dimension it has. The gate asks several of them and takes from all or
from none; a version whose counts live elsewhere implements the same methods. Time is passed in, the
gate's lock is held, nothing waits.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

from penstock.frozen import dataclass
from penstock_limiter.aimd import Concurrency
from penstock_limiter.gcra import Gcra
from penstock_limiter.ledger import TokenLedger

if TYPE_CHECKING:
    from penstock_limiter.admission import Ticket

Reason: TypeAlias = Literal["rate", "tokens", "concurrency", "remaining", "paused", "queue"]
"""What lacks: a dimension, what the server said remains, a pause after a 429, or others come first."""
Kind: TypeAlias = Literal["success", "throttled", "failure", "ignored", "cancelled"]


class Settlement(NamedTuple):
    """
    What became of a permit.

    Args:
        kind: how the work ended; `throttled` is a failure that asks for less concurrency.
        tokens: what the work cost, None for what was reserved.
        request: whether the request counts; False when nothing was sent.
    """

    kind: Kind
    tokens: float | None = None
    request: bool = True


class Limit(Protocol):
    """
    One key's counts.

    Attributes:
        name: of the key, for people.
        claims: waiters that this limit has kept waiting, by arrival; nobody overtakes them here.
        queued: waiters that will need this limit.
        queued_tokens: the tokens they will need.
        out: permits that are out.
        counts_tokens: whether it wants to know what a request costs.
    """

    name: str
    claims: list[Ticket]
    queued: int
    queued_tokens: float
    out: int
    counts_tokens: bool

    def wait(self, now: float, tokens: float) -> float:
        """Seconds until this fits; 0 now, `inf` when only a permit that comes back can help."""

    def elastic(self, now: float, tokens: float) -> bool:
        """Whether a permit that comes back could shorten the wait."""

    def why(self, now: float, tokens: float) -> Reason:
        """What lacks most."""

    def predict(self, now: float, tokens: float) -> float:
        """Seconds until this would fit behind everyone queued; an estimate, `inf` when it never will."""

    def too_large(self, tokens: float) -> float | None:
        """The limit that these tokens exceed even when nothing is used, or None."""

    def take(self, now: float, tokens: float) -> Any:
        """Take what fits; the receipt is for `settle`."""

    def settle(self, receipt: Any, now: float, reserved: float, held: float, settlement: Settlement) -> None:
        """
        Give back what was not used; called once for each receipt.

        Args:
            receipt: what `take` returned.
            now: the clock's reading in seconds.
            reserved: the tokens taken.
            held: seconds since.
            settlement: what became of it.
        """

    def idle(self, now: float) -> bool:
        """Whether a fresh one would be no different."""

    def stats(self, now: float) -> dict[str, Any]:
        """Numbers for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """
    The numbers of a limit; None is without bound.

    Args:
        rate: requests per second.
        burst: requests at once, at least 1; None is one second's worth.
        tokens: tokens in a window.
        window: seconds of the window.
        concurrency: permits at once; the ceiling when adaptive.
        adaptive: find the number of permits out.
    """

    rate: float | None = None
    burst: float | None = None
    tokens: float | None = None
    window: float = 60.0
    concurrency: int | None = None
    adaptive: bool = False

    def __bool__(self) -> bool:
        return self.rate is not None or self.tokens is not None or self.holds_permits

    @property
    def holds_permits(self) -> bool:
        """Whether the number of permits is bounded."""
        return self.concurrency is not None or self.adaptive

    @property
    def room(self) -> float:
        """The burst in force."""
        return max(1.0, self.burst if self.burst is not None else math.ceil(self.rate or 1.0))


class BoundedLimit:
    """
    A limit with fixed bounds, in this process.

    Args:
        name: of the key, for people.
        bounds: its numbers.
    """

    __slots__ = (
        "bounds",
        "claims",
        "counts_tokens",
        "name",
        "out",
        "permits",
        "queued",
        "queued_tokens",
        "requests",
        "tokens",
    )

    def __init__(self, name: str, bounds: Bounds) -> None:
        self.name = name
        self.bounds = bounds
        self.claims: list[Ticket] = []
        self.queued = 0
        self.queued_tokens = 0.0
        self.out = 0
        self.requests: Gcra | None = None
        self.tokens: TokenLedger | None = None
        self.permits: Concurrency | None = None
        self.counts_tokens = False
        self.change(0.0, bounds)

    def change(self, now: float, bounds: Bounds) -> None:
        """Other numbers from now on; what was taken stays taken."""
        if bounds.rate is None:
            self.requests = None
        elif self.requests is None:
            self.requests = Gcra(bounds.rate, bounds.room)
        elif (bounds.rate, bounds.room) != (self.bounds.rate, self.bounds.room):
            self.requests.change(now, bounds.rate, bounds.room)
        if bounds.tokens is None:
            self.tokens = None
        elif self.tokens is None:
            self.tokens = TokenLedger(bounds.tokens, bounds.window)
        else:
            self.tokens.change(now, bounds.tokens, bounds.window)
        if not bounds.holds_permits:
            self.permits = None
        elif self.permits is None:
            self.permits = Concurrency(bounds.concurrency, adaptive=bounds.adaptive)
            self.permits.in_use = self.out
        else:
            self.permits.change(bounds.concurrency, adaptive=bounds.adaptive)
        self.counts_tokens = self.tokens is not None
        self.bounds = bounds

    def fork(self, now: float, name: str, bounds: Bounds) -> BoundedLimit:
        """A limit of its own with other numbers, which begins with what was used here."""
        other = BoundedLimit(name, self.bounds)
        if self.requests is not None:
            other.requests = self.requests.copy()
        if self.tokens is not None:
            other.tokens = self.tokens.copy()
        other.change(now, bounds)
        return other

    def wait(self, now: float, tokens: float) -> float:
        """Seconds until this fits; 0 now, `inf` when only a permit that comes back can help."""
        wait = 0.0
        permits = self.permits
        if permits is not None and permits.in_use >= permits.limit:
            return math.inf
        if self.requests is not None:
            wait = self.requests.wait(now)
        if self.tokens is not None:
            ledger = self.tokens.wait(now, tokens)
            if ledger > wait:
                return ledger
        return wait

    def elastic(self, now: float, tokens: float) -> bool:
        """Whether a permit that comes back could shorten the wait."""
        if self.permits is not None and self.permits.in_use >= self.permits.limit:
            return True
        return self.out > 0 and self.tokens is not None and self.tokens.wait(now, tokens) > 0.0

    def why(self, now: float, tokens: float) -> Reason:
        """What lacks most."""
        if self.permits is not None and self.permits.in_use >= self.permits.limit:
            return "concurrency"
        rate = self.requests.wait(now) if self.requests is not None else 0.0
        ledger = self.tokens.wait(now, tokens) if self.tokens is not None else 0.0
        return "tokens" if ledger > rate else "rate" if rate > 0.0 else "queue"

    def predict(self, now: float, tokens: float) -> float:
        """Seconds until this would fit behind everyone queued; an estimate, `inf` when it never will."""
        wait = 0.0
        if self.requests is not None:
            wait = self.requests.wait(now, self.queued)
        if self.tokens is not None:
            wait = max(wait, self.tokens.wait(now, tokens, self.queued_tokens))
        if self.permits is not None:
            wait = max(wait, self.permits.predict(self.queued))
        return wait

    def too_large(self, tokens: float) -> float | None:
        """The limit that these tokens exceed even when nothing is used, or None."""
        ledger = self.tokens
        return ledger.limit if ledger is not None and tokens > ledger.limit else None

    def take(self, now: float, tokens: float) -> Any:
        """Take what fits; the receipt is for `settle`."""
        self.out += 1
        if self.permits is not None:
            self.permits.in_use += 1
        requests, ledger = self.requests, self.tokens
        return (
            requests.take(now) if requests is not None else None,
            ledger,
            ledger.take(now, tokens) if ledger is not None else None,
        )

    def settle(self, receipt: Any, now: float, reserved: float, held: float, settlement: Settlement) -> None:
        """Give back what was not used; called once for each receipt."""
        self.out -= 1
        take, ledger, slot = receipt
        if not settlement.request and take is not None and self.requests is not None:
            self.requests.refund(take)
        if ledger is not None and settlement.tokens is not None:
            ledger.settle(slot, settlement.tokens - reserved)
        if self.permits is not None:
            self.permits.release(now, settlement.kind, held)

    def idle(self, now: float) -> bool:
        """Whether a fresh one would be no different."""
        if self.out or self.queued or self.claims:
            return False
        if self.requests is not None and self.requests.available(now) < self.requests.burst:
            return False
        return self.tokens is None or self.tokens.available(now) >= self.tokens.limit

    def stats(self, now: float) -> dict[str, Any]:
        """Numbers for people; a dimension without a bound is absent."""
        numbers: dict[str, Any] = {"in_flight": self.out, "waiting": self.queued}
        if self.requests is not None:
            numbers["rate"] = 1.0 / self.requests.interval
            numbers["burst"] = self.requests.burst
            numbers["available_requests"] = self.requests.available(now)
        if self.tokens is not None:
            numbers["tokens"] = self.tokens.limit
            numbers["window"] = self.tokens.window
            numbers["available_tokens"] = self.tokens.available(now)
        if self.permits is not None:
            numbers["concurrency"] = self.permits.limit
            numbers["available_permits"] = max(0, self.permits.limit - self.permits.in_use)
        return numbers
