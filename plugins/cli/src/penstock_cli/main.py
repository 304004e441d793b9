"""
The `penstock` command: a group that imports a subcommand only when it is asked for.

Rules
1. `penstock --help` and a wrong option cost no more than click itself and the list of plugins.
2. Plugins add subcommands through the hook `penstock_commands(group)`; they are loaded for `--help` and for a
   name that is not ours, and ours always win. A broken plugin costs one line on stderr, never the command.
3. Whatever a subcommand raises on purpose becomes one message and an exit code here; see `failure.py`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

OURS: Mapping[str, tuple[str, str]] = {
    "chat": ("penstock_cli.chat:chat", "Ask a model, or talk with it."),
    "config": ("penstock_cli.config_commands:config", "Write, check and show the configuration."),
    "demo": ("penstock_cli.demo.command:demo", "Watch calls survive faults; no key, no network."),
    "explain": ("penstock_cli.explain:explain", "Show the pipeline and the values a call would take."),
    "health": ("penstock_cli.health:health", "Say how a client of this configuration is."),
    "models": ("penstock_cli.models:models", "List the models that can be asked."),
    "plugins": ("penstock_cli.plugins_command:plugins", "List the installed plugins."),
}
"""Each subcommand: where it is, and its line in `--help`, so that `--help` imports none of them."""


class Commands(click.Group):
    """The group: our subcommands by name, then those of plugins."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._plugins_asked = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._ask_plugins()
        return sorted({*OURS, *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in OURS:
            return _load(OURS[cmd_name][0])
        self._ask_plugins()
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        names = self.list_commands(ctx)
        lines = [
            (name, OURS[name][1] if name in OURS else self.commands[name].get_short_help_str(70))
            for name in names
            if name in OURS or not self.commands[name].hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(lines)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo(err=True)
            raise click.exceptions.Exit(130) from None
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            from penstock_cli.failure import report

            code = report(error, debug=bool(ctx.meta.get("penstock.debug")))
            raise click.exceptions.Exit(code) from None

    def _ask_plugins(self) -> None:
        if not self._plugins_asked:
            self._plugins_asked = True
            from penstock_cli.foreign import foreign_commands

            for name, command in foreign_commands(OURS).items():
                self.commands.setdefault(name, command)


def _load(place: str) -> click.Command:
    import importlib

    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]  # the table is ours


def debug_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--debug`: show the traceback of an error, its secrets masked."""

    def remember(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value:
            ctx.meta["penstock.debug"] = True  # shared by a context and those above it

    return click.option(
        "--debug", is_flag=True, expose_value=False, callback=remember, help="Show tracebacks."
    )(command)


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"penstock {version('penstock')}")
        ctx.exit()


@click.command(
    cls=Commands,
    context_settings=CONTEXT,
    epilog="Exit codes: 0 done, 1 the call failed, 2 wrong usage or configuration, 130 interrupted.",
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show it."
)
@debug_option
def cli() -> None:
    """The gated pipe between you and any language model."""


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # A model may say what the terminal's encoding cannot: show it escaped instead of failing.
            reconfigure(errors="backslashreplace")
    cli(prog_name="penstock")
