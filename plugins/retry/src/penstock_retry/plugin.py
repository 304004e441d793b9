"""What the distribution registers."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.hookspecs import hookimpl
from penstock.specs import Slot, StageSpec
from penstock_retry.config import RetryConfig
from penstock_retry.stage import RetryStage


@hookimpl
def penstock_register_stages() -> Sequence[StageSpec]:
    """The retry stage, the outermost of a target's stages."""
    return [StageSpec(name="retry", config=RetryConfig, create=RetryStage, slot=Slot("target", 10))]
