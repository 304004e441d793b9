"""`penstock explain`: the pipeline a call would take, and every value in force on the way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock_cli.client import config_options, engine_of, open_client
from penstock_cli.failure import masked
from penstock_cli.main import CONTEXT, debug_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from penstock.call import Target
    from penstock.engine import Engine


@click.command(context_settings=CONTEXT)
@click.argument("model")
@config_options
@debug_option
def explain(model: str, *, config: Path | None, profile: str | None) -> None:
    """Show where a call to MODEL would go, through which stages, with which values and why; sends nothing."""
    with open_client(config, profile) as client:
        for line in explained(engine_of(client), model):
            click.echo(masked(line))


def explained(engine: Engine, model: str) -> Iterator[str]:
    """
    The lines.

    Raises:
        UnknownModelError: no provider claims the model.
        ConfigError: its provider cannot be used.
    """
    from penstock.call import Target
    from penstock.config import CoreConfig
    from penstock.messages import ModelsRequest
    from penstock.specs import ProviderSpec

    settings = engine.settings
    # A call that is never run: the engine resolves its name exactly as it would for a chat.
    call, _ = engine.new_call(ModelsRequest(model=model))
    route, target = call.route, call.target
    yield f"configuration: {settings.path or 'none, the defaults'}" + (
        f", profile {settings.profile}" if settings.profile else ""
    )
    yield f"model {model!r}: " + (f"the route {route!r}" if target is None else f"the target {target}")
    places = [ring.spec for ring in engine.rings]
    provider = (
        "" if target is None else f"provider {target.provider} ({engine.provider(target.provider).base_url})"
    )
    present = [spec.name for spec in places if _enabled(engine, spec, route, target)]
    yield "pipeline: " + " > ".join([*present, provider or "its targets"])
    for spec in places:
        yield ""
        absent = "" if spec.name in present else ", switched off here"
        yield f"{spec.name} ({spec.slot.name} slot{absent})"
        yield from _values(engine, spec.name, spec.config, route, target)
    if isinstance(target, Target):
        plugin = settings.providers.get(target.provider, target.provider)
        instance = engine.plugins.need(ProviderSpec, plugin, "explain")
        yield ""
        yield f"provider {target.provider} (plugin {plugin})"
        yield from _values(engine, f"providers.{target.provider}", instance.config, None, None)
    yield ""
    yield "core"
    yield from _values(engine, "", CoreConfig, None, None)


def _enabled(engine: Engine, spec: Any, route: str | None, target: Target | None) -> bool:
    config = engine.settings.resolve(spec.name, spec.config, route=route, target=target)
    return bool(getattr(config, "enabled", True))


def _values(engine: Engine, name: str, model: Any, route: str | None, target: Target | None) -> Iterator[str]:
    from penstock_cli.values import written_lines

    entries = engine.settings.explain(name, model, route, target)
    for line in written_lines(entries, origin=True):
        yield f"  {line}"
