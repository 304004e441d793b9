"""What `[retry]` may say."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from penstock.config import Env, Seconds, StageConfig


class RetryConfig(StageConfig):
    """When a failed attempt is repeated on the same target, and how long to wait before."""

    max_attempts: Annotated[int, Env("MAX_RETRIES", lambda text: int(text) + 1)] = Field(
        default=3, ge=1, description="Attempts on one target, the first included."
    )
    max_total_attempts: int = Field(
        default=6, ge=1, description="Attempts of one call over all its targets and hedges."
    )
    base: Annotated[Seconds, Env("INITIAL_RETRY_DELAY")] = Field(
        default=0.5, ge=0, description="The first backoff after a passing fault; doubles with each retry."
    )
    throttle_base: Seconds = Field(
        default=2.0, ge=0, description="The first backoff when the server is busy (429, 503, 529)."
    )
    max_delay: Annotated[Seconds, Env("MAX_RETRY_DELAY")] = Field(
        default=20.0, ge=0, description="The longest backoff; a server's own hint may be longer."
    )
    max_hint: Seconds = Field(
        default=60.0, ge=0, description="A server that asks for more than this is not waited for."
    )
    margin: Seconds = Field(
        default=1.0, ge=0, description="Time an attempt should still have before the deadline."
    )
