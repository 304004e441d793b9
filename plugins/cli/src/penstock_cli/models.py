"""`penstock models`: what can be asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from penstock_cli.client import config_options, open_client
from penstock_cli.main import CONTEXT, debug_option

if TYPE_CHECKING:
    from penstock import Model


@click.command(context_settings=CONTEXT)
@click.argument("provider", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@config_options
@debug_option
def models(provider: str | None, *, as_json: bool, config: Path | None, profile: str | None) -> None:
    """List the models of PROVIDER, or of every provider that answers."""
    with open_client(config, profile) as client:
        found = client.models(provider)
    if as_json:
        _print_json(found)
        return
    if not found:
        click.echo("no provider lists a model; `penstock plugins` shows what is installed", err=True)
        raise click.exceptions.Exit(1)
    _print(found)


def _print_json(found: tuple[Model, ...]) -> None:
    import json

    listed = [
        {
            "id": model.id,
            "provider": model.provider,
            "context_length": model.context_length,
            "capabilities": None if model.capabilities is None else sorted(model.capabilities),
            "extra": dict(model.extra),
        }
        for model in found
    ]
    click.echo(json.dumps(listed, indent=2, default=str))


def _print(found: tuple[Model, ...]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from penstock_cli.terminal import console, plain

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", overflow="fold")
    table.add_column("context", justify="right")
    table.add_column("capabilities", overflow="fold")
    for model in found:
        context = "" if model.context_length is None else f"{model.context_length:,}"
        table.add_row(
            Text(plain(f"{model.provider}/{model.id}")),
            context,
            Text(plain(", ".join(sorted(model.capabilities or ())))),
        )
    console().print(table)
