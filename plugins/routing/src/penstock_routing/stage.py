"""The routing stage: which names are routes, and what people may ask of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from penstock.errors import ConfigError
from penstock.events import TargetsDrained
from penstock.specs import Scope
from penstock_routing.hedging import HedgePolicy, Hedging
from penstock_routing.place import RoutePlace, Shared
from penstock_routing.race import GRACE_SECONDS
from penstock_routing.route import Route, RouteStats, policy_of

if TYPE_CHECKING:
    from penstock.call import Call, Reply, Target
    from penstock.specs import Proceed, Services
    from penstock_routing.config import HedgeConfig, RoutingConfig


class RoutingStage:
    """
    Chooses the target of calls to routes, and turns to the next one when it fails.

    A call may bring its own values: `client.chat("fast", ..., routing={"on_interrupt": "restart"})`.

    Args:
        config: the values in force where no override is.
        services: the routes, and what is known of their targets.

    Raises:
        ConfigError: a target cannot be used, or the blocking client is asked to hedge.
    """

    def __init__(self, config: RoutingConfig, services: Services) -> None:
        self._config = config
        self._services = services
        self._shared = Shared()
        self._routes: dict[str, Route] = {}
        if not config.enabled:
            return
        for name, table in services.section("routes").root.items():
            route = self._routes[name] = Route(name, table, services.resolve, services.describe)
            if policy_of(config, table).hedge and len(route.candidates) > 1:
                self._check_colour(name)

    def claims(self, name: str) -> bool:
        """Whether the name is a route."""
        return name in self._routes

    def targets(self, name: str) -> Sequence[Target]:
        """The targets of a route, in the order of its table; raises KeyError when there is none."""
        return tuple(self._routes[name].candidates)

    def bind(self, scope: Scope) -> RoutePlace | None:
        """The stage for one route; for a plain target there is nothing to choose, so it is absent."""
        if scope.route not in self._routes:
            return None
        route = self._routes[scope.route]
        policy = policy_of(scope.config, route.config)
        if policy.hedge and len(route.candidates) > 1:
            self._check_colour(route.name)
            if route.hedging is None:
                route.hedging = Hedging(hedge_policy_of(scope.config.hedge))
        return RoutePlace(route, policy, self._services, self._shared)

    async def __call__(self, call: Call, proceed: Proceed) -> Reply:
        """Unbound, outside a client's pipeline: the place of the call's own route."""
        place = None
        if call.target is None:
            place = self.bind(Scope(config=self._config, route=call.route, target=None, provider=None))
        return await (proceed(call) if place is None else place(call, proceed))

    async def close(self) -> None:
        """Cut off what is left of hedged calls; a second call does nothing."""
        due = self._services.runtime.now() + GRACE_SECONDS
        left, self._shared.crew = self._shared.crew, set()
        for runner in [*left]:
            runner.stop()
        for runner in [*left]:
            await runner.unwound(due)

    # By hand

    def drain(self, pattern: str) -> None:
        """
        Leave targets out of every route from now on; calls under way go on.

        Args:
            pattern: `provider/model` with wildcards, such as `openai/*`.
        """
        if pattern not in self._shared.drained:
            self._shared.drained += (pattern,)
            self._services.emit(TargetsDrained(self._services.runtime.now(), pattern, True))

    def restore(self, pattern: str = "*") -> None:
        """Use targets again that were left out; the pattern is one of `drain`'s, or `*` for all."""
        for each in self._shared.drained:
            if pattern in (each, "*"):
                self._services.emit(TargetsDrained(self._services.runtime.now(), each, False))
        self._shared.drained = tuple(each for each in self._shared.drained if pattern not in (each, "*"))

    def stats(self) -> Mapping[str, RouteStats]:
        """What became of the calls, by route."""
        return {name: route.tally.stats(list(route.candidates)) for name, route in self._routes.items()}

    def _check_colour(self, route: str) -> None:
        # A thread cannot be cut off: a slow loser would go on, pay, and hold its permits long after the call.
        if self._services.runtime.colour == "blocking":
            raise ConfigError(
                f"routes.{route}: hedging is switched on, and the blocking client cannot cut off the slower "
                "request; use AsyncClient, or switch it off here: [routing.hedge] enabled = false (or "
                "PENSTOCK__ROUTING__HEDGE__ENABLED=false), and no hedge = true in the route"
            )


def hedge_policy_of(config: HedgeConfig) -> HedgePolicy:
    """The policy a configuration describes."""
    names = HedgePolicy.__dataclass_fields__
    return HedgePolicy(**{name: getattr(config, name) for name in names})
