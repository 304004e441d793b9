"""`penstock demo`: start the simulator, play the scenes, count the requests."""

from __future__ import annotations

import importlib.util
import sys
import time

import click

from penstock_cli.failure import masked
from penstock_cli.main import CONTEXT, debug_option

NEEDS = {
    "penstock_openai": "penstock-openai",
    "penstock_retry": "penstock-retry",
    "penstock_testkit": "penstock-testkit",
}


@click.command(context_settings=CONTEXT)
@click.option("--fast", is_flag=True, help="Shorten the waits.")
@click.option("--seed", type=int, default=7, show_default=True, metavar="NUMBER", help="Of the dice.")
@click.option("--plain", is_flag=True, help="Print lines instead of a live table.")
@debug_option
def demo(*, fast: bool, seed: int, plain: bool) -> None:
    """
    Watch calls survive faults: no key, no network, no configuration.

    A simulated provider is started on this machine and misbehaves by script; blocking, async and streamed
    calls go through the installed pipeline. The exit code is 1 if an answer is missing, or if the provider
    has received a number of requests other than the script implies.
    """
    _require()
    from penstock_cli.demo import scenes as script
    from penstock_cli.demo.board import LiveBoard, PlainBoard, summary
    from penstock_cli.demo.play import Play
    from penstock_cli.terminal import console

    scenes = script.scenes(fast=fast, seed=seed)
    live = not plain and sys.stdout.isatty()
    board = LiveBoard(scenes, console()) if live else PlainBoard()
    play = Play(scenes, seed=seed, fast=fast, audience=board)
    started = time.monotonic()
    with board:
        play.perform()
    lines, problems = summary(play.calls, play.total, time.monotonic() - started)
    for line in ["", *lines]:
        click.echo(line)
    if problems:
        for problem in problems:
            click.echo(masked(f"WRONG: {problem}"), err=True)
        raise click.exceptions.Exit(1)
    click.echo("every answer and every number is what the script implies")


def _require() -> None:
    """
    Raises:
        PluginNotFoundError: a package of the demo is not installed.
    """
    missing = [name for module, name in NEEDS.items() if importlib.util.find_spec(module) is None]
    if missing:
        from penstock.errors import PluginNotFoundError

        raise PluginNotFoundError(
            f"the demo also needs {', '.join(missing)}: pip install 'penstock-cli[demo]'"
        )
