"""`penstock explain`: the pipeline a call would take, and every value in force on the way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock_cli.client import config_options, open_client
from penstock_cli.failure import masked
from penstock_cli.main import CONTEXT, debug_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from penstock import Client
    from penstock.call import Target
    from penstock.config import Settings


@click.command(context_settings=CONTEXT)
@click.argument("model")
@config_options
@debug_option
def explain(model: str, *, config: Path | None, profile: str | None) -> None:
    """Show where a call to MODEL would go, through which stages, with which values and why; sends nothing."""
    with open_client(config, profile) as client:
        for line in explained(client, model):
            click.echo(masked(line))


def explained(client: Client, model: str) -> Iterator[str]:
    """
    The lines.

    Raises:
        UnknownModelError: no provider claims the model.
        ConfigError: its provider cannot be used.
    """
    from penstock.config import CoreConfig

    way, settings = client.explain(model), client.settings
    yield f"configuration: {settings.path or 'none, the defaults'}" + (
        f", profile {settings.profile}" if settings.profile else ""
    )
    yield f"model {model!r}: " + (
        f"the route {way.route!r}" if way.target is None else f"the target {way.target}"
    )
    if way.target is None:
        yield "targets: " + ", ".join(map(str, way.targets))
    end = "its targets" if way.target is None else f"provider {way.target.provider} ({way.base_url})"
    present = [stage.spec.name for stage in way.stages if stage.config.enabled]
    yield "pipeline: " + " > ".join([*present, end])
    for stage in way.stages:
        spec = stage.spec
        yield ""
        yield f"{spec.name} ({spec.slot.name} slot{'' if stage.config.enabled else ', switched off here'})"
        yield from _values(settings, spec.name, spec.config, way.route, way.target)
    if way.target is not None and way.provider is not None:
        yield ""
        yield f"provider {way.target.provider} (plugin {way.provider.name})"
        yield from _values(settings, f"providers.{way.target.provider}", way.provider.config)
    yield ""
    yield "core"
    yield from _values(settings, "", CoreConfig)


def _values(
    settings: Settings, name: str, model: Any, route: str | None = None, target: Target | None = None
) -> Iterator[str]:
    from penstock_cli.values import written_lines

    for line in written_lines(settings.explain(name, model, route, target), origin=True):
        yield f"  {line}"
