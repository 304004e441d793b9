"""What the distribution registers."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.hookspecs import hookimpl
from penstock.specs import HealthCheckSpec, Slot, StageSpec
from penstock_breaker.config import BreakerConfig
from penstock_breaker.health import check
from penstock_breaker.stage import BreakerStage


@hookimpl
def penstock_register_stages() -> Sequence[StageSpec]:
    """The breaker stage, the outermost of an attempt's stages; a part of it stands innermost."""
    return [StageSpec(name="breaker", config=BreakerConfig, create=BreakerStage, slot=Slot("attempt", 10))]


@hookimpl
def penstock_register_health_checks() -> Sequence[HealthCheckSpec]:
    """Which targets and credentials are at rest."""
    return [HealthCheckSpec(name="breaker", check=check)]
