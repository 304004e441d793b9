"""`penstock models`: what can be asked."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from penstock_cli.client import config_options, open_client
from penstock_cli.main import CONTEXT, debug_option

if TYPE_CHECKING:
    from penstock import Client, Model

MILLION = Decimal(1_000_000)


@click.command(context_settings=CONTEXT)
@click.argument("provider", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@config_options
@debug_option
def models(provider: str | None, *, as_json: bool, config: Path | None, profile: str | None) -> None:
    """List the models of PROVIDER, or of every provider that answers."""
    with open_client(config, profile) as client:
        found = client.models(provider)
        prices = [_price(client, model) for model in found]
    if as_json:
        _print_json(found, prices)
        return
    if not found:
        click.echo("no provider lists a model; `penstock plugins` shows what is installed", err=True)
        raise click.exceptions.Exit(1)
    _print(found, prices)


def _price(client: Client, model: Model) -> tuple[Decimal, Decimal] | None:
    """US dollars for a million tokens in and out, by the cost stage; None when it cannot say."""
    from penstock.call import Target
    from penstock.errors import PluginNotFoundError

    try:
        cost = client.stage("cost")
    except PluginNotFoundError:
        return None
    base_url: str = getattr(client.provider(model.provider), "base_url", "")
    rates = cost.price(Target(model.provider, model.id), base_url).rates
    if rates is None or rates.input is None or rates.output is None:
        return None
    return rates.input * MILLION, rates.output * MILLION


def _print_json(found: tuple[Model, ...], prices: list[tuple[Decimal, Decimal] | None]) -> None:
    import json

    listed = [
        {
            "id": model.id,
            "provider": model.provider,
            "context_length": model.context_length,
            "capabilities": None if model.capabilities is None else sorted(model.capabilities),
            "usd_per_million": None if price is None else {"input": price[0], "output": price[1]},
            "extra": dict(model.extra),
        }
        for model, price in zip(found, prices, strict=True)
    ]
    click.echo(json.dumps(listed, indent=2, default=str))


def _print(found: tuple[Model, ...], prices: list[tuple[Decimal, Decimal] | None]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from penstock_cli.terminal import console, plain

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", overflow="fold")
    table.add_column("context", justify="right")
    table.add_column("$/M in, out", justify="right")
    table.add_column("capabilities", overflow="fold")
    for model, price in zip(found, prices, strict=True):
        context = "" if model.context_length is None else f"{model.context_length:,}"
        table.add_row(
            Text(plain(f"{model.provider}/{model.id}")),
            context,
            "" if price is None else f"{price[0].normalize():f}, {price[1].normalize():f}",
            Text(plain(", ".join(sorted(model.capabilities or ())))),
        )
    console().print(table)
