"""The stage bound to one route."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from penstock.errors import CallError, Rejection
from penstock_routing.fitting import is_modest
from penstock_routing.search import Search
from penstock_routing.stream import RoutedStream

if TYPE_CHECKING:
    from penstock.budget import RetryBudget
    from penstock.call import Call, Reply, Target
    from penstock.specs import Proceed, Services
    from penstock_routing.race import Runner
    from penstock_routing.route import Route, RoutingPolicy


class Shared:
    """
    What all routes of a client share.

    Attributes:
        drained: patterns of targets that are left out, by hand.
        crew: runners of hedged calls that are not over.
    """

    __slots__ = ("crew", "drained")

    def __init__(self) -> None:
        self.drained: tuple[str, ...] = ()
        self.crew: set[Runner] = set()


class RoutePlace:
    """
    The stage where calls to one route pass.

    Args:
        route: its targets and counts.
        policy: the numbers in force.
        services: what the client offers.
        shared: with the other routes.
    """

    __slots__ = ("_first", "_name", "_services", "_shared", "describe", "peek", "policy", "route")

    def __init__(self, route: Route, policy: RoutingPolicy, services: Services, shared: Shared) -> None:
        self.route = route
        self.policy = policy
        self.peek = services.peek
        self.describe = services.describe
        self._name = services.name
        self._services = services
        self._shared = shared
        # Where every call begins, unless there is something to decide about it.
        self._first: Target | None = None
        if len(route.groups[0]) == 1 and not (policy.hedge or policy.content_filter or policy.max_wait < 2):
            self._first = route.groups[0][0].target

    async def __call__(self, call: Call, proceed: Proceed) -> Reply:
        first = self._first
        if (
            first is None
            or call.options
            or self._shared.drained
            or not is_modest(call.request, self.route.floor)
        ):
            return await self._search(call, proceed)
        towards = call.towards(first)
        if self.peek(towards) is not None:
            return await self._search(call, proceed)
        # What nearly every call does, without the means for what may follow.
        policy = self.policy
        self.route.tally.chosen(first)
        try:
            reply = await proceed(towards)
        except CallError as error:
            failure = error  # what comes next is outside, where the failure is no context of it
        else:
            if policy.on_interrupt == "raise" or reply.outcome is not None:
                return reply
            return self._kept(Search(self, call, proceed, policy, first), reply)
        search = Search(self, call, proceed, policy, first)
        search.note(failure, first)
        return self._kept(search, await search.open())

    async def _search(self, call: Call, proceed: Proceed) -> Reply:
        policy = self.policy
        if self._name in call.options:
            policy = policy.for_call(call.options[self._name])
        search = Search(self, call, proceed, policy)
        if search.hedges:
            self.route.hedging.note_call()  # type: ignore[union-attr]  # or there would be none
        return self._kept(search, await search.open())

    @staticmethod
    def _kept(search: Search, reply: Reply) -> Reply:
        """The reply as the caller gets it: a stream that is taken over when it breaks, if that is wanted."""
        mode = search.policy.on_interrupt
        if mode == "raise" or reply.outcome is not None:
            return reply
        return RoutedStream(search, reply, mode).reply

    @property
    def drained(self) -> tuple[str, ...]:
        """Patterns of targets that are left out."""
        return self._shared.drained

    @property
    def crew(self) -> set[Runner]:
        """Where runners of hedged calls are kept while they run."""
        return self._shared.crew

    def drained_error(self, target: Target) -> CallError | None:
        """The error of a target that is left out by hand, None for another."""
        name = str(target)
        if not any(fnmatchcase(name, pattern) for pattern in self._shared.drained):
            return None
        error = Rejection(f"{name}: left out by hand, until it is restored", stage=self._name)
        error.target = target
        return error

    def budget(self, provider: str) -> RetryBudget:
        """The budget of extra attempts of a provider instance."""
        return self._services.retry_budget(provider)

    def is_steady(self, target: Target | None) -> bool:
        """Whether an extra attempt is no risk: the target's breaker, if there is one, is closed."""
        breaker: Any = self._services.stage("breaker")
        state = getattr(breaker, "state", None)
        return state is None or state(target) in ("closed", "disabled")
