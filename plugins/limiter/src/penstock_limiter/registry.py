"""
Who shares which limit.

A place of the pipeline needs up to four limits, asked in this order: the one its own configuration
describes (`scope` and `group` say who shares it), the provider's, the model's, and what was learnt from
answers. Places whose limits have the same name and the same numbers get the same objects, so
another route to the same target finds them half used. Names come from outside, so their number is
bounded: the longest unused idle one goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from penstock_limiter.admission import Lane
from penstock_limiter.forecast import Forecast
from penstock_limiter.gate import Gate
from penstock_limiter.learnt import LearntLimit
from penstock_limiter.limit import BoundedLimit, Bounds

if TYPE_CHECKING:
    from penstock.call import Target
    from penstock_limiter.config import LimiterConfig
    from penstock_limiter.limit import Limit

Key = tuple[str, ...]


class Registry:
    """
    The limits of one client, with the gate in front of them.

    Attributes:
        gate: in front of all of them.
        version: counts run-time changes; a place that was bound before looks its limits up again.
    """

    MAX_LIMITS = 4096
    MAX_MEMBERS = 1024
    """Targets remembered of one limit; `configure` judges by them whether all of them match."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.version = 0
        self._limits: OrderedDict[tuple[Key, Bounds], BoundedLimit] = OrderedDict()
        self._learnt: OrderedDict[Key, LearntLimit] = OrderedDict()
        self._lanes: OrderedDict[tuple[int, ...], Lane] = OrderedDict()
        self._forecasts: OrderedDict[Hashable, Forecast] = OrderedDict()
        self._members: dict[BoundedLimit, set[str]] = {}
        self._changes: dict[str, dict[str, Any]] = {}

    def lane(self, config: LimiterConfig, target: Target, now: float) -> tuple[Lane, LearntLimit]:
        """The limits a place needs, and the learnt one among them (the last)."""
        provider, model = target.provider, target.model
        with self.gate.lock:
            limits: list[Limit] = []
            bounds = self._changed(str(target), config.bounds())
            if bounds:
                if config.group is not None:
                    key: Key = ("group", config.group)
                elif config.scope == "model":
                    key = ("own", provider, model)
                else:
                    key = ("own", provider)
                limits.append(self._limit(key, bounds, config.bounds(), str(target), now))
            if bounds := config.provider.bounds():
                limits.append(self._limit(("provider", provider), bounds, bounds, None, now))
            if bounds := config.model.bounds():
                limits.append(self._limit(("model", provider, model), bounds, bounds, None, now))
            learnt = self._learn((provider,) if config.learn == "provider" else (provider, model), now)
            return self._lane([*limits, learnt]), learnt

    def lane_with(self, lane: Lane, config: LimiterConfig, key: str, now: float) -> Lane:
        """The same lane, and the limit of a key that a call names."""
        bounds = config.key.bounds()
        if not bounds:
            return lane
        with self.gate.lock:
            return self._lane([self._limit(("key", key), bounds, bounds, None, now), *lane.limits])

    def forecast(self, target: Target, assumed: float) -> Forecast:
        """What answers of a target cost."""
        with self.gate.lock:
            forecast = self._forecasts.get(target)
            if forecast is None:
                forecast = self._forecasts[target] = Forecast(assumed)
                if len(self._forecasts) > self.MAX_LIMITS:
                    self._forecasts.popitem(last=False)
            return forecast

    def configure(self, pattern: str, values: dict[str, Any], now: float) -> None:
        """
        Other numbers for targets that match, from now on; the last word counts.

        A limit whose every target matches is changed where it is. Otherwise the targets that match get
        one of their own, which begins with what was used of the old one.

        Args:
            pattern: such as `openai/gpt-4*`.
            values: fields of `Bounds`.
            now: the clock's reading in seconds.
        """
        with self.gate.lock:
            self._changes.pop(pattern, None)
            self._changes[pattern] = values
            for key, limit in list(self._limits.items()):
                members = self._members.get(limit)
                if members and all(fnmatchcase(name, pattern) for name in members):
                    bounds = replace(limit.bounds, **values)
                    if bounds and (key[0], bounds) not in self._limits:
                        limit.change(now, bounds)
                        self._limits[key[0], bounds] = self._limits.pop(key)
            self.version += 1
        self.gate.changed(now)

    def learnt(self, pattern: str) -> list[LearntLimit]:
        """The learnt limits of targets (or providers) that match."""
        with self.gate.lock:
            return [
                limit
                for limit in self._learnt.values()
                if fnmatchcase(limit.name, pattern) or fnmatchcase(f"{limit.name}/", pattern)
            ]

    def stats(self, now: float) -> dict[str, dict[str, Any]]:
        """The numbers of every limit, by name; learnt ones only while they say something."""
        with self.gate.lock:
            shown: dict[str, dict[str, Any]] = {}
            for limit in self._limits.values():
                name, number = limit.name, 1
                while name in shown:
                    number += 1
                    name = f"{limit.name} #{number}"
                shown[name] = limit.stats(now)
            for learnt in self._learnt.values():
                if not learnt.idle(now):
                    shown[f"learnt {learnt.name}"] = learnt.stats(now)
            return shown

    def _changed(self, target: str, bounds: Bounds) -> Bounds:
        for pattern, values in self._changes.items():
            if fnmatchcase(target, pattern):
                bounds = replace(bounds, **values)
        return bounds

    def _limit(
        self, key: Key, bounds: Bounds, before: Bounds, target: str | None, now: float
    ) -> BoundedLimit:
        limit = self._limits.get((key, bounds))
        if limit is None:
            name = key[0] + " " + "/".join(key[1:]) if key[0] != "own" else "/".join(key[1:])
            elder = self._limits.get((key, before)) if before != bounds else None
            limit = elder.fork(now, name, bounds) if elder is not None else BoundedLimit(name, bounds)
            self._limits[key, bounds] = limit
            self._evict(self._limits, now)
        else:
            self._limits.move_to_end((key, bounds))
        if target is not None:
            members = self._members.setdefault(limit, set())
            if len(members) < self.MAX_MEMBERS:
                members.add(target)
        return limit

    def _learn(self, key: Key, now: float) -> LearntLimit:
        learnt = self._learnt.get(key)
        if learnt is None:
            learnt = self._learnt[key] = LearntLimit("/".join(key))
            self._evict(self._learnt, now)
        else:
            self._learnt.move_to_end(key)
        return learnt

    def _lane(self, limits: Sequence[Limit]) -> Lane:
        key = tuple(map(id, limits))  # a lane keeps its limits alive, so their ids stay theirs
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(limits)
            if len(self._lanes) > self.MAX_LIMITS:
                idle = next((known for known, one in self._lanes.items() if not one.queue), key)
                del self._lanes[idle]
        else:
            self._lanes.move_to_end(key)
        return lane

    def _evict(self, limits: OrderedDict[Any, Any], now: float) -> None:
        """Drop the longest unused limit that nobody would miss; if all are in use, the longest unused."""
        if len(limits) <= self.MAX_LIMITS:
            return
        oldest = [key for key, _ in zip(limits, range(64), strict=False)]
        key = next((key for key in oldest if limits[key].idle(now)), oldest[0])
        self._members.pop(limits.pop(key), None)
