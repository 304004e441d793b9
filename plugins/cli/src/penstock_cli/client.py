"""Build the client a subcommand asks with, and the options that say how."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock_cli.failure import REDACTOR

if TYPE_CHECKING:
    from penstock import Client
    from penstock.events import Listener


def config_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--config FILE` and `--profile NAME`."""
    command = click.option("--profile", metavar="NAME", help="The profile on top, instead of PENSTOCK_ENV.")(
        command
    )
    return click.option(
        "--config",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Read this file instead of searching for penstock.toml.",
    )(command)


@contextmanager
def open_client(
    config: Path | None, profile: str | None, listener: Listener | None = None
) -> Iterator[Client]:
    """
    A blocking client for one command; closed at the end.

    Raises:
        ConfigError: names the place, the culprit and the fix.
    """
    from penstock import Client

    with Client(config, profile=profile, listeners=[listener] if listener is not None else []) as client:
        context = click.get_current_context(silent=True)
        if context is not None:
            context.meta[REDACTOR] = client.settings.redactor
        yield client
