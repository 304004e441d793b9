"""What `[breaker]` may say."""

from __future__ import annotations

from pydantic import Field

from penstock.config import Seconds, StageConfig


class BreakerConfig(StageConfig):
    """When a target is no longer asked, for how long, and how it is tried again."""

    consecutive_failures: int = Field(
        default=5, ge=0, description="So many failures in a row open the breaker; 0 switches the rule off."
    )
    failure_rate: float = Field(
        default=0.5, ge=0, le=1, description="This share of failures opens it; 0 switches the rule off."
    )
    min_calls: int = Field(default=10, ge=1, description="Attempts a window needs before a share counts.")
    window: Seconds = Field(default=60.0, gt=0, description="How far back shares are counted.")
    buckets: int = Field(default=10, ge=1, le=1000, description="Steps in which the window moves on.")
    slow_rate: float = Field(
        default=0.0, ge=0, le=1, description="This share of slow attempts opens it; 0 switches the rule off."
    )
    slow_after: Seconds = Field(
        default=30.0, gt=0, description="An attempt is slow when its first token (or plain answer) is later."
    )
    open_for: Seconds = Field(
        default=15.0, gt=0, description="The first rest; doubles each time the breaker opens again."
    )
    max_open: Seconds = Field(default=120.0, gt=0, description="The longest rest without a server's hint.")
    jitter: float = Field(default=0.1, ge=0, lt=1, description="The share by which a rest varies either way.")
    max_hint: Seconds = Field(
        default=300.0, ge=0, description="A server's hint extends the rest, by this much at most."
    )
    probes: int = Field(default=1, ge=1, description="Attempts at once that try a target again.")
    close_after: int = Field(default=2, ge=1, description="Successful probes that close the breaker.")
    probe_lease: Seconds = Field(
        default=600.0,
        gt=0,
        allow_inf_nan=False,
        description="A probe not heard of for this long, or for the attempt timeout, counts as lost.",
    )
    cooldown: Seconds = Field(
        default=300.0,
        ge=0,
        description="How long a refused or exhausted credential rests; 0 switches the rule off.",
    )
