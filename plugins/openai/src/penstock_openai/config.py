"""The configuration of one instance: OpenAI itself, or any server that speaks its dialect."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from penstock.config import Bytes, Config, Env

PresetName = Literal[
    "azure",
    "azure-deployments",
    "cerebras",
    "deepseek",
    "gemini",
    "groq",
    "llama.cpp",
    "lm-studio",
    "mistral",
    "openai",
    "openrouter",
    "perplexity",
    "together",
    "vllm",
    "xai",
]


class OpenAIConfig(Config):
    """Who is asked, and with which key."""

    preset: PresetName | None = Field(
        default=None,
        description="A known server: its URL and how it deviates; left out, told by the host of base_url.",
    )
    api_key: Annotated[SecretStr | None, Env("OPENAI_API_KEY")] = Field(
        default=None, description="The key; servers of one's own often need none."
    )
    base_url: str | None = Field(
        default=None,
        description="Address of the API; left out, https://api.openai.com/v1 or the preset's own.",
    )
    organization: Annotated[str | None, Env("OPENAI_ORG_ID")] = Field(
        default=None, description="Sent as OpenAI-Organization."
    )
    project: Annotated[str | None, Env("OPENAI_PROJECT_ID")] = Field(
        default=None, description="Sent as OpenAI-Project."
    )
    api_version: str | None = Field(
        default=None, description="Added to every URL as api-version, for Azure's older addresses."
    )
    headers: dict[str, SecretStr] = Field(
        default_factory=dict, description="Further headers of every request; they may replace ours."
    )
    api: Literal["chat", "responses"] = Field(
        default="chat", description="Which API chats go to: chat completions, or the Responses API."
    )
    think_tags: bool = Field(
        default=False, description="Take a leading <think>...</think> out of the text as reasoning."
    )
    max_event_bytes: Bytes = Field(
        default=8 * 1024 * 1024, ge=1024, description="How large one event of a stream may be."
    )
