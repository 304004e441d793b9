"""What this distribution registers: one provider for OpenAI and every server that speaks its dialect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.hookspecs import hookimpl
from penstock.specs import ProviderSpec, Services
from penstock_openai.config import OpenAIConfig

if TYPE_CHECKING:
    from penstock.provider import Codec

_PREFIXES = ("gpt-", "chatgpt-", "text-embedding-", "codex-", "computer-use-")
_OPEN_WEIGHTS = ("gpt-oss", "gpt-neo", "gpt-j")


@hookimpl
def penstock_register_providers() -> Sequence[ProviderSpec]:
    """The provider `openai`."""
    return [
        ProviderSpec(
            name="openai",
            config=OpenAIConfig,
            create=_create,
            claims=claims,
            capabilities=frozenset(
                {"chat", "stream", "embed", "models", "tools", "vision", "schema", "reasoning"}
            ),
        )
    ]


def claims(model: str) -> bool:
    """Whether a bare name is one of OpenAI's; names of others have a slash, or a tag after a colon."""
    if model.startswith("ft:"):
        return claims(model[3:].partition(":")[0])
    if "/" in model or ":" in model or model.startswith(_OPEN_WEIGHTS):
        return False
    if model.startswith(_PREFIXES):
        return True
    number = model[1:].partition("-")[0]
    return model[:1] == "o" and number.isascii() and number.isdigit()


def _create(config: OpenAIConfig, services: Services) -> Codec:
    from penstock_openai.codec import create

    return create(config, services)
