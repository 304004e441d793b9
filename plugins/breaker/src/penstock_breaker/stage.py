"""
The breaker stage: the thin shell around circuits and credentials.

It stands in two places. Outside the limiter it only looks (`_Gate`), so that no quota is spent on an open
target and no probe's place is held while a call queues; directly around the provider it takes the permit
and samples what comes of it (`_Sampler`).
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from penstock.call import Target
from penstock.errors import BreakerOpen, CallError, ConfigError, ContentFilterError, InvalidRequestError
from penstock.events import (
    BreakerExtended,
    BreakerProbesLost,
    BreakerRejected,
    BreakerTransition,
    CredentialRested,
    CredentialResumed,
)
from penstock.frozen import dataclass
from penstock_breaker.circuits import Circuits
from penstock_breaker.credential import Credential
from penstock_breaker.permit import Refusal
from penstock_breaker.policy import BreakerPolicy
from penstock_breaker.reports import Extension, Transition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from penstock.call import Call, Outcome, Reply
    from penstock.events import BreakerState, Event
    from penstock.specs import Proceed, Scope, Services
    from penstock_breaker.circuit import Circuit
    from penstock_breaker.config import BreakerConfig
    from penstock_breaker.permit import Permit
    from penstock_breaker.reports import CircuitStats, Note


def policy_of(config: BreakerConfig) -> BreakerPolicy:
    """The policy a configuration describes."""
    names = BreakerPolicy.__dataclass_fields__
    return BreakerPolicy(**{name: getattr(config, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerStats:
    """
    What the breakers of a client look like.

    Args:
        circuits: by `provider/model`; where a route has numbers of its own, the circuit with the most
            samples stands for the target.
        resting: provider instances whose credential rests, with the seconds left.
    """

    circuits: Mapping[str, CircuitStats]
    resting: Mapping[str, float]


class BreakerStage:
    """
    Stops asking targets that fail, and tries them again with care.

    Args:
        config: the values in force.
        services: brings the clock, the dice and the listeners.
    """

    def __init__(self, config: BreakerConfig, services: Services) -> None:
        self._config = config
        self._name = services.name
        self._now = services.runtime.now
        self._emit: Callable[[Event], None] = services.emit
        self._circuits = Circuits(services.runtime.random, self._tell)
        self._credentials: dict[str, Credential] = {}
        self._lock = threading.Lock()

    def bind(self, scope: Scope) -> _Gate:
        """The part of it that stands outside the limiter; its `inner` stands around the provider."""
        if scope.target is None:
            raise ConfigError(
                f"pipeline: {self._name!r} stands outside the stage that chooses the target of the route "
                f"{scope.route!r}; list it further in"
            )
        base_url = scope.provider.base_url if scope.provider is not None else ""
        return self._place(scope.config, scope.target, base_url)

    async def __call__(self, call: Call, proceed: Proceed) -> Reply:
        """Unbound, outside a client's pipeline: refuses, takes the permit and samples in one place."""
        if call.target is None:
            raise ConfigError(f"{self._name!r} needs a call with a target")
        return await self._place(self._config, call.target, "").inner(call, proceed)

    # By hand

    def state(self, target: str | Target) -> BreakerState:
        """The state of a target's breaker; `closed` if it was never asked."""
        return self._circuits.state(str(target))

    def reset(self, pattern: str = "*") -> None:
        """
        Close the breakers that match and end the rests of their providers' credentials.

        Args:
            pattern: `provider/model` with wildcards, such as `openai/*`.
        """
        self._circuits.decide(pattern, "reset", self._now())
        for provider in self._matching_providers(pattern):
            if self._credentials[provider].reset():
                self._emit(CredentialResumed(self._now(), provider, "reset"))

    def force_open(self, pattern: str) -> None:
        """Refuse every call to the targets that match, also to those not asked so far, until `reset`."""
        self._circuits.decide(pattern, "force_open", self._now())

    def disable(self, pattern: str = "*") -> None:
        """Let every call to the targets that match through, counting only, until `reset`."""
        self._circuits.decide(pattern, "disable", self._now())

    def stats(self) -> BreakerStats:
        """All breakers and resting credentials."""
        now = self._now()
        circuits: dict[str, CircuitStats] = {}
        for key, circuit in self._circuits.matching():
            stats = circuit.stats(now)
            other = circuits.setdefault(str(key.target), stats)
            if stats.successes + stats.failures > other.successes + other.failures:
                circuits[str(key.target)] = stats
        resting: dict[str, float] = {}
        for provider in self._matching_providers("*"):
            refusal = self._credentials[provider].refusal(now)
            if refusal is not None:
                resting[provider] = refusal.retry_after
        return BreakerStats(circuits=circuits, resting=resting)

    def _matching_providers(self, pattern: str) -> list[str]:
        from fnmatch import fnmatchcase

        provider = pattern.partition("/")[0]
        with self._lock:
            return [name for name in self._credentials if fnmatchcase(name, provider)]

    def _place(self, config: BreakerConfig, target: Target, base_url: str) -> _Gate:
        circuit = self._circuits.get(target, base_url, policy_of(config), self._now())
        with self._lock:
            credential = self._credentials.setdefault(target.provider, Credential())
        return _Gate(_Sampler(self._name, target, circuit, credential, config.cooldown, self._emit))

    def _tell(self, target: Target, note: Note) -> None:
        match note:
            case Transition():
                self._emit(
                    BreakerTransition(
                        note.at, target, note.before, note.after, note.reason, note.generation, note.open_for
                    )
                )
            case Extension():
                self._emit(BreakerExtended(note.at, target, note.open_for))
            case _:
                self._emit(BreakerProbesLost(note.at, target, note.count))


class _Gate:
    """Looks and refuses; takes nothing."""

    __slots__ = ("_circuit", "_credential", "_name", "inner")

    def __init__(self, inner: _Sampler) -> None:
        self.inner = inner
        self._circuit = inner.circuit
        self._credential = inner.credential
        self._name = inner.name

    async def __call__(self, call: Call, proceed: Proceed) -> Reply:
        if call.options and self._name in call.options:
            self._check_option(call.options[self._name])
        if self._circuit.state != "closed" or self._credential.resting:
            refusal = self._refusal(call.runtime.now())
            if refusal is not None:
                raise self.inner.refused(call, refusal)
        return await proceed(call)

    def peek(self, call: Call) -> CallError | None:
        """What a call would be refused with right now, or None."""
        if self._circuit.state == "closed" and not self._credential.resting:
            return None
        refusal = self._refusal(call.runtime.now())
        return self.inner.error(refusal) if refusal is not None else None

    def _refusal(self, now: float) -> Refusal | None:
        return self._credential.refusal(now) or self._circuit.refusal(now)

    def _check_option(self, given: object) -> None:
        # The circuit is shared by all calls to its target, so a call cannot bring numbers of its own.
        if given is not True:
            raise InvalidRequestError(
                f"{self._name}: a call may only leave it out ({self._name}=False)", param=self._name
            )


class _Sampler:
    """Takes the permit of an attempt, and settles it on every path."""

    __slots__ = ("_cooldown", "_emit", "_target", "circuit", "credential", "name")

    def __init__(
        self,
        name: str,
        target: Target,
        circuit: Circuit,
        credential: Credential,
        cooldown: float,
        emit: Callable[[Event], None],
    ) -> None:
        self.name = name
        self.circuit = circuit
        self.credential = credential
        self._target = target
        self._cooldown = cooldown
        self._emit = emit

    async def __call__(self, call: Call, proceed: Proceed) -> Reply:
        circuit, credential = self.circuit, self.credential
        now = call.runtime.now
        began = now()
        if credential.resting:
            self._check_rest(call, began)
        epoch = credential.epoch
        permit = circuit.acquire(began, call.timeouts.attempt)
        if isinstance(permit, Refusal):
            raise self.refused(call, permit)
        try:
            reply = await proceed(call)
        except BaseException as error:
            self._failed(error, permit, began, now(), epoch)
            raise
        committed = now()
        if reply.chunks is None:
            circuit.settle(permit, "success", committed, waited=committed - began)
            return reply

        reply.on_finish(partial(self._finished, permit, began, committed, now, epoch))
        return reply

    def _finished(
        self,
        permit: Permit,
        began: float,
        committed: float,
        now: Callable[[], float],
        epoch: int,
        outcome: Outcome,
    ) -> None:
        if outcome.error is not None:
            self._failed(outcome.error, permit, began, now(), epoch, committed)
        else:
            # Closed by its consumer counts like its end: the first event had arrived.
            self.circuit.settle(permit, "success", now(), waited=committed - began)

    def refused(self, call: Call, refusal: Refusal) -> BreakerOpen:
        """Count and report a refusal; the error to raise."""
        self.circuit.rejected()
        if call.listeners:
            call.emit(
                BreakerRejected(call.runtime.now(), call, self._target, refusal.reason, refusal.retry_after)
            )
        return self.error(refusal)

    def error(self, refusal: Refusal) -> BreakerOpen:
        """The error a refusal amounts to; its tag is the reason."""
        wait = f"{refusal.retry_after:.3g} s"
        match refusal.reason:
            case "open":
                message = f"{self._target}: the circuit breaker is open for another {wait}"
            case "probing":
                message = f"{self._target}: the circuit breaker is half open and its probes are under way"
            case "forced_open":
                message = f"{self._target}: the circuit breaker is held open by hand"
            case "credential_rests":
                provider, cause = self._target.provider, self.credential.cause
                message = f"{provider}: the credential rests for another {wait} after {cause}"
        error = BreakerOpen(message, stage=self.name, retry_after=refusal.retry_after)
        error.tag(refusal.reason)
        error.target = self._target
        return error

    def _check_rest(self, call: Call, now: float) -> None:
        refusal = self.credential.refusal(now)
        if refusal is not None:
            raise self.refused(call, refusal)
        if self.credential.wake(now):
            self._emit(CredentialResumed(now, self._target.provider, "rest_over"))

    def _failed(
        self,
        error: BaseException,
        permit: Permit,
        began: float,
        now: float,
        epoch: int,
        committed: float | None = None,
    ) -> None:
        circuit = self.circuit
        if not isinstance(error, Exception):
            circuit.settle(permit, "cancelled", now)
            return
        waited = (now if committed is None else committed) - began
        if isinstance(error, ContentFilterError):
            # A refusal of the content is an answer: the provider works.
            circuit.settle(permit, "success", now, waited=waited)
        elif isinstance(error, CallError) and error.counts:
            circuit.settle(permit, "failure", now, waited=waited, hint=error.retry_after)
        else:
            # Says nothing about the provider: throttled, refused, our own deadline, or a bug on our side.
            circuit.settle(permit, "ignored", now)
            if isinstance(error, CallError) and error.cooldown:
                self._rest(error, now, epoch)

    def _rest(self, error: CallError, now: float, epoch: int) -> None:
        cause = type(error).__name__
        if self.credential.rest(now, self._cooldown, cause, epoch):
            self._emit(CredentialRested(now, self._target.provider, cause, self._cooldown))
