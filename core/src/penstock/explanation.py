"""Where a call by some name would go and through what, without making it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.messages import ModelsRequest
from penstock.specs import ProviderSpec, StageSpec

if TYPE_CHECKING:
    from penstock.call import Target
    from penstock.config import StageConfig
    from penstock.engine import Engine


@dataclass(frozen=True, slots=True)
class ExplainedStage:
    """
    A stage on the way.

    Args:
        spec: what the plugin registered.
        config: the values in force there.
    """

    spec: StageSpec
    config: StageConfig


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    The way of a call.

    Args:
        model: the name that was asked about.
        route: the same when it is a route, else None.
        target: who would be asked, None for a route.
        base_url: where the requests would go, "" for a route.
        provider: what the provider's plugin registered, None for a route.
        stages: outermost first; those switched off there have `config.enabled` False.
    """

    model: str
    route: str | None
    target: Target | None
    base_url: str
    provider: ProviderSpec | None
    stages: tuple[ExplainedStage, ...]


def explain(engine: Engine, model: str) -> Explanation:
    """
    The way a call to `model` would take; nothing is sent.

    Raises:
        UnknownModelError: no provider claims the model.
        ConfigError: its provider cannot be used.
    """
    parts = engine.parts
    # A call that is never run: its name is resolved exactly as a chat's would be.
    call, _ = engine.new_call(ModelsRequest(model=model))
    route, target = call.route, call.target
    resolve = parts.settings.resolve
    return Explanation(
        model=model,
        route=route,
        target=target,
        base_url=parts.provider(target.provider).base_url if target is not None else "",
        provider=engine.resolver.instances()[target.provider] if target is not None else None,
        stages=tuple(
            ExplainedStage(ring.spec, resolve(ring.spec.name, ring.spec.config, route=route, target=target))
            for ring in parts.rings
        ),
    )
