"""Ollama's native API for Penstock."""

from penstock_ollama.codec import OllamaCodec
from penstock_ollama.config import OllamaConfig
from penstock_ollama.details import LoadedModel, ModelDetails
from penstock_ollama.provider import OllamaProvider
from penstock_ollama.server import Health, PullProgress

__all__ = [
    "Health",
    "LoadedModel",
    "ModelDetails",
    "OllamaCodec",
    "OllamaConfig",
    "OllamaProvider",
    "PullProgress",
]
