"""What the core itself is configured with: the keys of `penstock.toml` that belong to no plugin."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from penstock.budget import BudgetPolicy
from penstock.call import Timeouts
from penstock.config.types import Bytes, Config, Env, Seconds

_Limit = Annotated[Seconds, Field(gt=0)]
_SHORTER = (
    ("connect", "attempt"),
    ("pool", "attempt"),
    ("first_token", "attempt"),
    ("attempt", "total"),
)


class TimeoutsConfig(Config):
    """How long things may take. A limit that is left out is never longer than the one around it."""

    connect: _Limit = Field(default=Timeouts().connect, description="Name resolution, TCP and TLS.")
    pool: _Limit = Field(default=Timeouts().pool, description="Waiting for a free connection.")
    first_token: _Limit = Field(
        default=Timeouts().first_token,
        description="Until the first content event of a stream, or a plain answer's head.",
    )
    idle: _Limit = Field(
        default=Timeouts().idle, description="Between two data events of a stream; keep-alives do not count."
    )
    attempt: _Limit = Field(
        default=Timeouts().attempt, description="One attempt, up to its answer or first content event."
    )
    total: _Limit = Field(
        default=Timeouts().total, description="The whole call, with queueing and waits between attempts."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for inner, outer in _SHORTER:
            short, long = getattr(self, inner), getattr(self, outer)
            if short > long and inner in self.model_fields_set:
                default = "" if outer in self.model_fields_set else ", the default"
                raise ValueError(
                    f"{inner!r} ({short:g} s) is longer than {outer!r} ({long:g} s{default}); "
                    f"lower {inner!r} or raise {outer!r}"
                )
        return self

    def limits(self) -> Timeouts:
        """The limits in force."""
        attempt = min(self.attempt, self.total)
        return Timeouts(
            connect=min(self.connect, attempt),
            pool=min(self.pool, attempt),
            first_token=min(self.first_token, attempt),
            idle=self.idle,
            attempt=attempt,
            total=self.total,
        )


class LimitsConfig(Config):
    """Bounds on what is read from the other side."""

    max_response_bytes: Annotated[Bytes, Field(gt=0)] = Field(
        default=64 * 1024 * 1024, description="The largest answer that is read, decompressed."
    )


def _allowed(text: str) -> list[str] | None:
    names = [name.strip() for name in text.split(",")]
    return [name for name in names if name and not name.startswith("-")] or None


def _denied(text: str) -> list[str] | None:
    names = [name.strip() for name in text.split(",")]
    return [name[1:] for name in names if name.startswith("-")] or None


def _captured(text: str) -> bool | str:
    """The words of OpenTelemetry's own instrumentations; Penstock has spans, no log events."""
    word = text.strip().lower()
    if word in ("false", "0", "no_content", "event_only"):
        return False
    return True if word in ("true", "1", "span_only", "span_and_event") else text


class TracingConfig(Config):
    """What spans hold, and who hears of the trace; there are spans where the application has a tracer."""

    propagate: bool | tuple[str, ...] = Field(
        default=False,
        description="Send `traceparent` to the providers: all of them, or a list of instances.",
    )
    content: Annotated[bool, Env("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", _captured)] = Field(
        default=False, description="Put prompts and answers into the spans."
    )


class PluginsConfig(Config):
    """Which installed plugins may be loaded."""

    allow: Annotated[tuple[str, ...] | None, Env("PENSTOCK_PLUGINS", _allowed)] = Field(
        default=None, description="Only these; left out, every installed plugin."
    )
    deny: Annotated[tuple[str, ...], Env("PENSTOCK_PLUGINS", _denied)] = Field(
        default=(), description="Never these, also when they are allowed."
    )


class BudgetConfig(Config):
    """The retry budget: how many extra attempts a provider gets from all calls together."""

    capacity: float = Field(
        default=BudgetPolicy().capacity, ge=0, description="Extra attempts a full budget allows at once."
    )
    per_call: float = Field(
        default=BudgetPolicy().per_call, ge=0, description="Extra attempts that each first attempt earns."
    )
    per_second: float = Field(
        default=BudgetPolicy().per_second, ge=0, description="Extra attempts that each second earns."
    )

    def policy(self) -> BudgetPolicy:
        """The policy of a provider's `RetryBudget`."""
        return BudgetPolicy(capacity=self.capacity, per_call=self.per_call, per_second=self.per_second)


class CoreConfig(Config):
    """The keys that belong to the core."""

    version: Literal[1] = Field(default=1, description="The version of the file format.")
    pipeline: tuple[str, ...] | None = Field(
        default=None, description="The stages, outermost first; left out, every installed one."
    )
    transport: str = Field(default="wire", description="The HTTP transport's name.")
    timeouts: TimeoutsConfig = Field(
        default=TimeoutsConfig.defaults(), description="How long things may take."
    )
    limits: LimitsConfig = Field(default=LimitsConfig.defaults(), description="How large things may be.")
    plugins: PluginsConfig = Field(
        default=PluginsConfig.defaults(), description="Which plugins may be loaded."
    )
    budget: BudgetConfig = Field(
        default=BudgetConfig.defaults(), description="The retry budget of each provider."
    )
    tracing: TracingConfig = Field(
        default=TracingConfig.defaults(), description="What OpenTelemetry spans hold."
    )

    @field_validator("pipeline")
    @classmethod
    def _once_each(cls, pipeline: tuple[str, ...] | None) -> tuple[str, ...] | None:
        twice = sorted({name for name in pipeline or () if (pipeline or ()).count(name) > 1})
        if twice:
            raise ValueError(f"names {', '.join(map(repr, twice))} more than once")
        return pipeline
