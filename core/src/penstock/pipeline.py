"""
The onion: stages around a provider, compiled once for each place a call can go.

`chain` is the whole mechanism: a visible loop that folds stages around an endpoint. Everything else decides,
when a place is first used, which stages stand there:

1. The `call` slot is compiled for each name a caller uses (a route, or one target); the `target` and
   `attempt` slots for each target, once more for each route, because overrides may differ.
2. A stage that is disabled for a place is absent from it.
3. The order is checked when the client is built: slots from the outside in, positions inside a slot.
4. A place is compiled once, behind the client's lock: what a stage keeps for a place must not exist twice
   because two threads came first.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from penstock.call import Attempt, Reply, current, leave
from penstock.errors import CallError, ConfigError, UsageError
from penstock.events import AttemptCommitted, AttemptFinished, AttemptStarted
from penstock.specs import Proceed, Scope

if TYPE_CHECKING:
    from penstock.call import Call, Outcome, Target
    from penstock.config import Settings, StageConfig
    from penstock.provider import Provider
    from penstock.specs import Services, Stage, StageSpec

Kind: TypeAlias = Literal["failed", "cancelled"]
SLOTS = ("call", "target", "attempt")


def chain(stages: Sequence[Stage], endpoint: Proceed) -> Proceed:
    """Fold the stages, outermost first, around the endpoint."""
    proceed = endpoint
    for stage in reversed(stages):
        proceed = _layer(stage, proceed)
    return proceed


def _layer(stage: Stage, inner: Proceed) -> Proceed:
    run = stage.__call__

    def proceed(call: Call) -> Coroutine[Any, Any, Reply]:
        return run(call, inner)

    return proceed


class Ring:
    """
    One stage of a client, in every place where it stands.

    Args:
        spec: what the plugin registered.
        settings: where its configuration comes from.
        services: handed to the factory.
    """

    def __init__(self, spec: StageSpec, settings: Settings, services: Services) -> None:
        self.spec = spec
        self._settings = settings
        self._services = services
        settings.validate(spec.name, spec.config)
        self.config: StageConfig = settings.resolve(spec.name, spec.config)
        self.stage = spec.create(self.config, services)
        self._variants: list[tuple[Any, Stage]] = [(self.config, self.stage)]

    def bind(self, route: str | None, target: Target | None, provider: Provider | None) -> Stage | None:
        """The stage that stands in a place, None when it is disabled there."""
        spec = self.spec
        config = self._settings.resolve(spec.name, spec.config, route=route, target=target)
        if not config.enabled:
            return None
        bind = getattr(self.stage, "bind", None)
        if bind is not None:
            scope = Scope(config=config, route=route, target=target, provider=provider)
            return bind(scope)  # type: ignore[no-any-return]  # optional method of the contract
        for known, stage in self._variants:
            if known == config:
                return stage
        # A stage that does not bind itself gets an instance of its own for each override.
        if hasattr(self.stage, "start"):
            raise ConfigError(
                f"{spec.name!r} cannot differ for {route or target}: it is started with the client and has "
                "no `bind`"
            )
        stage = spec.create(config, self._services)
        self._variants.append((config, stage))
        return stage

    def instances(self) -> list[Stage]:
        """Every instance made so far, for start and close."""
        return [stage for _, stage in self._variants]


def check_order(rings: Sequence[Ring]) -> None:
    """Refuse a pipeline whose order cannot work, unless the stage that is out of place says `force`."""
    for outer, inner in itertools.pairwise(rings):
        if _rank(inner.spec) < _rank(outer.spec) and not (inner.config.force or outer.config.force):
            raise ConfigError(
                f"pipeline: {inner.spec.name!r} ({inner.spec.slot.name} slot) must stand outside "
                f"{outer.spec.name!r} ({outer.spec.slot.name} slot); list it first, or set "
                f"[{inner.spec.name}] force = true if you mean it"
            )


def _rank(spec: StageSpec) -> tuple[int, int]:
    return SLOTS.index(spec.slot.name), spec.slot.position


def in_slot_order(specs: Sequence[StageSpec]) -> list[StageSpec]:
    """The order a pipeline has when the configuration does not list one; ties go by name."""
    return sorted(specs, key=lambda spec: (*_rank(spec), spec.name))


class Pipeline:
    """
    The compiled chains of one client.

    Args:
        rings: the stages, outermost first.
        provider: finds a provider by instance name.
        lock: held while a place is compiled; one for all that share the rings, and reentrant.
    """

    MAX_PLACES = 4096
    """Chains kept; model names come from outside, so their number has no other bound."""

    def __init__(
        self, rings: Sequence[Ring], provider: Callable[[str], Provider], lock: AbstractContextManager[Any]
    ) -> None:
        self.rings = rings
        last_call_slot = max((i for i, ring in enumerate(rings) if ring.spec.slot.name == "call"), default=-1)
        self._outer = rings[: last_call_slot + 1]
        self._inner = rings[last_call_slot + 1 :]
        self._provider = provider
        self._lock = lock
        self._places: dict[tuple[str | None, Target], Place] = {}

    def entry(self, route: str | None, target: Target | None) -> Proceed:
        """The chain for calls by this name: the call slot, then whichever target the call is at."""
        with self._lock:
            if target is None or self._outer:
                provider = self._provider(target.provider) if target is not None else None
                stages = _bound(self._outer, route, target, provider)
                return chain(stages, self.towards_target) if stages else self.towards_target
            return self._place(route, target).proceed

    def towards_target(self, call: Call) -> Coroutine[Any, Any, Reply]:
        """Go on inside the call slot, to `call.target`."""
        return self._place(call.route, call.target).proceed(call)

    def peek(self, call: Call) -> CallError | None:
        """What a call to its target would be refused with right now, or None; no side effects."""
        for peek in self._place(call.route, call.target).peeks:
            refusal = peek(call)
            if refusal is not None:
                return refusal
        return None

    def _place(self, route: str | None, target: Target | None) -> Place:
        if target is None:
            raise ConfigError(f"the route {route!r} has no target: no stage has chosen one")
        return self._places.get((route, target)) or self._compile(route, target)

    def _compile(self, route: str | None, target: Target) -> Place:
        with self._lock:
            place = self._places.get((route, target))
            if place is None:
                if len(self._places) >= self.MAX_PLACES:
                    self._places.clear()
                provider = self._provider(target.provider)
                place = Place(_bound(self._inner, route, target, provider), Endpoint(provider))
                self._places[route, target] = place
            return place


class Place:
    """The stages of one target, compiled, and what they can be asked without a call."""

    __slots__ = ("peeks", "proceed")

    def __init__(self, stages: Sequence[Stage], endpoint: Endpoint) -> None:
        self.proceed = chain(stages, endpoint)
        self.peeks: list[Callable[[Call], CallError | None]] = [
            stage.peek for stage in stages if hasattr(stage, "peek")
        ]


def _bound(
    rings: Sequence[Ring], route: str | None, target: Target | None, provider: Provider | None
) -> list[Stage]:
    bound = (ring.bind(route, target, provider) for ring in rings)
    stages = [stage for stage in bound if stage is not None]
    return stages + [stage.inner for stage in stages if hasattr(stage, "inner")]


class Endpoint:
    """The innermost ring: numbers the attempt, asks the provider, records how it went."""

    __slots__ = ("_provider",)

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def __call__(self, call: Call) -> Reply:
        now = call.runtime.now
        attempts = call.attempts
        attempt = Attempt(len(attempts) + 1, call.target, now(), delay=call.retry_delay)  # type: ignore[arg-type]  # set
        attempts.append(attempt)
        call.attempt = attempt
        outer = current.get()
        if outer is not call:
            current.set(call)
        if call.listeners:
            call.emit(AttemptStarted(attempt.started, call, attempt))
        try:
            reply = await self._provider.send(call)
            if type(reply) is not Reply and not isinstance(reply, Reply):
                raise UsageError(
                    f"{call.target}: the provider returned {type(reply).__name__} instead of a Reply"
                )
        except BaseException as error:
            attempt.ended = now()
            attempt.error = error
            if isinstance(error, CallError):
                error.target = call.target
            if call.listeners:
                kind: Kind = "failed" if isinstance(error, Exception) else "cancelled"
                call.emit(AttemptFinished(attempt.ended, call, attempt, kind))
            raise
        finally:
            if outer is not call:
                leave(call, outer)
        attempt.committed = now()
        if reply.outcome is not None and not call.listeners:
            attempt.ended = attempt.committed
            return reply
        if call.listeners and reply.outcome is None:
            call.emit(AttemptCommitted(attempt.committed, call, attempt))

        def finished(outcome: Outcome) -> None:
            attempt.ended = now()
            attempt.error = outcome.error
            if isinstance(outcome.error, CallError):
                outcome.error.target = call.target
            if call.listeners:
                call.emit(AttemptFinished(attempt.ended, call, attempt, outcome.kind))

        reply.on_finish(finished)
        return reply
