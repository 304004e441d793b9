"""What the distribution registers with Penstock: the chaos stage, off by default."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.hookspecs import hookimpl
from penstock.specs import Slot, StageSpec
from penstock_testkit.chaos import ChaosConfig, ChaosStage


@hookimpl
def penstock_register_stages() -> Sequence[StageSpec]:
    """The chaos stage; it acts directly around the provider wherever it is listed."""
    return [StageSpec(name="chaos", config=ChaosConfig, create=ChaosStage, slot=Slot("attempt", 90))]
