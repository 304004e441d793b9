"""One route: its targets, the numbers in force for it, and what is counted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from penstock.errors import ConfigError, InvalidRequestError, PenstockError
from penstock.frozen import dataclass
from penstock_routing.fitting import SMALLEST_WINDOW, Candidate

if TYPE_CHECKING:
    from penstock.call import Target
    from penstock.responses import Model
    from penstock_routing.config import OnInterrupt, RouteConfig, RoutingConfig
    from penstock_routing.hedging import Hedging

_MODES = ("raise", "restart", "continue")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPolicy:
    """
    The numbers in force for a route, or for one call to it.

    Args:
        on_interrupt: what happens when a stream breaks.
        content_filter: whether a refusal of the content goes to another target.
        hedge: whether a slow call may ask a second target.
        max_wait: seconds a limiter may make a call wait without being passed over.
        max_total_attempts: of one call; no target is tried after them.
    """

    on_interrupt: OnInterrupt = "raise"
    content_filter: bool = False
    hedge: bool = False
    max_wait: float = 2.0
    max_total_attempts: int = 6

    def for_call(self, given: Any) -> RoutingPolicy:
        """
        As it is for a call that brings its own values: `client.chat(..., routing={"hedge": False})`.

        Raises:
            InvalidRequestError: there is no such option, or its value is wrong.
        """
        if given is True:
            return self
        if not isinstance(given, Mapping):
            raise _wrong("it must be False or a mapping")
        changed: dict[str, Any] = {}
        for name, value in given.items():
            if name == "on_interrupt" and value in _MODES:
                changed["on_interrupt"] = value
            elif name == "failover_on_content_filter" and isinstance(value, bool):
                changed["content_filter"] = value
            elif name == "hedge" and value is False:
                changed["hedge"] = False
            else:
                raise _wrong(
                    f"{name!r} is none of on_interrupt ({', '.join(_MODES)}), failover_on_content_filter "
                    "(True or False) and hedge (False), or its value is wrong"
                )
        return replace(self, **changed)


def _wrong(what: str) -> InvalidRequestError:
    return InvalidRequestError(f"routing: {what}", param="routing")


def policy_of(config: RoutingConfig, route: RouteConfig) -> RoutingPolicy:
    """The policy of a route; what it says itself comes before what `[routing]` says."""
    refuses = route.failover_on_content_filter
    return RoutingPolicy(
        on_interrupt=route.on_interrupt or config.on_interrupt,
        content_filter=config.failover_on_content_filter if refuses is None else refuses,
        hedge=config.hedge.enabled if route.hedge is None else route.hedge,
        max_wait=config.max_wait,
        max_total_attempts=config.max_total_attempts,
    )


@dataclass(frozen=True, slots=True)
class TargetStats:
    """
    What a route did with one target.

    Args:
        chosen: calls that turned to it.
        failed: how many of them it failed, and its streams that broke and were taken over.
        skipped: calls that passed it over, by reason.
    """

    chosen: int
    failed: int
    skipped: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RouteStats:
    """
    What a route did since the client was made.

    Args:
        targets: by `provider/model`, in the order of the route.
        recovered: streams that broke and were taken over.
        lost: streams that broke and should have been.
        hedges: calls that asked a second target.
        hedges_won: those that the second one answered.
    """

    targets: Mapping[str, TargetStats]
    recovered: int
    lost: int
    hedges: int
    hedges_won: int


class Tally:
    """Counts for one route; safe to use from several threads."""

    __slots__ = ("_chosen", "_failed", "_lock", "_others", "_skipped")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chosen: dict[Target, int] = {}
        self._failed: dict[Target, int] = {}
        self._skipped: dict[Target, dict[str, int]] = {}
        self._others = dict.fromkeys(("recovered", "lost", "hedges", "hedges_won"), 0)

    def chosen(self, target: Target) -> None:
        """A call turned to it."""
        with self._lock:
            self._chosen[target] = self._chosen.get(target, 0) + 1

    def failed(self, target: Target) -> None:
        """It failed a call."""
        with self._lock:
            self._failed[target] = self._failed.get(target, 0) + 1

    def skipped(self, target: Target, reason: str) -> None:
        """A call passed it over."""
        with self._lock:
            reasons = self._skipped.setdefault(target, {})
            reasons[reason] = reasons.get(reason, 0) + 1

    def add(self, name: str) -> None:
        """One more of `recovered`, `lost`, `hedges` or `hedges_won`."""
        with self._lock:
            self._others[name] += 1

    def stats(self, targets: list[Target]) -> RouteStats:
        """The counts so far."""
        with self._lock:
            each = {
                str(target): TargetStats(
                    chosen=self._chosen.get(target, 0),
                    failed=self._failed.get(target, 0),
                    skipped=dict(self._skipped.get(target, {})),
                )
                for target in targets
            }
            return RouteStats(targets=each, **self._others)


class Route:
    """
    One route of a client.

    Args:
        name: what calls say.
        config: its table.
        resolve: from a model's name to a target.
        describe: what is known of a target's model.

    Attributes:
        groups: candidates by priority.
        candidates: the same by target, in the order of the table.
        floor: tokens of a plain chat that fit every target; negative when some cannot chat at all.
        hedging: its state, None when it is switched off.

    Raises:
        ConfigError: a target cannot be used.
    """

    def __init__(
        self,
        name: str,
        config: RouteConfig,
        resolve: Callable[[str], Target],
        describe: Callable[[Target], Model],
    ) -> None:
        self.name = name
        self.config = config
        self.tally = Tally()
        self.hedging: Hedging | None = None
        self.candidates: dict[Target, Candidate] = {}
        self.groups = tuple(
            tuple(self._candidate(each, resolve) for each in group) for group in config.targets
        )
        self.floor = float(SMALLEST_WINDOW)
        for candidate in self.candidates.values():
            model = describe(candidate.target)
            window = candidate.window(model)
            able = candidate.able(model)
            if window is not None:
                self.floor = min(self.floor, window)
            if able is not None and not able.issuperset(("chat", "stream")):
                self.floor = -1.0

    def _candidate(self, member: Any, resolve: Callable[[str], Target]) -> Candidate:
        try:
            target = resolve(member.target)
        except PenstockError as error:
            kind = type(error) if isinstance(error, ConfigError) else ConfigError
            raise kind(f"routes.{self.name}: the target {member.target!r} cannot be used: {error}") from None
        if target in self.candidates:
            raise ConfigError(f"routes.{self.name}: {member.target!r} is the target {target} a second time")
        able = None if member.capabilities is None else frozenset(member.capabilities)
        candidate = Candidate(target, member.weight, member.context_length, able, member.prefill)
        self.candidates[target] = candidate
        return candidate
