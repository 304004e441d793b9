"""What the distribution registers."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.hookspecs import hookimpl
from penstock.specs import HealthCheckSpec, Slot, StageSpec
from penstock_limiter.config import LimiterConfig
from penstock_limiter.health import check
from penstock_limiter.stage import LimiterStage


@hookimpl
def penstock_register_stages() -> Sequence[StageSpec]:
    """The limiter stage, inside retry and breaker: every attempt counts against the quota."""
    return [StageSpec(name="limiter", config=LimiterConfig, create=LimiterStage, slot=Slot("attempt", 20))]


@hookimpl
def penstock_register_health_checks() -> Sequence[HealthCheckSpec]:
    """Pauses, and queues that build up."""
    return [HealthCheckSpec(name="limiter", check=check)]
