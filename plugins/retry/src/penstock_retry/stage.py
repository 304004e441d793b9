"""The retry stage: the thin shell around the policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from penstock.errors import CallError
from penstock.events import RetryScheduled, RetryStopped
from penstock_retry.config import RetryConfig
from penstock_retry.policy import RetryPolicy, Stop

if TYPE_CHECKING:
    from penstock.budget import RetryBudget
    from penstock.call import Call, Reply
    from penstock.specs import Proceed, Services


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
        self._policy = policy_of(config)
        self._budget = services.retry_budget

    async def __call__(self, call: Call, proceed: Proceed) -> Reply:
        runtime = call.runtime
        policy = self._policy if "retry" not in call.options else self._own_policy(call.options["retry"])
        budget = self._budget(call.target.provider)  # type: ignore[union-attr]  # the target slot has one
        budget.deposit(runtime.now())
        attempts = alike = 0
        while True:
            try:
                return await proceed(call)
            except CallError as error:
                failure = error  # the wait is outside, where the failure is no context of what comes next
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
                if decision.reason is not None and call.listeners:
                    call.emit(RetryStopped(runtime.now(), call, failure, decision.reason))
                raise failure
            self._withdraw(budget, call, failure)
            if call.listeners:
                call.emit(RetryScheduled(runtime.now(), call, failure, decision.delay, decision.hint))
            await runtime.sleep(decision.delay)
            call.retry_delay = decision.delay

    def _withdraw(self, budget: RetryBudget, call: Call, failure: CallError) -> None:
        now = call.runtime.now()
        if budget.withdraw(now):
            return
        failure.tag("budget_exhausted")
        if call.listeners:
            call.emit(RetryStopped(now, call, failure, "denied"))
        raise failure

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
            raise InvalidRequestError(f"retry: {text}", param="retry") from None
