"""What the distribution registers."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.hookspecs import hookimpl
from penstock.specs import Slot, StageSpec
from penstock_limiter.config import LimiterConfig
from penstock_limiter.stage import LimiterStage


@hookimpl
def penstock_register_stages() -> Sequence[StageSpec]:
    """The limiter stage, inside retry and breaker: every attempt counts against the quota."""
    return [StageSpec(name="limiter", config=LimiterConfig, create=LimiterStage, slot=Slot("attempt", 20))]
