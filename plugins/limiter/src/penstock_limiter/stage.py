"""The limiter stage: what it knows of calls, and what people may ask of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.events import LimiterConfigured
from penstock.specs import Scope
from penstock_limiter.config import LimitConfig, LimiterConfig
from penstock_limiter.place import LimiterPlace
from penstock_limiter.registry import Registry
from penstock_limiter.stats import LimiterStats

if TYPE_CHECKING:
    from penstock.call import Call, Reply
    from penstock.specs import Proceed, Services


class LimiterStage:
    """
    Keeps requests, tokens and calls at once under their limits, queueing or refusing what is too much.

    A call may bring its own values: `client.chat(..., limiter={"max_wait": 5, "key": "tenant-7"})`.

    Args:
        config: the values in force where no override is.
        services: the clock, and where events go.
    """

    def __init__(self, config: LimiterConfig, services: Services) -> None:
        self._config = config
        self._services = services
        self._registry = Registry()

    def bind(self, scope: Scope) -> LimiterPlace:
        """The stage for one target, with everything it needs looked up."""
        return LimiterPlace(self._registry, scope, self._services)

    async def __call__(self, call: Call, proceed: Proceed) -> Reply:
        """Unbound, outside a client's pipeline: the place of the call's own target."""
        scope = Scope(config=self._config, route=call.route, target=call.target, provider=None)
        return await self.bind(scope)(call, proceed)

    def configure(
        self,
        target: str,
        rate: Any = None,
        burst: int | None = None,
        *,
        tokens: Any = None,
        concurrency: int | None = None,
    ) -> None:
        """
        Other numbers for a target or a pattern, from now on; what is not given stays.

        What was used stays used. Calls that queue already keep the place they have.

        Args:
            target: such as `openai/gpt-4o` or `openai/*`.
            rate: requests, such as `"5/s"` or 5.
            burst: requests at once.
            tokens: tokens, such as `"30000/min"`.
            concurrency: calls at once.

        Raises:
            ValueError: a value that the configuration would refuse; nothing has changed.
        """
        given = {"rate": rate, "burst": burst, "tokens": tokens, "concurrency": concurrency}
        given = {name: value for name, value in given.items() if value is not None}
        bounds = LimitConfig.model_validate(given).bounds()
        values: dict[str, Any] = {name: getattr(bounds, name) for name in given}
        if "tokens" in values:
            values["window"] = bounds.window
        now = self._services.runtime.now()
        self._registry.configure(target, values, now)
        self._services.emit(LimiterConfigured(now, target, given))

    def reset(self, target: str = "*") -> None:
        """Forget what answers taught about a target or pattern: pauses and remaining counts."""
        now = self._services.runtime.now()
        for learnt in self._registry.learnt(target):
            with self._registry.gate.lock:
                learnt.clear()
        self._registry.gate.changed(now)

    def stats(self) -> LimiterStats:
        """Counts of all calls, and the state of every limit by its name."""
        return LimiterStats.of(self._registry.gate, self._registry.stats(self._services.runtime.now()))
