"""
The way of one call through the targets of its route.

Rules
1. No target is asked twice, neither before the first token nor after a break: the order is walked once.
2. A target is passed over, without an attempt, when it is drained, lacks what the request needs, or when its
   own stages would refuse the call right now.
3. What an error says about failover is obeyed: `no` ends the search with that error. After a prompt that was
   too long, targets whose window is known to be no larger are passed over.
4. The search ends at the call's deadline, and after `max_total_attempts` of the whole call.
5. Everything that failed or was passed over is in the `AllTargetsFailed` that ends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.errors import AllTargetsFailed, CallError, ContentFilterError, StreamInterrupted
from penstock.events import Failover, TargetSkipped
from penstock.exchange import deadline_exceeded
from penstock.messages import ChatRequest
from penstock.responses import ChatResponse
from penstock.spans import error_type
from penstock_routing.continuation import continued
from penstock_routing.fitting import Demand, is_modest, no_prefill, too_long
from penstock_routing.hedged import ask_hedged
from penstock_routing.order import ordered

if TYPE_CHECKING:
    from penstock.call import Call, Reply, Target
    from penstock.specs import Proceed
    from penstock_routing.fitting import Candidate
    from penstock_routing.place import RoutePlace
    from penstock_routing.route import RoutingPolicy


class Search:
    """
    See the rules above.

    Args:
        place: the route, and what the client offers.
        call: the caller's; each target gets one derived from it.
        proceed: goes on inside, towards the target of the call it is given.
        policy: in force for this call.
        asked: the route's first target, when the call has been there already.

    Attributes:
        target: who answered last.
        errors: one for each target that failed or was passed over, in that order.
    """

    __slots__ = (
        "_candidates",
        "_deadline",
        "_demand",
        "_failure",
        "_modest",
        "_order",
        "_prefill",
        "_refused",
        "_request",
        "_returned",
        "_window",
        "call",
        "errors",
        "hedges",
        "place",
        "policy",
        "proceed",
        "target",
    )

    def __init__(
        self,
        place: RoutePlace,
        call: Call,
        proceed: Proceed,
        policy: RoutingPolicy,
        asked: Target | None = None,
    ) -> None:
        route = place.route
        self.place = place
        self.call = call
        self.proceed = proceed
        self.policy = policy
        self.target = asked
        self.errors: list[CallError] = []
        self.hedges = policy.hedge and route.hedging is not None
        self._candidates = route.candidates
        self._order = ordered(route.groups if asked is None else route.groups[1:], call.runtime.random)
        self._modest = is_modest(call.request, route.floor)
        self._request = call.request
        self._demand: Demand | None = None
        self._prefill = False
        self._window = 0
        self._failure: CallError | None = None
        self._refused: Reply | None = None
        self._returned: Call | None = None
        self._deadline: float | None = None

    async def open(self) -> Reply:
        """
        The reply of the first target that gives one.

        Raises:
            AllTargetsFailed: none did.
            CallError: one failed in a way that no other target can mend.
        """
        while True:
            towards = self.next()
            if towards is None:
                return self._nobody()
            try:
                if self.hedges:
                    reply, towards = await ask_hedged(self, towards)
                else:
                    reply = await self.proceed(towards)
            except CallError as error:
                failure = error  # what comes next is outside, where the failure is no context of it
            else:
                target = self.target = towards.target
                if not self.policy.content_filter or not _is_filtered(reply):
                    return reply
                self._refused = reply
                failure = ContentFilterError(f"{target}: the answer was held back by a content filter")
            self.note(failure, towards.target)

    def next(self) -> Call | None:
        """The call towards the next target that may be asked; None when there is none left."""
        if self._returned is not None:
            towards, self._returned = self._returned, None
            return self._chosen(towards)
        if self.errors and self._is_over():
            return None
        call, place = self.call, self.place
        for candidate in self._order:
            target = candidate.target
            towards = call.towards(target)
            if self._deadline is not None:
                towards.deadline = self._deadline
                towards.request = self._request
            obstacle = self._obstacle(candidate, towards)
            if obstacle is None:
                return self._chosen(towards)
            reason, error = obstacle
            self.errors.append(error)
            place.route.tally.skipped(target, reason)
            if call.listeners:
                call.emit(TargetSkipped(call.runtime.now(), call, target, reason, error))
        return None

    def give_back(self, towards: Call) -> None:
        """A call from `next` was not made after all; it is the next one again."""
        self._returned = towards

    def note(self, error: CallError, target: Target | None) -> None:
        """
        A target failed; the search may go on.

        Raises:
            CallError: the error itself, when no other target can mend it.
        """
        if error.target is None:
            error.target = target
        if not self._may_fail_over(error):
            raise error
        self.errors.append(error)
        self._failure = error
        if target is not None:
            self.place.route.tally.failed(target)

    async def resume(self, text: str | None) -> Reply:
        """
        Open another target for a stream that broke, after `note`.

        The limits are those of a committed stream: opening it may take as long as a new call.

        Args:
            text: what it is to continue; None to begin anew.
        """
        call = self.call
        self.hedges = False  # the stream is committed
        self._deadline = min(call.stream_deadline, call.runtime.now() + call.timeouts.total)
        self._request = call.request
        self._prefill = bool(text)
        if text and isinstance(call.request, ChatRequest):
            self._request = continued(call.request, text)
        self._modest = not text and self._modest
        self._demand = None
        return await self.open()

    def _chosen(self, towards: Call) -> Call:
        call, target = self.call, towards.target
        assert target is not None  # noqa: S101  (for the type checker)
        self.place.route.tally.chosen(target)
        if self._failure is not None:
            error, self._failure = self._failure, None
            if call.listeners and error.target is not None:
                reason = error_type(error) or ""
                call.emit(Failover(call.runtime.now(), call, error.target, target, reason, error))
        return towards

    def _obstacle(self, candidate: Candidate, towards: Call) -> tuple[str, CallError] | None:
        place = self.place
        if place.drained:
            error = place.drained_error(candidate.target)
            if error is not None:
                return "drained", error
        if not self._modest or self._window:
            lack = self._lack(candidate)
            if lack is not None:
                return lack
        deadline, max_wait = towards.deadline, self.policy.max_wait
        if max_wait < 2.0:  # the limiter itself refuses to peek further than this
            towards.deadline = min(deadline, towards.runtime.now() + max_wait)
        refusal = place.peek(towards)
        towards.deadline = deadline
        if refusal is None:
            return None
        if refusal.target is None:
            refusal.target = candidate.target
        return error_type(refusal) or "", refusal

    def _lack(self, candidate: Candidate) -> tuple[str, CallError] | None:
        model = self.place.describe(candidate.target)
        window = candidate.window(model)
        if self._window and window is not None and window <= self._window:
            what = f"the prompt was too long for a window of {self._window} tokens, and"
            return "context_length", too_long(candidate, f"{what} more", window)
        if self._prefill and not candidate.prefills(model):
            return "prefill", no_prefill(candidate)
        if self._demand is None:
            self._demand = Demand(self._request)
        return self._demand.lacks(candidate, model)

    def _may_fail_over(self, error: CallError) -> bool:
        failover = error.failover
        cause = error.__cause__
        if isinstance(error, StreamInterrupted) and isinstance(cause, CallError):
            failover = cause.failover  # an error event in the stream knows better than its end
        if failover == "larger_window" and error.target is not None:
            candidate = self._candidates.get(error.target)
            if candidate is not None:
                window = candidate.window(self.place.describe(candidate.target)) or 0
                self._window = max(self._window, window)
            return True
        return failover == "yes" or (failover == "opt_in" and self.policy.content_filter)

    def _is_over(self) -> bool:
        """Whether the call has used up its attempts; raises DeadlineExceeded when its time is spent."""
        call = self.call
        if len(call.attempts) >= self.policy.max_total_attempts:
            return True
        deadline = call.deadline if self._deadline is None else self._deadline
        if call.runtime.now() >= deadline:
            raise deadline_exceeded(call) from self.errors[-1]
        return False

    def _nobody(self) -> Reply:
        if self._refused is not None:
            self.call.facts["target"] = self.target
            return self._refused
        errors = self.errors
        message = f"the route {self.place.route.name!r} has no answer: " + "; ".join(map(_said, errors))
        met = {error.target for error in errors}
        untried = [str(target) for target in self._candidates if target not in met]
        if untried:
            count = len(self.call.attempts)
            message += f"; not tried after {count} attempts (max_total_attempts): {', '.join(untried)}"
        failed = AllTargetsFailed(message, errors)
        if untried:
            failed.tag("attempts_exhausted")
        raise failed from errors[-1]


def _said(error: CallError) -> str:
    text = str(error)
    return text if error.target is None or text.startswith(str(error.target)) else f"{error.target}: {text}"


def _is_filtered(reply: Reply) -> bool:
    response = reply.response
    return isinstance(response, ChatResponse) and response.finish_reason == "content_filter"
