"""What is compared: each candidate makes the same calls to the same upstream, as its documentation shows."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Candidate:
    """
    One candidate.

    Args:
        name: how figures are filed and tables name it.
        environment: the environment it runs in; see `environments`.
        where: module of this package and class.
        module: what a program imports to use it.
        distributions: whose versions are reported.
        quick: whether a quick run includes it.
    """

    name: str
    environment: str
    where: str
    module: str
    distributions: tuple[str, ...]
    quick: bool = True


CANDIDATES = (
    Candidate("bare", "penstock", "bare:Bare", "requests", ("requests", "aiohttp")),
    Candidate("penstock", "penstock", "own:Full", "penstock", ("penstock",)),
    Candidate("penstock, turbo", "penstock-turbo", "own:Turbo", "penstock", ("penstock", "penstock-turbo")),
    Candidate("penstock, retry only", "penstock-minimal", "own:Minimal", "penstock", ("penstock",)),
    Candidate("openai", "openai", "openai_sdk:OpenAISDK", "openai", ("openai",)),
    Candidate("any-llm", "any-llm-sdk", "any_llm_sdk:AnyLLMSDK", "any_llm", ("any-llm-sdk",), False),
    Candidate(
        "langchain-openai",
        "langchain-openai",
        "langchain_sdk:LangChain",
        "langchain_openai",
        ("langchain-openai",),
        False,
    ),
    Candidate(
        "pydantic-ai",
        "pydantic-ai",
        "pydantic_ai_sdk:PydanticAI",
        "pydantic_ai",
        ("pydantic-ai-slim",),
        False,
    ),
    Candidate("litellm", "litellm", "litellm_sdk:LiteLLM", "litellm", ("litellm",)),
    Candidate("litellm Router", "litellm-proxy", "litellm_sdk:LiteLLMRouter", "litellm", ("litellm",), False),
)


def load(name: str, address: str) -> Any:
    """The candidate of a name, ready to open modes against the upstream at `address`."""
    candidate = next(candidate for candidate in CANDIDATES if candidate.name == name)
    module, _, kind = candidate.where.partition(":")
    return getattr(importlib.import_module(f"candidates.{module}"), kind)(address)
