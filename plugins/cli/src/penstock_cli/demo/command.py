"""`penstock demo`: start the simulator, play the scenes, count the requests."""

from __future__ import annotations

import importlib.util
import sys
import time

import click

from penstock_cli.failure import masked
from penstock_cli.main import CONTEXT, debug_option

NEEDS = {
    "penstock_breaker": "penstock-breaker",
    "penstock_cache": "penstock-cache",
    "penstock_limiter": "penstock-limiter",
    "penstock_openai": "penstock-openai",
    "penstock_retry": "penstock-retry",
    "penstock_routing": "penstock-routing",
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

    A simulated provider is started on this machine and misbehaves by script. First single calls survive
    faults, blocking, async and streamed; then a breaker opens and recovers, calls queue for a limit, a cache
    answers, a route fails over and restarts a broken stream. The exit code is 1 if an answer is missing, or
    if the provider has received a number of requests other than the script implies.
    """
    _require()
    from penstock_cli.demo import acts as programme
    from penstock_cli.demo import scenes as script
    from penstock_cli.demo.board import LiveBoard, PlainBoard, summary
    from penstock_cli.demo.play import Play
    from penstock_cli.demo.staging import Staging
    from penstock_cli.demo.step_board import LiveSteps, PlainSteps
    from penstock_cli.terminal import console

    scenes, acts = script.scenes(fast=fast, seed=seed), programme.acts(fast=fast)
    live = not plain and sys.stdout.isatty()
    started = time.monotonic()
    with LiveBoard(scenes, console()) if live else PlainBoard() as board:
        play = Play(scenes, seed=seed, fast=fast, audience=board)
        play.perform()
    with LiveSteps(acts, console()) if live else PlainSteps(started) as steps:
        staging = Staging(acts, seed=seed, audience=steps)
        staging.perform()
    lines, problems = summary(
        play.calls, staging.played, play.total + staging.total, time.monotonic() - started
    )
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
