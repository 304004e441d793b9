"""OpenAI and compatible servers for Penstock."""

from __future__ import annotations

from penstock_openai.config import OpenAIConfig
from penstock_openai.presets import PRESETS, Preset

__all__ = ["PRESETS", "OpenAIConfig", "Preset"]
