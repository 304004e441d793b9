"""Hugging Face for Penstock: the router, endpoints of one's own, and models in this process."""

from __future__ import annotations

from penstock_huggingface.config import HuggingFaceConfig
from penstock_huggingface.prompts import FORMATS, Format

__all__ = ["FORMATS", "Format", "HuggingFaceConfig"]
