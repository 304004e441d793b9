"""The configuration of one instance: the router, a server of one's own, or a model in this process."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from penstock.config import Bytes, Config, Env

Api = Literal["router", "chat", "generate", "local"]
PromptName = Literal["plain", "chatml", "gemma", "llama3", "mistral", "zephyr"]
Dtype = Literal["auto", "float32", "float16", "bfloat16"]


class HuggingFaceConfig(Config):
    """Who is asked, and with which key; the fields from `path` on are for `api = "local"`."""

    api: Api | None = Field(
        default=None,
        description="router: the Inference Providers; chat, generate: an Inference Endpoint or TGI at "
        "base_url; local: transformers in this process. Left out: chat when base_url is given, else router.",
    )
    api_key: Annotated[SecretStr | None, Env("HUGGINGFACE_API_KEY"), Env("HF_TOKEN")] = Field(
        default=None, description="The access token; servers of one's own often need none."
    )
    base_url: str | None = Field(
        default=None,
        description="Address of the server; left out, https://router.huggingface.co/v1.",
    )
    bill_to: str | None = Field(
        default=None, description="The organisation that pays for the router, sent as X-HF-Bill-To."
    )
    headers: dict[str, SecretStr] = Field(
        default_factory=dict, description="Further headers of every request; they may replace ours."
    )
    think_tags: bool = Field(
        default=False, description="Take a leading <think>...</think> out of the text as reasoning."
    )
    prompt: PromptName = Field(
        default="plain",
        description="How messages become one prompt, for api = generate and local models without a template.",
    )
    tokenizer: str | None = Field(
        default=None,
        description="For api = generate: the folder or Hub name of a tokenizer whose chat template makes the "
        "prompt, instead of `prompt`; needs penstock-huggingface[local].",
    )
    max_event_bytes: Bytes = Field(
        default=8 * 1024 * 1024, ge=1024, description="How large one event of a stream may be."
    )
    path: str | None = Field(
        default=None,
        description="The folder of a model, or of several; left out, models are named as on the Hub.",
    )
    download: bool = Field(
        default=False, description="Fetch what is not on this machine from the Hub; off, that is an error."
    )
    device: str | None = Field(
        default=None,
        description="Such as cpu, cuda:0, mps, or auto to spread a model; left out, the best there is.",
    )
    dtype: Dtype = Field(default="auto", description="The type of the weights; auto keeps that of the file.")
    max_new_tokens: Annotated[int, Field(ge=1)] = Field(
        default=1024, description="Tokens of an answer when the call does not say."
    )
    max_models: Annotated[int, Field(ge=1)] = Field(
        default=2, description="Models this instance keeps in memory; the one used longest ago goes first."
    )
    parallel: Annotated[int, Field(ge=1)] = Field(
        default=1, description="Answers one model makes at the same time; further calls wait their turn."
    )
    normalize: bool = Field(default=True, description="Scale embeddings to length 1.")
