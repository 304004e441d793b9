"""What this distribution registers: one provider for the router, for endpoints, and for local models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.hookspecs import hookimpl
from penstock.specs import ProviderSpec, Services
from penstock_huggingface.config import HuggingFaceConfig

if TYPE_CHECKING:
    from penstock.provider import Codec, Provider

_CLAIMED = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*(?::[\w.-]+)?", re.ASCII)
_HUBS = ("hf.co/", "huggingface.co/")  # Ollama's way of naming what it pulls from here


@hookimpl
def penstock_register_providers() -> Sequence[ProviderSpec]:
    """The provider `huggingface`."""
    return [
        ProviderSpec(
            name="huggingface",
            config=HuggingFaceConfig,
            create=_create,
            claims=claims,
            capabilities=frozenset(
                {"chat", "stream", "embed", "models", "tools", "vision", "schema", "reasoning"}
            ),
        )
    ]


def claims(model: str) -> bool:
    """Whether a bare name is one of the Hub's: `org/name`, with a provider or policy after a colon or not."""
    return _CLAIMED.fullmatch(model) is not None and not model.startswith(_HUBS)


def _create(config: HuggingFaceConfig, services: Services) -> Codec | Provider:
    from penstock_huggingface.create import create

    return create(config, services)
