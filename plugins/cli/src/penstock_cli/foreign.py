"""The subcommands plugins add: one plugin at a time, so that a broken one costs a line and no more."""

from __future__ import annotations

import os
from collections.abc import Container
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from penstock.plugins import Plugins

OURSELVES = "cli"


def foreign_commands(taken: Container[str]) -> dict[str, click.Command]:
    """
    The commands of every installed plugin that may be used.

    Args:
        taken: names that are ours; a plugin that wants one is told on stderr, and so is the second of two
            plugins that want the same.
    """
    plugins = _permitted()
    found: dict[str, click.Command] = {}
    if plugins is None:
        return found
    for name in plugins.offered():
        if name == OURSELVES:
            continue
        for command_name, command in _commands_of(name, plugins).items():
            if command_name in taken or command_name in found:
                warn(f"plugin {name!r}: its command {command_name!r} is left out, the name is taken")
            else:
                found[command_name] = command
    return found


def _permitted() -> Plugins | None:
    """The plugins the configuration permits; None when it cannot be read, for then nobody knows."""
    from penstock.config import Settings
    from penstock.errors import ConfigError
    from penstock.plugins import Plugins

    try:
        lists = Settings.load(environ=os.environ).core.plugins
    except ConfigError as error:
        first, *_ = str(error).splitlines()
        warn(f"commands of plugins are left out, the configuration is wrong: {first}")
        return None
    return Plugins(allow=lists.allow, deny=lists.deny)


def _commands_of(name: str, plugins: Plugins) -> dict[str, click.Command]:
    from penstock.errors import PluginError

    # A group of its own for each plugin: what it adds before it breaks is dropped with it.
    group = click.Group(name)
    try:
        plugins.load(name)
        for hook in plugins.hooks("penstock_commands"):
            if hook.plugin_name == name:
                hook.function(*(group for _ in hook.argnames))
    except PluginError as error:
        warn(str(error))  # names the plugin, its version and its cause
        return {}
    except Exception as error:
        warn(f"plugin {name!r}: {type(error).__name__}: {error}")
        return {}
    return dict(group.commands)


def warn(message: str) -> None:
    """One warning line on stderr."""
    from penstock.redaction import Redactor
    from penstock_cli.terminal import plain

    click.echo(f"warning: {plain(' '.join(Redactor()(message).split()))}", err=True)
