"""What `[metrics]` may say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from penstock.config import Config, Seconds


class MetricsConfig(Config):
    """What is measured is always there for `client.metrics()` and Prometheus; where else it is sent."""

    enabled: bool = Field(default=True, description="Switch metrics off without removing them.")
    exporters: tuple[Literal["prometheus", "otlp", "console"], ...] = Field(
        default=("prometheus",),
        description="Who gets the metrics: Prometheus asks for them, which always works; a collector (needs "
        "the extra `otlp`) and stderr are sent them.",
    )
    interval: Annotated[Seconds, Field(gt=0)] = Field(
        default=60.0, description="How often they are sent; and once more at the end."
    )
    endpoint: str | None = Field(
        default=None,
        description="The collector's URL for metrics; left out, OpenTelemetry's own variables decide.",
    )
    max_targets: int = Field(
        default=200,
        ge=1,
        description="How many targets get series of their own; further models are called `other`.",
    )

    @property
    def pushed(self) -> tuple[str, ...]:
        """The exporters that are sent the metrics."""
        return tuple(name for name in dict.fromkeys(self.exporters) if name != "prometheus")
