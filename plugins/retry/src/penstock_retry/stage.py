"""
The retry stage: the thin shell around the policy.

The bound on the attempts of a whole call is kept here for all its targets: a target that a route turns to
after the last of them is refused before anything is sent, and a route sees that when it peeks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from penstock.errors import BreakerOpen, BudgetExhausted, CallError
from penstock.events import RetryScheduled, RetryStopped
from penstock.redaction import raise_alone
from penstock_retry.config import RetryConfig
from penstock_retry.policy import RetryPolicy, Stop

if TYPE_CHECKING:
    from penstock.call import Call, Reply
    from penstock.specs import Proceed, Services


StopReason: TypeAlias = Literal["exhausted", "denied", "hint_too_long", "deadline", "breaker_open"]


def policy_of(config: RetryConfig) -> RetryPolicy:
    """The policy a configuration describes."""
    names = RetryPolicy.__dataclass_fields__
    return RetryPolicy(**{name: getattr(config, name) for name in names})


class RetryStage:
    """
    Repeats failed attempts on the same target.

    A call may bring its own values: `client.chat(..., retry={"max_attempts": 1})`.

    Args:
        config: the values in force.
        services: brings the retry budget of each provider.
    """

    def __init__(self, config: RetryConfig, services: Services) -> None:
        self._config = config
        self._name = services.name
        self._policy = policy_of(config)
        self._budget = services.retry_budget
        self._peek = services.peek

    async def __call__(self, call: Call, proceed: Proceed) -> Reply:
        runtime = call.runtime
        policy = self._policy_of(call)
        if call.attempts and len(call.attempts) >= policy.max_total_attempts:
            raise self._spent(call, policy)
        budget = self._budget(call.target.provider)  # type: ignore[union-attr]  # the target slot has one
        attempts = alike = 0
        call.retry_delay = 0.0  # a stage further out may send the same call twice
        while True:
            try:
                reply = await proceed(call)
            except CallError as error:
                failure = error  # the wait is outside, where the failure is no context of what comes next
            else:
                if attempts == 0:
                    budget.deposit(runtime.now())
                return reply
            if attempts == 0 and call.attempt is not None:
                budget.deposit(runtime.now())  # what a local stage refused was no attempt, and earns no retry
            attempts += 1
            alike += failure.retry_limit is not None
            decision = policy.after(
                failure,
                attempts=attempts,
                total=len(call.attempts),
                alike=alike,
                remaining=call.remaining(),
                dice=runtime.random(),
            )
            if isinstance(decision, Stop):
                self._stopped(call, failure, decision.reason)
                raise failure
            if self._is_open(call, decision.delay):
                self._stopped(call, failure, "breaker_open")
                raise failure
            if not budget.withdraw(runtime.now()):
                failure.tag("budget_exhausted")
                self._stopped(call, failure, "denied")
                raise failure
            if call.listeners:
                call.emit(RetryScheduled(runtime.now(), call, failure, decision.delay, decision.hint))
            await runtime.sleep(decision.delay)
            if len(call.attempts) >= policy.max_total_attempts:
                self._stopped(call, failure, "exhausted")  # by the other side of a hedge, meanwhile
                raise failure
            call.retry_delay = decision.delay

    def peek(self, call: Call) -> CallError | None:
        """The refusal of a call that has made all its attempts at other targets, or None."""
        if not call.attempts:
            return None
        policy = self._policy_of(call)
        return self._spent(call, policy) if len(call.attempts) >= policy.max_total_attempts else None

    def _policy_of(self, call: Call) -> RetryPolicy:
        return self._policy if "retry" not in call.options else self._own_policy(call.options["retry"])

    def _spent(self, call: Call, policy: RetryPolicy) -> CallError:
        error = BudgetExhausted(
            f"{call.target}: the call has made its {policy.max_total_attempts} attempts (max_total_attempts)",
            stage=self._name,
        )
        error.tag("attempts_exhausted")
        error.target = call.target
        return error

    def _is_open(self, call: Call, delay: float) -> bool:
        """Whether the breaker would still refuse after the wait: better the error that opened it, and now."""
        refusal = self._peek(call)
        return isinstance(refusal, BreakerOpen) and (refusal.retry_after or 0.0) > delay

    @staticmethod
    def _stopped(call: Call, failure: CallError, reason: StopReason | None) -> None:
        if reason is not None and call.listeners:
            call.emit(RetryStopped(call.runtime.now(), call, failure, reason))

    def _own_policy(self, given: Any) -> RetryPolicy:
        from pydantic import ValidationError

        from penstock.errors import InvalidRequestError

        if given is True:
            return self._policy
        try:
            if not isinstance(given, Mapping):
                raise TypeError("it must be False or a mapping of the keys of [retry]")
            return policy_of(RetryConfig.model_validate({**self._config.model_dump(), **given}))
        except (ValidationError, TypeError) as error:
            text = str(error) if isinstance(error, TypeError) else error.errors(include_input=False)[0]["msg"]
            raise_alone(InvalidRequestError(f"retry: {text}", param="retry"))
