"""What `[routing]` and `[routes]` may say."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, RootModel, model_validator

from penstock.config import Config, Seconds, StageConfig

OnInterrupt = Literal["raise", "restart", "continue"]
Capability = Literal["chat", "stream", "embed", "tools", "vision", "schema", "reasoning", "prefill"]


class HedgeConfig(Config):
    """When a slow call asks a second target beside the first; the first answer wins."""

    enabled: bool = Field(default=False, description="Hedge calls to routes; not in the blocking client.")
    min_delay: Seconds = Field(default=1.0, gt=0, description="Never hedge sooner than this.")
    quantile: float = Field(
        default=0.95, gt=0, lt=1, description="Hedge when the first token is later than this share of all."
    )
    min_samples: int = Field(
        default=50, ge=1, description="First tokens of a target that must have been timed before."
    )
    share: float = Field(default=0.05, gt=0, le=1, description="Hedges may be this share of all calls.")


class RoutingConfig(StageConfig):
    """How calls to routes choose their target, and what happens when it fails."""

    on_interrupt: OnInterrupt = Field(
        default="raise",
        description="When a stream breaks: raise, restart at the next target, or let that one continue.",
    )
    failover_on_content_filter: bool = Field(
        default=False, description="Ask another target when one refuses the content."
    )
    max_wait: Seconds = Field(
        default=2.0, ge=0, le=2, description="Skip a target whose limiter would make the call wait longer."
    )
    max_total_attempts: int = Field(
        default=6, ge=1, description="After so many attempts of one call no further target is tried."
    )
    hedge: HedgeConfig = Field(default=HedgeConfig.defaults(), description="A second target for slow calls.")


class TargetConfig(Config):
    """A target of a route; a plain `provider/model` stands for one with defaults."""

    target: str = Field(min_length=1, description="The model, as a call would name it: provider/model.")
    weight: float = Field(
        default=1.0, gt=0, le=1e9, description="Its share of the calls, compared to others of its group."
    )
    context_length: int | None = Field(
        default=None, ge=1, description="The window in tokens, where the provider does not tell."
    )
    capabilities: tuple[Capability, ...] | None = Field(
        default=None, description="All it can do, where the provider's own list is wrong for this model."
    )
    prefill: bool = Field(
        default=False, description="It continues an assistant message at the end of the conversation."
    )


def _member(value: Any) -> Any:
    return {"target": value} if isinstance(value, str) else value


def _group(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


Member = Annotated[TargetConfig, BeforeValidator(_member, json_schema_input_type=str | TargetConfig)]
Group = Annotated[
    tuple[Member, ...],
    Field(min_length=1),
    BeforeValidator(_group, json_schema_input_type=str | TargetConfig | tuple[str | TargetConfig, ...]),
]


class RouteConfig(Config):
    """One route; what it leaves out is as `[routing]` says."""

    targets: tuple[Group, ...] = Field(
        min_length=1,
        description="Targets in the order they are tried; a list among them is a group, chosen by weight.",
    )
    on_interrupt: OnInterrupt | None = Field(default=None, description="As in [routing].")
    failover_on_content_filter: bool | None = Field(default=None, description="As in [routing].")
    hedge: bool | None = Field(default=None, description="As `enabled` in [routing.hedge].")

    @model_validator(mode="after")
    def _meaningful(self) -> Self:
        seen: set[str] = set()
        for group in self.targets:
            for member in group:
                if member.target in seen:
                    raise ValueError(f"names the target {member.target!r} twice; no call tries one twice")
                seen.add(member.target)
                if len(group) == 1 and "weight" in member.model_fields_set:
                    raise ValueError(
                        f"the weight of {member.target!r} has no effect: put the targets to choose between "
                        "into a list of their own, targets = [[{...}, {...}], ...]"
                    )
        return self


class Routes(RootModel[dict[str, RouteConfig]]):
    """
    Names that calls may use for a list of targets.

    For example `[routes.fast]` with `targets = ["openai/gpt-4o-mini", "ollama/llama3.2"]`.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)
