"""`penstock explain`: the pipeline a call would take, and every value in force on the way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock_cli.client import config_options, open_client
from penstock_cli.failure import masked
from penstock_cli.main import CONTEXT, debug_option

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from penstock import Client
    from penstock.config import Settings
    from penstock.config.explain import Entry
    from penstock.explanation import Explanation


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
        entries = _route(settings, way)
        groups = _groups(entries)
        yield ""
        yield f"route {way.route}"
        yield from _indented(
            (key, _named(groups) if value is groups else value, origin) for key, value, origin in entries
        )
        shown = list(way.below)
        for below, mark in zip(shown, _marks(groups), strict=True):
            provider = below.model.partition("/")[0]
            yield ""
            yield f"target {below.target} ({mark})"
            end = f"provider {provider} ({below.base_url})"
            yield from _pipeline(settings, below, end, None if below is shown[0] else shown[0])
    for name, spec in {each.target.provider: each.provider for each in shown if each.target}.items():
        if spec is not None:
            yield ""
            yield f"provider {name} (plugin {spec.name})"
            yield from _indented(settings.explain(f"providers.{name}", spec.config))
    yield ""
    yield "core"
    yield from _indented(settings.explain("", CoreConfig))


def _pipeline(
    settings: Settings, way: Explanation, end: str, known: Explanation | None = None
) -> Iterator[str]:
    """The stages of a way in one line, then each with its values, unless they are those of a known way."""
    present = [stage.spec.name for stage in way.stages if stage.config.enabled]
    yield "pipeline: " + " > ".join([*present, end])
    for stage in way.stages:
        spec = stage.spec
        entries = settings.explain(spec.name, spec.config, way.route, way.target)
        title = f"{spec.name} ({spec.slot.name} slot{'' if stage.config.enabled else ', switched off here'})"
        yield ""
        if known is not None and entries == settings.explain(
            spec.name, spec.config, known.route, known.target
        ):
            yield f"{title}: as for {known.target}"
        else:
            yield title
            yield from _indented(entries)


def _route(settings: Settings, way: Explanation) -> list[Entry]:
    """What was said of the route itself: its entries in the tables that belong to a stage."""
    from penstock.config.tree import written

    return [
        entry
        for stage in way.stages
        for table, model in stage.spec.tables.items()
        for entry in settings.explain(table, model)
        if entry[0].startswith(written((table, way.model)) + ".")
    ]


def _groups(entries: Sequence[Entry]) -> list[list[Mapping[str, Any]]]:
    """The groups of a route's targets, each target a table of what is said of it."""
    return next((value for key, value, _ in entries if key.endswith(".targets")), [])


def _named(groups: Sequence[Sequence[Mapping[str, Any]]]) -> list[Any]:
    """The groups as short as a file would have them: names alone, lists only where there is a choice."""
    return [[each["target"] for each in group] if len(group) > 1 else group[0]["target"] for group in groups]


def _marks(groups: Sequence[Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """What is said of each target, in order."""
    from penstock_cli.values import toml_value

    for number, group in enumerate(groups, 1):
        for each in group:
            said = {
                key: value
                for key, value in each.items()
                if key != "target" and value is not None and not (key == "weight" and len(group) == 1)
            }
            facts = [f"{key} {toml_value(value)}" for key, value in said.items() if value is not False]
            yield ", ".join([f"group {number}", *facts])


def _indented(entries: Iterable[Entry]) -> Iterator[str]:
    from penstock_cli.values import written_lines

    for line in written_lines(entries, origin=True):
        yield f"  {line}"
