"""What this distribution registers: one provider for the native API of Ollama servers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.hookspecs import hookimpl
from penstock.specs import ProviderSpec, Services
from penstock_ollama.config import OllamaConfig

if TYPE_CHECKING:
    from penstock.provider import Provider

_HUBS = ("hf.co/", "huggingface.co/", "registry.ollama.ai/")
# Families of the library as it writes them: the version follows the name, and hosted services write others
# (`llama-3.3-70b-versatile`, `qwen-max`, `mistral-large-latest`).
_FAMILY = (
    r"(?:all-minilm|aya|bge-m3|command-r|devstral|dolphin\w*|falcon|granite|llava|magistral|mixtral|orca"
    r"|qwq|smollm|starcoder|vicuna|wizard\w*|zephyr|deepseek-r1|deepseek-v|gpt-oss"
    r"|(?:mxbai|nomic|snowflake-arctic)-embed|embeddinggemma"
    r"|(?:code|tiny)?llama|(?:code)?gemma|olmo|phi|qwen|mistral)"
)
_CLAIMED = re.compile(rf"{_FAMILY}\d*(?:\.\d+)?(?:-(?!latest$)[a-z]+)*")
_HOSTED = re.compile(r"(?:llama|gemma|phi|qwen|mistral)-(?!nemo$)[a-z-]+")
_TAGGED = re.compile(r"[A-Za-z0-9][\w.-]*:[\w.-]+")


@hookimpl
def penstock_register_providers() -> Sequence[ProviderSpec]:
    """The provider `ollama`."""
    return [
        ProviderSpec(
            name="ollama",
            config=OllamaConfig,
            create=_create,
            claims=claims,
            capabilities=frozenset(
                {"chat", "stream", "embed", "models", "tools", "vision", "schema", "reasoning"}
            ),
        )
    ]


def claims(model: str) -> bool:
    """Whether a name is written as Ollama's library does: `name:tag`, a known family, or a hub's path."""
    if "/" in model:
        return model.startswith(_HUBS)
    if _TAGGED.fullmatch(model):
        return not model.startswith("ft:")  # OpenAI's fine-tuned models
    return _CLAIMED.fullmatch(model) is not None and _HOSTED.fullmatch(model) is None


def _create(config: OllamaConfig, services: Services) -> Provider:
    from penstock_ollama.provider import create

    return create(config, services)
