"""What the distribution registers."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.hookspecs import hookimpl
from penstock.specs import Slot, StageSpec
from penstock_guard.config import GuardConfig
from penstock_guard.stage import GuardStage


@hookimpl
def penstock_register_stages() -> Sequence[StageSpec]:
    """The guard, the outermost stage: what it refuses costs nothing, not even a look into the cache."""
    return [StageSpec(name="guard", config=GuardConfig, create=GuardStage, slot=Slot("call", 10))]
