"""OpenAI and compatible servers for Penstock."""

from penstock_openai.config import OpenAIConfig
from penstock_openai.presets import PRESETS, Preset

__all__ = ["PRESETS", "OpenAIConfig", "Preset"]
