"""The configuration of one instance: where the server is, and what every request to it says."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from penstock.config import Bytes, Config, Env, Seconds
from penstock_ollama.address import DEFAULT_URL, read_address

ThinkLevel = Literal["low", "medium", "high", "max"]


class OllamaConfig(Config):
    """Which server is asked, and how it is to run its models."""

    base_url: Annotated[str, Env("OLLAMA_HOST"), AfterValidator(read_address)] = Field(
        default=DEFAULT_URL,
        description="Address of the server: host, host:port or a URL, without /api.",
    )
    api_key: Annotated[SecretStr | None, Env("OLLAMA_API_KEY")] = Field(
        default=None, description="The key, for ollama.com or a proxy; a server of one's own needs none."
    )
    headers: dict[str, SecretStr] = Field(
        default_factory=dict, description="Further headers of every request; they may replace ours."
    )
    keep_alive: int | str | None = Field(
        default=None,
        description="How long the server keeps a model loaded: seconds, a duration such as 10m, -1 for ever.",
    )
    num_ctx: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="The context window of every chat, in tokens; left out, chosen when needed."
    )
    think: bool | ThinkLevel | None = Field(
        default=None, description="Whether models that can reason do; some take a level."
    )
    think_tags: bool = Field(
        default=False, description="Take a leading <think>...</think> out of the text as reasoning."
    )
    preflight: bool = Field(
        default=True,
        description="Enlarge the window for a long prompt, and refuse one that cannot fit before it is "
        "sent; off, the server cuts it silently.",
    )
    details_ttl: Seconds = Field(
        default=300.0, description="How long the details of a model (/api/show) are remembered."
    )
    max_event_bytes: Bytes = Field(
        default=8 * 1024 * 1024, ge=1024, description="How large one line of a stream may be."
    )
    max_response_bytes: Bytes = Field(
        default=64 * 1024 * 1024, ge=1024, description="The largest answer that is read, decompressed."
    )
