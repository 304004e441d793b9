"""What the distribution registers."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.hookspecs import hookimpl
from penstock.specs import Slot, StageSpec
from penstock_routing.config import Routes, RoutingConfig
from penstock_routing.stage import RoutingStage


@hookimpl
def penstock_register_stages() -> Sequence[StageSpec]:
    """The routing stage, the innermost of those that see a call once."""
    return [
        StageSpec(
            name="routing",
            config=RoutingConfig,
            create=RoutingStage,
            slot=Slot("call", 90),
            tables={"routes": Routes},
        )
    ]
