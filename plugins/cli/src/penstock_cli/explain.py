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
    if way.target is not None:
        yield f"model {model!r}: the target {way.target}"
        yield from _pipeline(settings, way, f"provider {way.target.provider} ({way.base_url})")
        shown = [way]
    else:
        yield f"model {model!r}: the route {way.route!r}"
        yield f"targets: {', '.join(map(str, way.targets))}"
        yield from _pipeline(settings, way, "its targets")
        yield from _route(settings, way)
        shown = list(way.below)
        marks = _marks(settings, way)
        for number, below in enumerate(shown):
            mark = f" ({marks[number]})" if number < len(marks) and marks[number] else ""
            yield ""
            yield f"target {number + 1}: {below.target}{mark}"
            provider = below.target.provider if below.target is not None else ""
            yield from _pipeline(settings, below, f"provider {provider} ({below.base_url})")
    for name, spec in {each.target.provider: each.provider for each in shown if each.target}.items():
        if spec is not None:
            yield ""
            yield f"provider {name} (plugin {spec.name})"
            yield from _values(settings, f"providers.{name}", spec.config)
    yield ""
    yield "core"
    yield from _values(settings, "", CoreConfig)


def _pipeline(settings: Settings, way: Explanation, end: str) -> Iterator[str]:
    """The stages of a way in one line, then each with its values."""
    present = [stage.spec.name for stage in way.stages if stage.config.enabled]
    yield "pipeline: " + " > ".join([*present, end])
    for stage in way.stages:
        spec = stage.spec
        yield ""
        yield f"{spec.name} ({spec.slot.name} slot{'' if stage.config.enabled else ', switched off here'})"
        yield from _values(settings, spec.name, spec.config, way.route, way.target)


def _route(settings: Settings, way: Explanation) -> Iterator[str]:
    """What the file says of the route itself, in the tables that belong to a stage."""
    for stage in way.stages:
        for table in stage.spec.tables:
            if way.route in settings.keys(table):
                yield ""
                yield f"{table}.{way.route}"
                yield from _indented(settings.explain_entry(table, stage.spec.tables[table], way.route))


def _values(
    settings: Settings, name: str, model: Any, route: str | None = None, target: Target | None = None
) -> Iterator[str]:
    yield from _indented(settings.explain(name, model, route, target))


def _indented(entries: Sequence[Entry]) -> Iterator[str]:
    from penstock_cli.values import written_lines

    for line in written_lines(entries, origin=True):
        yield f"  {line}"
