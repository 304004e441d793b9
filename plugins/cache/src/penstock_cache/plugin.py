"""What the distribution registers."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.hookspecs import hookimpl
from penstock.specs import HealthCheckSpec, Slot, StageSpec
from penstock_cache.config import CacheConfig
from penstock_cache.health import check
from penstock_cache.stage import CacheStage


@hookimpl
def penstock_register_stages() -> Sequence[StageSpec]:
    """The cache, above routing and all resilience: a hit needs none of them."""
    return [StageSpec(name="cache", config=CacheConfig, create=CacheStage, slot=Slot("call", 20))]


@hookimpl
def penstock_register_health_checks() -> Sequence[HealthCheckSpec]:
    """Whether the store works."""
    return [HealthCheckSpec(name="cache", check=check)]
