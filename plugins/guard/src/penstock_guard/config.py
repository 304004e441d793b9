"""What `[guard]` may say."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from penstock.config import Bytes, Config, Seconds, StageConfig
from penstock_guard.patterns import PATTERNS

ScanAction = Literal["off", "log", "mask", "reject"]


class ImagesConfig(Config):
    """Images that a request gives by URL."""

    fetch: bool = Field(
        default=False,
        description="Fetch them here, from public addresses only, and send their bytes instead of the URL.",
    )
    hosts: tuple[str, ...] = Field(
        default=(), description='Hosts they may be on, such as "*.example.com"; empty for any public one.'
    )
    ports: tuple[int, ...] = Field(default=(443,), description="TCP ports they may be served on.")
    max_bytes: Bytes = Field(default=10 * 1024 * 1024, ge=1, description="The largest image.")
    timeout: Seconds = Field(default=10.0, gt=0, description="The longest fetch of one image.")


class ScanConfig(Config):
    """What to look for in texts, and what to do about it."""

    prompts: ScanAction = Field(
        default="off", description="For requests: off, log (an event), mask the finds, or reject the call."
    )
    answers: ScanAction = Field(default="off", description="The same for answers, streams included.")
    patterns: tuple[str, ...] = Field(
        default=("secret", "credit_card", "iban", "us_ssn", "email"),
        description=f"What to look for, of: {', '.join(PATTERNS)}.",
    )
    custom: dict[str, str] = Field(
        default={}, description="Further patterns: a name and a regular expression each."
    )
    mask: str = Field(default="[{name}]", description="What stands in for a find; {name} is its pattern's.")

    @field_validator("patterns")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in PATTERNS:
                raise ValueError(f"there is no pattern {name!r}; there are {', '.join(PATTERNS)}")
        return names

    @field_validator("custom")
    @classmethod
    def _compile(cls, patterns: dict[str, str]) -> dict[str, str]:
        for name, pattern in patterns.items():
            try:
                matches_nothing = re.compile(pattern).match("") is not None
            except re.error as error:
                raise ValueError(f"{name!r} is no regular expression: {error}") from None
            if matches_nothing:
                raise ValueError(f"{name!r} matches the empty text, so it would be everywhere")
        return patterns


class GuardConfig(StageConfig):
    """What a request may be before anything is sent."""

    models: tuple[str, ...] = Field(
        default=(), description='Models and routes that may be asked, such as "openai/*"; empty for all.'
    )
    max_messages: int = Field(default=1000, ge=1, description="Messages of a conversation.")
    max_chars: int = Field(
        default=100_000, ge=1, description="Characters of a conversation in all, and of each text to embed."
    )
    max_images: int = Field(default=32, ge=0, description="Images of a conversation.")
    max_tools: int = Field(default=128, ge=0, description="Tools of a request.")
    max_request_bytes: Bytes = Field(
        default=32 * 1024 * 1024, ge=1, description="A request in all: texts, images, tools, schemas."
    )
    min_temperature: float = Field(default=0.0, description="The lowest temperature.")
    max_temperature: float = Field(default=2.0, description="The highest temperature.")
    max_tokens: int = Field(default=100_000, ge=1, description="The highest `max_tokens`; the lowest is 1.")
    max_choices: int = Field(default=128, ge=1, description="The highest `n`.")
    images: ImagesConfig = Field(default=ImagesConfig.defaults(), description="Images given by URL.")
    scan: ScanConfig = Field(default=ScanConfig.defaults(), description="Private data and secrets in texts.")
