"""The subcommands of `penstock metrics`: print what ships with the plugin."""

from __future__ import annotations

from typing import Any


def add_commands(group: Any) -> None:
    """Add `metrics rules` and `metrics dashboard` to a click group."""

    @group.group("metrics")  # type: ignore[untyped-decorator]  # click is the command's dependency, not ours
    def metrics() -> None:
        """Print the alert rules and the dashboard for Penstock's metrics."""

    @metrics.command("rules")  # type: ignore[untyped-decorator]  # as above
    def rules() -> None:
        """Print the recording and alert rules for Prometheus."""
        _print("rules.yml")

    @metrics.command("dashboard")  # type: ignore[untyped-decorator]  # as above
    def dashboard() -> None:
        """Print the dashboard for Grafana."""
        _print("dashboard.json")


def shipped(name: str) -> str:
    """A file that comes with the package: `rules.yml` or `dashboard.json`."""
    from importlib.resources import files

    return (files("penstock_metrics") / "data" / name).read_text(encoding="utf-8")


def _print(name: str) -> None:
    import sys

    sys.stdout.write(shipped(name))
