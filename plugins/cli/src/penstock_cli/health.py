"""`penstock health`: whether a client of this configuration can be built, and what its plugins say of it."""

from __future__ import annotations

from pathlib import Path

import click

from penstock_cli.client import config_options, open_client
from penstock_cli.failure import masked
from penstock_cli.main import CONTEXT, debug_option


@click.command(context_settings=CONTEXT)
@click.option("--json", "as_json", is_flag=True, help="Print a health+json document.")
@config_options
@debug_option
def health(*, as_json: bool, config: Path | None, profile: str | None) -> None:
    """
    Say how a fresh client of this configuration is; sends nothing. Exit code 1 when it is `fail`.

    What a running service has seen is told by its own client, `client.health()`.
    """
    with open_client(config, profile) as client:
        found = client.health()
    if as_json:
        import json

        click.echo(masked(json.dumps(found.document(), indent=2)))
    else:
        for line in str(found).splitlines():
            click.echo(masked(line))
    if found.status == "fail":
        raise click.exceptions.Exit(1)
