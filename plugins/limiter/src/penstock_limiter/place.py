"""
The limiter at one target: reserve, proceed, listen, settle.

Rules
1. While nothing is configured and nothing learnt a call takes no permit, no lock and no clock reading.
2. A permit is settled by the reply's end, or by whatever `proceed` raises; nothing is swallowed.
3. The head of every response is looked at, and read when it could matter: a plentiful `remaining` is
   recognised by a glance at its digits, because reading all of them takes longer than everything else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from penstock.errors import InvalidRequestError, RateLimited, RateLimitError, RequestTooLarge
from penstock.events import (
    LimiterAdapted,
    LimiterAdmitted,
    LimiterCancelled,
    LimiterPaused,
    LimiterQueued,
    LimiterRejected,
)
from penstock.exchange import deadline_exceeded
from penstock.messages import ChatRequest
from penstock.tokens import estimate_input
from penstock_limiter.admission import Permit, Ticket
from penstock_limiter.gate import QUOTA_SECONDS
from penstock_limiter.settling import SUCCESS, UNSENT, after_error, after_outcome
from penstock_limiter.waiting import obtain

if TYPE_CHECKING:
    from penstock.call import Attempt, Call, Outcome, Reply
    from penstock.errors import Rejection
    from penstock.messages import Request
    from penstock.specs import Proceed, Scope, Services
    from penstock_limiter.admission import Lane, Refusal
    from penstock_limiter.aimd import Concurrency
    from penstock_limiter.limit import Settlement
    from penstock_limiter.registry import Registry

PEEK_SECONDS = 2.0
"""A route does not wait longer for one of several targets."""
PLENTY = 100
LOOK_AGAIN = 0.8
PLENTY_SHARE = 0.25
"""A remaining count below these, in all and of its limit, is no plenty."""

_OPTIONS = frozenset(("max_wait", "mode", "key"))
_REASONS = {
    "rate": "the request rate is used up",
    "tokens": "the tokens of the window are used up",
    "concurrency": "too many calls are under way",
    "remaining": "the server says that nothing remains",
    "paused": "the server asked for a pause",
    "queue": "others were first",
    "quota": "the server's quota is spent",
    "full": "the queue is full",
    "deadline": "the longest wait is over",
}


class LimiterPlace:
    """
    The stage bound to one target.

    Args:
        registry: the limits of the client.
        scope: configuration, target and provider.
        services: the clock.
    """

    def __init__(self, registry: Registry, scope: Scope, services: Services) -> None:
        config = scope.config
        if scope.target is None:
            raise ValueError("the limiter needs a target: it stands in the attempt slot")
        self._registry = registry
        self._gate = registry.gate
        self._services = services
        self._config = config
        self._name = services.name
        self.target = scope.target
        self._max_len: int = config.max_len
        self._allowed: float = config.max_wait if config.mode == "wait" else 0.0
        self._forecast = registry.forecast(scope.target, config.assumed_output)
        self._learns = config.learn != "off"
        read: Callable[[Any], Any] | None = getattr(scope.provider, "rate_limits", None)
        self._read = read if self._learns else None
        self._floors: dict[str, int] = {}  # replaced as a whole: other threads may be reading it
        self._bind(services.runtime.now())

    def _bind(self, now: float) -> None:
        self._version = self._registry.version
        self._lane, self._learnt = self._registry.lane(self._config, self.target, now)
        self._counts = _counts_tokens(self._lane)
        self._open = len(self._lane.limits) == 1
        permits = getattr(self._lane.limits[0], "permits", None)
        self._adaptive: Concurrency | None = permits if permits is not None and permits.adaptive else None

    async def __call__(self, call: Call, proceed: Proceed) -> Reply:
        if self._version != self._registry.version:
            self._bind(call.runtime.now())
        learnt = self._learnt
        if self._open and learnt.quiet and "limiter" not in call.options:
            stamp, spent = learnt.stamp(), learnt.spent
            before = call.attempt
            try:
                reply = await proceed(call)
            except RateLimitError as error:
                self._listen(call, before, stamp, spent, error)
                raise
            except Exception:
                self._listen(call, before, stamp, spent, None)
                raise
            if learnt.trouble:
                learnt.trouble = 0
            self._listen(call, before, stamp, spent, None)
            return reply

        gate, runtime, allowed = self._gate, call.runtime, self._allowed
        lane, sent, made = self._lane, 0.0, 0.0
        now = runtime.now()
        own = call.options.get("limiter") if call.options else None
        if own is not None and own is not True:
            lane, allowed = self._own(own, now)
        elif call.route is not None and allowed > PEEK_SECONDS:
            allowed = PEEK_SECONDS  # what `peek` foretold may be wrong; another target need not be
        if self._counts or learnt.counts_tokens or (lane is not self._lane and _counts_tokens(lane)):
            sent, made = self._estimate(call.request, lane)
        if allowed > call.deadline - now:
            allowed = call.deadline - now
        found = gate.enter(now, lane, sent + made, allowed, self._max_len)
        if found.__class__ is Permit:
            permit: Permit = found
            if call.listeners:
                call.emit(LimiterAdmitted(now, call, 0.0, queued=False))
        else:
            permit = await self._wait(call, found, allowed, now)
        spent = learnt.spent
        before = call.attempt
        try:
            reply = await proceed(call)
        except BaseException as error:
            attempt = call.attempt
            self._settle(call, permit, after_error(None if attempt is before else attempt, error, sent))
            if isinstance(error, Exception):
                self._listen(call, before, permit.stamp, spent, error)
            raise
        if call.attempt is before:
            self._settle(call, permit, UNSENT)  # an inner stage answered by itself
            return reply
        self._listen(call, before, permit.stamp, spent, None)
        if sent == 0.0 and reply.outcome is not None:
            self._settle(call, permit, SUCCESS)  # a plain reply, and no tokens to count
            return reply

        def finished(outcome: Outcome) -> None:
            if made and outcome.kind == "ok":
                self._observe(call.request, outcome)
            self._settle(call, permit, after_outcome(outcome, sent, made))

        reply.on_finish(finished)
        return reply

    def peek(self, call: Call) -> Rejection | None:
        """What a call would be refused with right now, or would wait too long for; no side effects."""
        if self._version != self._registry.version:
            # A target that is passed over gets no call, and would be judged by its old numbers for ever.
            self._bind(call.runtime.now())
        if self._open and self._learnt.quiet:
            return None
        now = call.runtime.now()
        allowed = min(PEEK_SECONDS, self._allowed, call.deadline - now)
        sent = made = 0.0
        if self._counts or self._learnt.counts_tokens:
            sent, made = self._estimate(call.request, self._lane)
        refusal = self._gate.peek(now, self._lane, sent + made, max(0.0, allowed))
        return self._rejection(refusal, allowed) if refusal is not None else None

    # Admission

    async def _wait(self, call: Call, found: object, allowed: float, since: float) -> Permit:
        """A permit after a wait; raises when there is none."""
        now = call.runtime.now
        if isinstance(found, Ticket):
            if call.listeners:
                ahead = self._gate.outlook(since, found.lane, found.tokens)
                call.emit(LimiterQueued(since, call, ahead.reason, ahead.limit, ahead.wait))
            try:
                found = await obtain(call.runtime, self._gate, found)
            except BaseException:
                if call.listeners:
                    call.emit(LimiterCancelled(now(), call, now() - since))
                raise
        if isinstance(found, Permit):
            if call.listeners:
                call.emit(LimiterAdmitted(now(), call, now() - since, queued=True))
            return found
        raise self._refused(call, cast("Refusal", found), allowed, since)

    def _estimate(self, request: Request, lane: Lane) -> tuple[float, float]:
        """Tokens of the request, and tokens to reserve for its answer."""
        sent = float(estimate_input(request))
        if not isinstance(request, ChatRequest):
            return sent, 0.0
        allowed = _max_tokens(request)
        made = self._forecast.output(allowed) * (request.n or 1)
        if allowed is None:
            # A mere guess must not make a request too large that fits.
            for limit in lane.limits:
                bound = limit.too_large(sent + made)
                if bound is not None and bound >= sent:
                    made = bound - sent
        return sent, made

    def _observe(self, request: Request, outcome: Outcome) -> None:
        usage = outcome.response.usage if outcome.response is not None else None
        if usage is not None and usage.output_tokens is not None and isinstance(request, ChatRequest):
            with self._gate.lock:
                self._forecast.observe(_max_tokens(request), usage.output_tokens / (request.n or 1))

    def _own(self, options: Any, now: float) -> tuple[Lane, float]:
        """The lane and the longest wait of a call that brings its own values."""
        if not isinstance(options, Mapping) or not _OPTIONS.issuperset(options):
            known = ", ".join(sorted(_OPTIONS))
            raise InvalidRequestError(
                f"limiter: it must be False or a mapping with keys among {known}", param="limiter"
            )
        mode, wait = options.get("mode"), options.get("max_wait")
        if mode not in (None, "wait", "nowait"):
            raise InvalidRequestError(f"limiter: mode is 'wait' or 'nowait', not {mode!r}", param="limiter")
        if wait is not None and (
            isinstance(wait, bool) or not isinstance(wait, int | float) or not wait >= 0
        ):
            raise InvalidRequestError("limiter: max_wait is a number of seconds", param="limiter")
        allowed = self._allowed
        if mode == "nowait":
            allowed = 0.0
        elif wait is not None:
            allowed = float(wait)
        elif mode == "wait":
            allowed = self._config.max_wait
        key = options.get("key")
        lane = self._lane
        if key is not None:
            lane = self._registry.lane_with(lane, self._config, str(key), now)
        return lane, allowed

    def _refused(self, call: Call, refusal: Refusal, allowed: float, since: float) -> Exception:
        now = call.runtime.now()
        error: Exception
        if refusal.reason != "too_large" and now >= call.deadline:
            error = deadline_exceeded(call)
        else:
            error = self._rejection(refusal, allowed)
        if call.listeners:
            call.emit(LimiterRejected(now, call, error, refusal.reason, now - since))
        return error

    def _rejection(self, refusal: Refusal, allowed: float) -> Rejection:
        if refusal.reason == "too_large":
            error: Rejection = RequestTooLarge(
                f"{self.target}: the request costs more tokens than the whole limit {refusal.limit!r}; send "
                "less, or ask for fewer max_tokens",
                stage=self._name,
            )
        else:
            wait = refusal.wait if refusal.wait < math.inf else None
            room = f"room in about {wait:.3g} s" if wait is not None else "no room in sight"
            error = RateLimited(
                f"{self.target}: {_REASONS[refusal.reason]} (limit {refusal.limit!r}); {room}, and "
                f"{max(0.0, allowed):.3g} s may be waited",
                stage=self._name,
                retry_after=wait,
            )
        error.target = self.target
        return error

    # What comes back

    def _settle(self, call: Call, permit: Permit, settlement: Settlement) -> None:
        permits = self._adaptive
        if permits is None:
            permit.settle(call.runtime.now(), settlement)
            return
        before = permits.limit
        permit.settle(call.runtime.now(), settlement)
        if permits.limit != before and call.listeners:
            call.emit(
                LimiterAdapted(call.runtime.now(), call, self._lane.limits[0].name, before, permits.limit)
            )

    def _listen(
        self, call: Call, before: Attempt | None, stamp: int, spent: float, error: Exception | None
    ) -> None:
        """Learn from the head of the response, and from a 429."""
        attempt = call.attempt
        if attempt is None or attempt is before:
            return
        head = attempt.head
        if head is not None and self._read is not None and not self._plentiful(head.headers):
            limits = self._read(head)
            if limits is not None:
                plenty = self._remember(head.headers, limits)
                self._gate.hear(call.runtime.now(), self._learnt, stamp, spent, limits, plenty=plenty)
        if self._learns and isinstance(error, RateLimitError):
            now = call.runtime.now()
            seconds = self._gate.pause(now, self._learnt, stamp, error.retry_after, call.runtime.random())
            if call.listeners:
                reason = "quota" if seconds > QUOTA_SECONDS else "throttled"
                call.emit(LimiterPaused(now, call, self._learnt.name, seconds, reason))  # type: ignore[arg-type]  # two words

    def _plentiful(self, headers: Mapping[str, str]) -> bool:
        """Whether the headers say nothing about limits, or that plenty remains in all they count."""
        floors = self._floors
        if floors:
            try:
                for name, floor in floors.items():
                    if int(headers[name]) < floor:
                        return False
                return self._learnt.quiet
            except (KeyError, ValueError):
                pass
        return "limit" not in "".join(headers)

    def _remember(self, headers: Mapping[str, str], limits: Any) -> bool:
        """
        Learn which headers a glance is enough for next time; whether plenty remains by all of them.

        Args:
            headers: of the response.
            limits: what the provider read in them.
        """
        floors: dict[str, int] = {}
        plenty = True
        for remaining, limit in (
            (limits.remaining_requests, limits.limit_requests),
            (limits.remaining_tokens, limits.limit_tokens),
        ):
            if remaining is None:
                continue
            floor = max(PLENTY, int((limit or 0) * PLENTY_SHARE))
            plenty = plenty and limit is not None and remaining >= floor
            for name, text in headers.items():
                if limit is not None and "remaining" in name and text == str(remaining):
                    # Look again when it has sunk by a piece: that is how a bucket is told from a window.
                    floors[name] = max(floor, int(remaining * LOOK_AGAIN))
        self._floors = floors
        return plenty


def _counts_tokens(lane: Lane) -> bool:
    return any(limit.counts_tokens for limit in lane.limits)


def _max_tokens(request: ChatRequest) -> int | None:
    allowed = request.max_tokens
    if allowed is None and request.extra:
        allowed = request.extra.get("max_completion_tokens")
    return allowed if isinstance(allowed, int) and allowed > 0 else None
