"""`penstock tokens` and `penstock price`."""

from __future__ import annotations

import json
import os
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from penstock.call import Target
from penstock.errors import ConfigError, PenstockError
from penstock.responses import Usage
from penstock_cost.counting import count_tokens
from penstock_cost.pricing import Price, PriceBook
from penstock_cost.tokenizers import Tokenizers

if TYPE_CHECKING:
    from pathlib import Path

    from penstock_cost.config import CostConfig
    from penstock_cost.counting import TokenCount

_CONFIG = click.option(
    "--config", "path", type=click.Path(dir_okay=False), help="A configuration file instead of the one found."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")


@click.command()
@click.argument("model")
@click.argument("text", required=False)
@click.option("--exact", is_flag=True, help="Ask the model's server, where it can count.")
@_JSON
@_CONFIG
def tokens(model: str, text: str | None, *, exact: bool, as_json: bool, path: str | None) -> None:
    """Count the tokens of TEXT (or of standard input) as one message to MODEL."""
    if text is None or text == "-":
        text = sys.stdin.read()
    target, base_url = _find(model, path)
    config = _config(path)
    count = _exactly(model, text, path) if exact else _offline(target, text, config)
    price = PriceBook(config).price(target, base_url)
    usd = None if price.rates is None else price.rates.usd(Usage(count.tokens, 0))
    if as_json:
        _print(
            {
                "model": str(target),
                "tokens": count.tokens,
                "method": count.method,
                "detail": count.detail,
                "usd": None if usd is None else _short(usd),
            }
        )
        return
    click.echo(f"{count.tokens} tokens for {target}")
    click.echo(f"by {count.method}" + (f": {count.detail}" if count.detail else ""))
    if usd is not None:
        click.echo(f"${_short(usd)} as a prompt ({_origin(price)})")


@click.command()
@click.argument("model")
@click.option("--input", "given", type=click.IntRange(min=0), default=0, help="Tokens of the prompt.")
@click.option("--output", "made", type=click.IntRange(min=0), default=0, help="Tokens of the answer.")
@click.option("--cached", type=click.IntRange(min=0), default=0, help="Prompt tokens from a cache.")
@click.option("--reasoning", type=click.IntRange(min=0), default=0, help="Answer tokens of reasoning.")
@_JSON
@_CONFIG
def price(
    model: str, *, given: int, made: int, cached: int, reasoning: int, as_json: bool, path: str | None
) -> None:
    """Show what MODEL costs, and what so many tokens do."""
    target, base_url = _find(model, path)
    found = PriceBook(_config(path)).price(target, base_url)
    usage = Usage(max(given, cached), max(made, reasoning), cached or None, reasoning or None)
    usd = (
        None if found.rates is None or not (given or made or cached or reasoning) else found.rates.usd(usage)
    )
    if as_json:
        _print(_document(target, found, usd))
        return
    if found.rates is None:
        click.echo(
            f"no price is known for {target}; add one to the configuration:\n\n"
            f'[cost.prices."{target}"]\ninput = "2.50/M"\noutput = "10/M"\n\n'
            "or: pip install 'penstock-cost[genai-prices]'",
            err=True,
        )
        raise click.exceptions.Exit(1)
    click.echo(f"{target} ({_origin(found)})")
    for name, dollars in _per_million(found).items():
        click.echo(f"  {name:<10} ${_short(dollars)} for a million tokens")
    for start, rates in found.rates.tiers:
        shown = " ".join(
            f"{name} ${_short(dollars)}" for name, dollars in _per_million(Price(rates, found.origin)).items()
        )
        click.echo(f"  above {start:,} prompt tokens: {shown}")
    if found.rates.request:
        click.echo(f"  {'request':<10} ${_short(found.rates.request)} each")
    if found.context_window:
        click.echo(f"  context    {found.context_window:,} tokens")
    if usd is not None:
        click.echo(f"  these tokens: ${_short(usd)}")


def _find(model: str, path: str | None) -> tuple[Target, str]:
    """Who would be asked, and where; by the name alone where no client can be built, for want of a key."""
    from penstock import Client

    try:
        with Client(path, pipeline=[]) as client:
            found = client.explain(model)
        if found.target is not None:
            return found.target, found.base_url
    except PenstockError:
        pass
    provider, slash, name = model.partition("/")
    return (Target(provider, name), "") if slash and name else (Target("openai", model), "")


def _config(path: str | Path | None) -> CostConfig:
    from penstock.config import Settings
    from penstock_cost.config import CostConfig

    return Settings.load(path, environ=os.environ).section("cost", CostConfig)


def _offline(target: Target, text: str, config: CostConfig) -> TokenCount:
    from penstock.requests import chat_request

    request = chat_request(str(target), text, {}, stream=False)
    return count_tokens(request, target.model, target.provider, tokenizers=Tokenizers(config.tokenizers))


def _exactly(model: str, text: str, path: str | None) -> TokenCount:
    from penstock import Client
    from penstock.requests import chat_request

    with Client(path, pipeline=["cost"]) as client:
        target = client.explain(model).target
        if target is None:
            raise ConfigError(f"{model!r} is a route; name one of its targets")
        request = chat_request(model, text, {}, stream=False)
        codec = client.provider(target.provider)
        found: TokenCount = client.stage("cost").count_exactly(request, target, codec)
        return found


def _origin(price: Price) -> str:
    if price.origin == "catalogue":
        return f"genai-prices: {price.vendor}, {price.model}"
    return {"table": "the configuration", "local": "runs on this machine"}.get(price.origin or "", "unknown")


def _per_million(price: Price) -> dict[str, Decimal]:
    rates = price.rates
    if rates is None:
        return {}
    named = {
        "input": rates.input,
        "cached": rates.cached,
        "output": rates.output,
        "reasoning": rates.reasoning,
    }
    return {name: dollars * 1_000_000 for name, dollars in named.items() if dollars is not None}


def _document(target: Target, price: Price, usd: Decimal | None) -> dict[str, Any]:
    return {
        "model": str(target),
        "origin": price.origin,
        "usd_per_million": {name: _short(dollars) for name, dollars in _per_million(price).items()},
        "tiers": [
            {
                "above": start,
                "usd_per_million": {
                    name: _short(dollars)
                    for name, dollars in _per_million(Price(rates, price.origin)).items()
                },
            }
            for start, rates in (price.rates.tiers if price.rates is not None else ())
        ],
        "context_window": price.context_window,
        "usd": None if usd is None else _short(usd),
    }


def _short(dollars: Decimal) -> str:
    text = f"{dollars:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _print(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document, indent=2))
