"""`penstock plugins`: what is installed, who brings it, and whether it works."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock_cli.client import config_options
from penstock_cli.failure import masked
from penstock_cli.main import CONTEXT, debug_option

if TYPE_CHECKING:
    from penstock.plugins import Plugins

HOOKS = ("penstock_pre_request", "penstock_post_response", "penstock_commands", "penstock_routes")
"""The hooks that register no spec."""


@dataclass(slots=True)
class Found:
    """
    One installed plugin.

    Args:
        status: `ok`, `broken`, `duplicate`, or `denied` by the configuration's lists, then it was not loaded.
        api: the plugin contract its specs are written for, "" when it has none.
        registers: names by the kind of what they are.
        error: why it cannot be used.
    """

    name: str
    distribution: str
    version: str
    status: str = "ok"
    api: str = ""
    registers: dict[str, list[str]] = field(default_factory=dict)
    error: str | None = None


@click.command(context_settings=CONTEXT)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@config_options
@debug_option
def plugins(*, as_json: bool, config: Path | None, profile: str | None) -> None:
    """List the installed plugins, what each registers, and what is wrong with it."""
    found = find_plugins(config, profile)
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps([asdict(each) for each in found], indent=2))
    else:
        _print(found)


def find_plugins(config: Path | None, profile: str | None) -> list[Found]:
    """
    Every installed plugin, loaded as far as the configuration permits.

    Raises:
        ConfigError: the configuration cannot be read, so what it permits is unknown.
    """
    import os

    from penstock.config import Settings
    from penstock.plugins import Plugins, installed

    lists = Settings.load(config, environ=os.environ, profile=profile).core.plugins
    loading = Plugins(allow=lists.allow, deny=lists.deny)
    offered = loading.offered()
    found = []
    for name, claims in installed().items():
        for claim in claims:
            each = Found(name, claim.distribution, claim.version)
            if name not in offered:
                each.status = "denied"
            elif len(claims) > 1:
                each.status = "duplicate"
                both = " and ".join(f"{other.distribution} {other.version}" for other in claims)
                each.error = f"claimed by {both}; uninstall one of them"
            else:
                _load(each, loading)
            found.append(each)
    return found


def _load(each: Found, plugins: Plugins) -> None:
    from penstock.errors import DuplicatePluginError
    from penstock.specs import HealthCheckSpec
    from penstock_cli.catalogue import KINDS

    kinds: dict[str, type[Any]] = {**KINDS, "health_checks": HealthCheckSpec}
    before = {kind: len(plugins.specs(spec)) for kind, spec in kinds.items()}
    try:
        plugins.load(each.name)
    except Exception as error:
        each.status = "duplicate" if isinstance(error, DuplicatePluginError) else "broken"
        each.error = masked(str(error))
        return
    for kind, spec in kinds.items():
        new = plugins.specs(spec)[before[kind] :]
        if new:
            each.registers[kind] = [one.name for one in new]
            each.api = ".".join(map(str, new[0].api))
    hooks = [name for name in HOOKS if any(h.plugin_name == each.name for h in plugins.hooks(name))]
    if hooks:
        each.registers["hooks"] = [name.removeprefix("penstock_") for name in hooks]


def _print(found: list[Found]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from penstock.specs import API
    from penstock_cli.terminal import console, plain

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("plugin", "distribution", "version", "api", "registers", "status"):
        table.add_column(heading, overflow="fold")
    for each in found:
        registers = "; ".join(
            f"{kind.replace('_', ' ')}: {', '.join(names)}" for kind, names in each.registers.items()
        )
        status = Text(each.status, "green" if each.status == "ok" else "red")
        if each.error:
            status.append(f": {each.error}")
        cells = (each.name, each.distribution, each.version, each.api, registers)
        table.add_row(*(Text(plain(cell)) for cell in cells), Text(plain(status.plain), status.style))
    out = console()
    out.print(table if found else "no plugin is installed: pip install penstock-openai, for example")
    out.print(f"plugin contract of this core: {API[0]}.{API[1]}")
