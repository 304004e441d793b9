"""Where a call by some name would go and through what, without making it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.frozen import dataclass
from penstock.messages import ModelsRequest
from penstock.specs import ProviderSpec, StageSpec

if TYPE_CHECKING:
    from penstock.call import Target
    from penstock.config import StageConfig
    from penstock.engine import Engine
    from penstock.pipeline import Ring


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
        targets: the same, or those of the route in the order they are preferred.
        base_url: where the requests would go, "" for a route.
        provider: what the provider's plugin registered, None for a route.
        stages: outermost first; those switched off there have `config.enabled` False. For a route they end
            with the one that chooses the target.
        below: for a route, the way of a call from there on, for each of `targets`.
    """

    model: str
    route: str | None
    target: Target | None
    targets: tuple[Target, ...]
    base_url: str
    provider: ProviderSpec | None
    stages: tuple[ExplainedStage, ...]
    below: tuple[Explanation, ...] = ()


def explain(engine: Engine, model: str) -> Explanation:
    """
    The way a call to `model` would take; nothing is sent.

    Raises:
        UnknownModelError: no provider claims the model.
        ConfigError: its provider cannot be used.
    """
    # A call that is never run: its name is resolved exactly as a chat's would be.
    call, _ = engine.new_call(ModelsRequest(model=model))
    route, target = call.route, call.target
    rings = engine.parts.rings
    if target is not None:
        return _way(engine, model, route, target, rings)
    inside = max((at for at, ring in enumerate(rings) if ring.spec.slot.name == "call"), default=-1) + 1
    targets = engine.parts.targets(model)
    return Explanation(
        model=model,
        route=route,
        target=None,
        targets=targets,
        base_url="",
        provider=None,
        stages=_stages(engine, route, None, rings[:inside]),
        below=tuple(_way(engine, str(each), route, each, rings[inside:]) for each in targets),
    )


def _way(engine: Engine, model: str, route: str | None, target: Target, rings: Sequence[Ring]) -> Explanation:
    return Explanation(
        model=model,
        route=route,
        target=target,
        targets=(target,),
        base_url=engine.parts.provider(target.provider).base_url,
        provider=engine.resolver.instances()[target.provider],
        stages=_stages(engine, route, target, rings),
    )


def _stages(
    engine: Engine, route: str | None, target: Target | None, rings: Sequence[Ring]
) -> tuple[ExplainedStage, ...]:
    resolve = engine.parts.settings.resolve
    return tuple(
        ExplainedStage(ring.spec, resolve(ring.spec.name, ring.spec.config, route=route, target=target))
        for ring in rings
    )
