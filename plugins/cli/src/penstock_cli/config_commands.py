"""`penstock config`: write a file, check it, show what is in force and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock_cli.client import config_options
from penstock_cli.failure import REDACTOR, masked
from penstock_cli.main import CONTEXT, debug_option

if TYPE_CHECKING:
    from penstock_cli.catalogue import Catalogue

FILE = "penstock.toml"


@click.group(context_settings=CONTEXT)
def config() -> None:
    """Write, check and show the configuration."""


@config.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path(FILE))
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@debug_option
def init(path: Path, *, force: bool) -> None:
    """Write a commented penstock.toml for the installed plugins to PATH."""
    from penstock_cli.template import template

    if path.is_dir():
        path = path / FILE
    text = template()
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise click.UsageError(f"{path} is there already; --force replaces it") from None
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror}") from None
    click.echo(f"wrote {path}; `penstock config check` tells whether it works")


@config.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@click.option("--profile", metavar="NAME", help="The profile on top, instead of PENSTOCK_ENV.")
@debug_option
def check(file: Path | None, profile: str | None) -> None:
    """
    Check FILE, or the one that is found: exit code 0, or 2 with every problem.

    Everything a client would refuse is found, a missing key included; nothing is sent.
    """
    catalogue = _read(file, profile)
    catalogue.check()
    _warn(catalogue)
    if catalogue.problems:
        _complain(catalogue)
    settings = catalogue.settings
    profile_note = f", profile {settings.profile}" if settings.profile else ""
    stages = ", ".join(stage.name for stage in catalogue.stages()) or "none"
    providers = ", ".join(catalogue.providers()) or "none configured"
    click.echo(f"{settings.path or 'no file; the defaults'}{profile_note}: ok")
    click.echo(f"  stages: {stages}")
    click.echo(f"  providers: {providers}")


@config.command()
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
@config_options
@debug_option
def show(*, origin: bool, config: Path | None, profile: str | None) -> None:
    """Show the values in force, defaults included; secrets are masked."""
    from penstock_cli.values import written_lines

    catalogue = _read(config, profile)
    for name, model in catalogue.sections().items():
        for line in _section_lines(catalogue, name, model, origin=origin, write=written_lines):
            click.echo(masked(line))
    _warn(catalogue)
    if catalogue.problems:
        _complain(catalogue)


@config.command()
def schema() -> None:
    """Print the JSON Schema of penstock.toml for the installed plugins, for editors."""
    import json

    from penstock.config import Settings

    catalogue = _read(None, None, source=False)
    click.echo(json.dumps(Settings.schema(catalogue.models()), indent=2))


def _section_lines(catalogue: Catalogue, name: str, model: Any, *, origin: bool, write: Any) -> list[str]:
    """The lines of a section and, where they differ, of its overrides; a problem is collected."""
    from penstock.errors import ConfigError

    settings = catalogue.settings
    try:
        base = settings.explain(name, model)
        lines: list[str] = write(base, origin=origin)
        seen = {key: value for key, value, _ in base}
        for kind, pattern in settings.overrides(name):
            entries = settings.explain(name, model, **{kind: pattern})
            changed = [
                (_inside(key, name, kind, pattern), value, place)
                for key, value, place in entries
                if seen.get(key) != value
            ]
            lines += write(changed, origin=origin)
    except ConfigError as error:
        catalogue.problems += [line for line in str(error).splitlines() if line not in catalogue.problems]
        return []
    return lines


def _inside(key: str, name: str, kind: str, pattern: str) -> str:
    """The key as the override has it: `retry.base` becomes `retry.targets."openai/*".base`."""
    return f'{name}.{kind}s."{pattern}"{key.removeprefix(name)}'


def _read(file: Path | None, profile: str | None, *, source: Any = None) -> Catalogue:
    import os

    from penstock.config import Settings
    from penstock_cli.catalogue import Catalogue

    settings = Settings.load(file if file is not None else source, environ=os.environ, profile=profile)
    click.get_current_context().meta[REDACTOR] = settings.redactor
    return Catalogue(settings)


def _warn(catalogue: Catalogue) -> None:
    for warning in catalogue.warnings:
        click.echo(masked(f"warning: {warning}"), err=True)


def _complain(catalogue: Catalogue) -> None:
    """Every problem on stderr, then exit code 2."""
    for problem in catalogue.problems:
        click.echo(masked(problem), err=True)
    count = len(catalogue.problems)
    click.echo(f"{count} problem{'s' if count > 1 else ''}", err=True)
    raise click.exceptions.Exit(2)
