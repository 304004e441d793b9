"""What the distribution registers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.hookspecs import hookimpl
from penstock.specs import HealthCheckSpec, Slot, StageSpec
from penstock_cost.config import CostConfig
from penstock_cost.health import check
from penstock_cost.stage import CostStage


@hookimpl
def penstock_register_stages() -> Sequence[StageSpec]:
    """The cost stage, the outermost of a target's: a spent budget sends a route on to the next target."""
    return [StageSpec(name="cost", config=CostConfig, create=CostStage, slot=Slot("target", 5))]


@hookimpl
def penstock_register_health_checks() -> Sequence[HealthCheckSpec]:
    """Budgets that are spent, or nearly."""
    return [HealthCheckSpec(name="cost", check=check)]


@hookimpl
def penstock_commands(group: Any) -> None:
    """`penstock tokens` and `penstock price`."""
    from penstock_cost.commands import price, tokens

    group.add_command(tokens)
    group.add_command(price)
