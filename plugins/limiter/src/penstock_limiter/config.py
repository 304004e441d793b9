"""
What `[limiter]` may say.

The keys of `[limiter]` itself, overrides applied, make one limit; `scope` and `group` say who shares it.
The tables `[limiter.provider]`, `[limiter.model]` and `[limiter.key]` make further ones. A call needs room
in all of them together.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from penstock.config import Config, Env, Rate, Seconds, StageConfig
from penstock_limiter.limit import Bounds


class LimitConfig(Config):
    """One more limit beside the one of `[limiter]` itself."""

    rate: Rate | None = Field(default=None, description="Requests in time, such as 10/s or 500/min.")
    burst: int | None = Field(
        default=None, ge=1, description="Requests that may come at once; one second's worth when not set."
    )
    tokens: Rate | None = Field(
        default=None, description="Input and output tokens in time, such as 30000/min, in every such window."
    )
    concurrency: int | None = Field(
        default=None, ge=1, description="Calls at once; a stream counts until it is closed."
    )

    def bounds(self) -> Bounds:
        """The numbers."""
        return _bounds(self.rate, self.burst, self.tokens, self.concurrency, adaptive=False)


class LimiterConfig(StageConfig):
    """How much may be sent, and what happens to what is too much."""

    rate: Annotated[Rate | None, Env("DEFAULT_RATE_LIMIT")] = Field(
        default=None,
        description="Requests in time, such as 10/s; not set: only what the server's answers say.",
    )
    burst: Annotated[int | None, Env("DEFAULT_BURST_LIMIT")] = Field(
        default=None, ge=1, description="Requests that may come at once; one second's worth when not set."
    )
    tokens: Rate | None = Field(
        default=None, description="Input and output tokens in time, such as 30000/min, in every such window."
    )
    concurrency: int | None = Field(
        default=None, ge=1, description="Calls at once; a stream counts until it is closed."
    )
    adaptive: bool = Field(
        default=False, description="Find the concurrency out; `concurrency` is then its ceiling (128)."
    )
    scope: Literal["provider", "model"] = Field(
        default="provider",
        description="Who shares this limit: the models of a provider with the same numbers, or nobody.",
    )
    group: str | None = Field(
        default=None, description="Share this limit with every target of the same group instead."
    )
    provider: LimitConfig = Field(
        default=LimitConfig.defaults(), description="A further limit for everything sent to one provider."
    )
    model: LimitConfig = Field(default=LimitConfig.defaults(), description="A further limit for each model.")
    key: LimitConfig = Field(
        default=LimitConfig.defaults(),
        description='A further limit for each key a call names with limiter={"key": ...}.',
    )
    mode: Literal["wait", "nowait"] = Field(
        default="wait", description="Queue what is too much, or refuse it at once."
    )
    max_wait: Seconds = Field(
        default=30.0, description="The longest wait; a call that would wait longer is refused at once."
    )
    max_len: int = Field(default=1000, ge=1, description="Calls that may queue for the same limits.")
    learn: Literal["model", "provider", "off"] = Field(
        default="model",
        description="For whom a 429 or a rate-limit header counts: the model, or the whole provider.",
    )
    assumed_output: int = Field(
        default=500, ge=1, description="Output tokens to reserve before there is any experience."
    )

    def bounds(self) -> Bounds:
        """The numbers of the limit that the table itself describes."""
        return _bounds(self.rate, self.burst, self.tokens, self.concurrency, adaptive=self.adaptive)


def _bounds(
    rate: Rate | None, burst: int | None, tokens: Rate | None, concurrency: int | None, *, adaptive: bool
) -> Bounds:
    return Bounds(
        rate=rate.per_second if rate is not None else None,
        burst=burst,
        tokens=tokens.count if tokens is not None else None,
        window=tokens.per if tokens is not None else 60.0,
        concurrency=concurrency,
        adaptive=adaptive,
    )
