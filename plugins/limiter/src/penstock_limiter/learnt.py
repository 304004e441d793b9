"""
What the server's answers taught: how much it says remains, and pauses after a 429. Only ever tighter.

Rules
1. A head's `remaining` is the server's count when the request arrived there; what was admitted after that
   request is subtracted. The head of a younger request replaces what an older one said; a
   straggler can only lower it. At the reset the window is fresh: the server's limit, where it said one,
   is counted down once more, so that a crowd that waited for the reset does not overrun it; heads of
   requests from before the reset say nothing about the new window.
2. Nothing left means nothing until the reset, as a fixed window would have it. When several heads in a row
   show that the reset grows in proportion to what is used, the server runs a bucket that refills all
   the time, and the allowance refills with it; a 429 takes that trust away.
3. A 429 pauses the key until the server's hint and a little jitter, so that no crowd comes back at once.
   Without a hint the pause is 1 s and doubles with each further 429, up to 20 s; a crowd of 429s for
   requests sent before the pause counts once.
4. Counts of the server are never added to the configured ones: both must have room.
5. While nothing is known the limit is `quiet`, and costs a call one comparison.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock_limiter.admission import Ticket
    from penstock_limiter.limit import Reason, Settlement

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 20.0
GRACE = 0.05
"""Seconds added to a reset: servers round it, and who comes a millisecond early is refused."""


class Allowance:
    """
    What remains of one dimension by the server's word.

    Attributes:
        left: what may still be taken.
        until: the clock's reading when the window is fresh; in the past when nothing is known.
    """

    __slots__ = (
        "_alike",
        "_at",
        "_limit",
        "_period",
        "_rolled",
        "_share",
        "_span",
        "_stamp",
        "left",
        "refill",
        "until",
    )

    # Two periods within 5 % are the same, two shares of use within 20 % prove nothing, and counts are rounded
    # down and resets to milliseconds, so a refill is believed to 95 %.
    ALIKE = 0.05
    APART = 1.2
    CAREFUL = 0.95
    PROOF = 3
    """Comparisons in a row that must agree before a refill is believed."""

    def __init__(self) -> None:
        self.left = 0.0
        self.until = float("-inf")
        self.refill = 0.0
        self._at = 0.0
        self._stamp = -1
        self._share = 0.0
        self._period = 0.0
        self._alike = 0
        self._limit: float | None = None
        self._span = 0.0
        self._rolled = -1

    def hear(
        self,
        now: float,
        stamp: int,
        since: float,
        remaining: float,
        reset: float,
        limit: float | None,
        plenty: bool,
    ) -> None:
        """
        Take in one head.

        Args:
            now: the clock's reading in seconds.
            stamp: which request it answers; younger ones have higher stamps.
            since: what was admitted after that request.
            remaining: what the server says is left.
            reset: seconds until its window is fresh.
            limit: of the server's window, when it says so.
            plenty: so much that it need not be counted down.
        """
        if stamp <= self._rolled:
            return
        if stamp < self._stamp and now < self.until:
            self.left = min(self.left, remaining - since)
            return
        self._learn_refill(remaining, reset, limit)
        if plenty and now >= self.until:
            return
        self._stamp = stamp
        self._at = now
        self.left = remaining - since
        self.until = now + reset + GRACE
        self._limit = limit
        self._span = max(reset, self._span)

    def roll(self, now: float, latest: int) -> None:
        """
        Begin a fresh window when the last one is over.

        Args:
            now: the clock's reading in seconds.
            latest: the stamp of the youngest request.
        """
        if now >= self.until and self._limit is not None:
            self.left = self._limit
            self.until = now + self._span
            self._at = now
            self._rolled = latest
            self._limit = None  # once: without further heads nothing is known after this one

    def wait(self, now: float, cost: float, ahead: float = 0.0) -> float:
        """Seconds until `cost` is allowed behind `ahead`; 0 when it is now."""
        if now >= self.until:
            return 0.0
        left = self.left
        lacking = cost + ahead - left
        if self.refill:
            lacking -= self.refill * (now - self._at)
        if lacking <= 0.0:
            return 0.0
        wait = self.until - now
        return min(wait, lacking / self.refill) if self.refill else wait

    def give_back(self, stamp: int, cost: float) -> None:
        """A request was never sent; when it came before the last head, that one never counted it."""
        if stamp > self._stamp:
            self.left += cost

    def distrust(self) -> None:
        """The server refused: its bucket, if it is one, must prove itself again."""
        self._alike = 0
        self.refill = 0.0

    def _learn_refill(self, remaining: float, reset: float, limit: float | None) -> None:
        used = (limit or 0.0) - remaining
        if limit is None or used <= 0.0 or reset <= 0.0:
            return
        # In a bucket the time until it is full is used / limit of a constant period.
        share, period = used / limit, reset * limit / used
        if self._share and not 1 / self.APART < share / self._share < self.APART:
            alike = abs(period - self._period) <= self.ALIKE * self._period
            self._alike = self._alike + 1 if alike else 0
            self.refill = limit / period * self.CAREFUL if self._alike >= self.PROOF else 0.0
        self._share, self._period = share, period


class LearntLimit:
    """
    The limit of one key that only answers describe; see `Limit` for its methods.

    Args:
        name: of the key, for people.

    Attributes:
        quiet: nothing is known, so nothing is limited.
        latest: the stamp of the youngest request.
        spent: tokens admitted so far, to know later what came after a request.
        trouble: 429s without a hint in a row.
    """

    __slots__ = (
        "_count",
        "_storm",
        "claims",
        "counts_tokens",
        "latest",
        "name",
        "out",
        "paused_until",
        "queued",
        "queued_tokens",
        "quiet",
        "requests",
        "spent",
        "tokens",
        "trouble",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.claims: list[Ticket] = []
        self.queued = 0
        self.queued_tokens = 0.0
        self.out = 0
        self.counts_tokens = False
        self.quiet = True
        self.latest = 0
        self.requests = Allowance()
        self.tokens = Allowance()
        self.paused_until = float("-inf")
        self._count = itertools.count(1)
        self.spent = 0.0
        self.trouble = 0
        self._storm = -1

    def stamp(self) -> int:
        """Number a request; needs no lock."""
        self.latest = number = next(self._count)
        return number

    def hear(self, now: float, stamp: int, spent: float, limits: Any, *, plenty: bool = False) -> None:
        """
        Take in what a head says.

        Args:
            now: the clock's reading in seconds.
            stamp: of the request it answers.
            spent: `spent` when that request had been admitted.
            limits: what `rate_limits(head)` of the provider returned.
            plenty: so much that it need not be counted down.
        """
        self._look(now)
        if limits.remaining_requests is not None and limits.reset_requests is not None:
            after = max(0, self.latest - stamp)
            self.requests.hear(
                now,
                stamp,
                after,
                limits.remaining_requests,
                limits.reset_requests,
                limits.limit_requests,
                plenty,
            )
        if limits.remaining_tokens is not None and limits.reset_tokens is not None:
            since = max(0.0, self.spent - spent)
            self.tokens.hear(
                now, stamp, since, limits.remaining_tokens, limits.reset_tokens, limits.limit_tokens, plenty
            )
        self._look(now)

    def pause(self, now: float, stamp: int, hint: float | None, dice: float) -> float:
        """
        Take in a 429.

        Args:
            now: the clock's reading in seconds.
            stamp: of the request that met it.
            hint: seconds the server asked for, or None.
            dice: uniform in [0, 1), for the jitter.

        Returns:
            Seconds the key is paused from now on.
        """
        self.requests.distrust()
        self.tokens.distrust()
        if not hint:
            if stamp > self._storm:
                self.trouble += 1
                self._storm = self.latest
            hint = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self.trouble - 1, 16))
        self.paused_until = max(self.paused_until, now + hint + dice * min(1.0, hint / 10.0))
        self._look(now)
        return self.paused_until - now

    def clear(self) -> None:
        """Forget what was learnt."""
        self.requests, self.tokens = Allowance(), Allowance()
        self.paused_until = float("-inf")
        self.trouble = 0
        self.quiet, self.counts_tokens = True, False

    def wait(self, now: float, tokens: float) -> float:
        """Seconds until this fits; 0 when it fits now."""
        if self.quiet:
            return 0.0
        self._look(now)
        return max(0.0, self.paused_until - now, self.requests.wait(now, 1.0), self.tokens.wait(now, tokens))

    def elastic(self, now: float, tokens: float) -> bool:
        """A permit that comes back changes nothing here."""
        return False

    def why(self, now: float, tokens: float) -> Reason:
        """What lacks most."""
        paused = self.paused_until - now
        remaining = max(self.requests.wait(now, 1.0), self.tokens.wait(now, tokens))
        return "remaining" if remaining > max(0.0, paused) else "paused" if paused > 0.0 else "queue"

    def predict(self, now: float, tokens: float) -> float:
        """Seconds until this would fit behind everyone queued."""
        if self.quiet:
            return 0.0
        return max(
            0.0,
            self.paused_until - now,
            self.requests.wait(now, 1.0, self.queued),
            self.tokens.wait(now, tokens, self.queued_tokens),
        )

    def too_large(self, tokens: float) -> float | None:
        """Estimates against a server's count are not sure enough to refuse for ever."""
        return None

    def take(self, now: float, tokens: float) -> Any:
        """Count what was admitted; the receipt is the request's stamp."""
        self.out += 1
        if not self.quiet:
            self.requests.left -= 1.0
            self.tokens.left -= tokens
        self.spent += tokens
        self.latest = number = next(self._count)
        return number

    def settle(self, receipt: Any, now: float, reserved: float, held: float, settlement: Settlement) -> None:
        """What was never sent did not count at the server either; the rest its next head will say."""
        self.out -= 1
        if settlement.kind == "success":
            self.trouble = 0
        if not settlement.request:
            self.requests.give_back(receipt, 1.0)
            self.tokens.give_back(receipt, reserved)

    def idle(self, now: float) -> bool:
        """Whether a fresh one would be no different."""
        self._look(now)
        return self.quiet and not (self.out or self.queued or self.claims)

    def stats(self, now: float) -> dict[str, Any]:
        """Numbers for people; what is not known is absent."""
        self._look(now)
        numbers: dict[str, Any] = {"waiting": self.queued}
        if now < self.paused_until:
            numbers["paused_for"] = self.paused_until - now
        if now < self.requests.until:
            numbers["remaining_requests"] = max(0.0, self.requests.left)
        if now < self.tokens.until:
            numbers["remaining_tokens"] = max(0.0, self.tokens.left)
        return numbers

    def _look(self, now: float) -> None:
        self.requests.roll(now, self.latest)
        self.tokens.roll(now, self.latest)
        self.counts_tokens = now < self.tokens.until
        self.quiet = not (now < self.paused_until or now < self.requests.until or self.counts_tokens)
