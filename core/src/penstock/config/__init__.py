"""Configuration: where it comes from, how it is checked, and the types plugins describe theirs with."""

from __future__ import annotations

from penstock.config.core import CoreConfig
from penstock.config.settings import Settings
from penstock.config.shape import undescribed
from penstock.config.tree import Origin
from penstock.config.types import Bytes, Config, Env, Rate, Seconds, StageConfig

__all__ = [
    "Bytes",
    "Config",
    "CoreConfig",
    "Env",
    "Origin",
    "Rate",
    "Seconds",
    "Settings",
    "StageConfig",
    "undescribed",
]
