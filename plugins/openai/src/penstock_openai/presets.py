"""
Servers that speak the OpenAI dialect: where they are, which key they want, how they deviate.

A table of data. A server that needs code is a provider of its own; what can be said in data is a field of
`Quirks`.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from penstock.frozen import dataclass
from penstock_wire.openai import VENDOR_EXTRAS, Paths, Quirks

_PLAIN = Quirks(max_tokens="by_model")
_PATHS = Paths()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """
    One server.

    Args:
        base_url: its address; None when every customer has another one.
        key: the environment variable its key is usually in; None for servers that need none.
        quirks: how it deviates.
        paths: where its endpoints are.
        key_header: the header that carries the key as it is; None for `Authorization: Bearer`.
        query: added to every URL.
        host: recognises the preset by the host of a configured URL; a leading dot matches subdomains.
    """

    base_url: str | None
    key: str | None = None
    quirks: Quirks = _PLAIN
    paths: Paths = _PATHS
    key_header: str | None = None
    query: str = ""
    host: str | None = None


_OPENAI = Quirks(
    max_tokens="by_model",
    developer_role="developer",
    embedding_format="base64",
    reasoning_rules=True,
    foreign_extras=VENDOR_EXTRAS,
)

PRESETS: dict[str, Preset] = {
    "openai": Preset(
        base_url="https://api.openai.com/v1", key="OPENAI_API_KEY", quirks=_OPENAI, host="api.openai.com"
    ),
    "azure": Preset(
        base_url=None,
        key="AZURE_OPENAI_API_KEY",
        quirks=_OPENAI,
        key_header="api-key",
        host=".openai.azure.com",
    ),
    # The older form of Azure's URLs, with the deployment in the path.
    "azure-deployments": Preset(
        base_url=None,
        key="AZURE_OPENAI_API_KEY",
        quirks=_OPENAI,
        paths=Paths(
            chat="/openai/deployments/{model}/chat/completions",
            responses="/openai/responses",
            embeddings="/openai/deployments/{model}/embeddings",
            models="/openai/models",
        ),
        key_header="api-key",
        query="api-version=2024-10-21",
    ),
    "groq": Preset(
        base_url="https://api.groq.com/openai/v1",
        key="GROQ_API_KEY",
        quirks=Quirks(max_tokens="by_model", foreign_extras=VENDOR_EXTRAS - {"reasoning"}),
        host="api.groq.com",
    ),
    "mistral": Preset(
        base_url="https://api.mistral.ai/v1",
        key="MISTRAL_API_KEY",
        # Usage comes by itself, and fields it does not know are a 422.
        quirks=Quirks(stream_usage=False, renamed=(("seed", "random_seed"),), foreign_extras=VENDOR_EXTRAS),
        host="api.mistral.ai",
    ),
    "deepseek": Preset(
        base_url="https://api.deepseek.com/v1",
        key="DEEPSEEK_API_KEY",
        quirks=Quirks(schema_as="json_object"),
        host="api.deepseek.com",
    ),
    "openrouter": Preset(
        base_url="https://openrouter.ai/api/v1", key="OPENROUTER_API_KEY", host="openrouter.ai"
    ),
    "together": Preset(
        base_url="https://api.together.xyz/v1", key="TOGETHER_API_KEY", host="api.together.xyz"
    ),
    "perplexity": Preset(
        base_url="https://api.perplexity.ai",
        key="PERPLEXITY_API_KEY",
        quirks=Quirks(stream_usage=False),  # every event carries it
        host="api.perplexity.ai",
    ),
    "gemini": Preset(
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        key="GEMINI_API_KEY",
        quirks=Quirks(max_tokens="by_model", foreign_extras=VENDOR_EXTRAS - {"extra_content"}),
        host="generativelanguage.googleapis.com",
    ),
    "xai": Preset(base_url="https://api.x.ai/v1", key="XAI_API_KEY", host="api.x.ai"),
    "cerebras": Preset(
        base_url="https://api.cerebras.ai/v1",
        key="CEREBRAS_API_KEY",
        quirks=Quirks(max_tokens="max_completion_tokens", foreign_extras=VENDOR_EXTRAS - {"reasoning"}),
        host="api.cerebras.ai",
    ),
    "vllm": Preset(base_url="http://127.0.0.1:8000/v1"),
    "llama.cpp": Preset(base_url="http://127.0.0.1:8080/v1"),
    "lm-studio": Preset(base_url="http://127.0.0.1:1234/v1"),
}

_COMPATIBLE = Preset(base_url=None)


def preset_for(name: str | None, base_url: str | None) -> Preset:
    """
    The preset a configuration means: by name, else by the host of its URL, else OpenAI without a URL.

    Raises:
        KeyError: there is no preset of that name.
    """
    if name is not None:
        return PRESETS[name]
    if base_url is None:
        return PRESETS["openai"]
    host = (urlsplit(base_url).hostname or "").lower()
    for preset in PRESETS.values():
        known = preset.host
        if known is not None and (host == known or (known[0] == "." and host.endswith(known))):
            return preset
    return _COMPATIBLE
