"""What the distribution registers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from penstock.hookspecs import hookimpl
from penstock.specs import ListenerSpec
from penstock_metrics.config import MetricsConfig

if TYPE_CHECKING:
    from penstock.events import Listener
    from penstock.specs import Services


def _create(config: MetricsConfig, services: Services) -> Listener:
    from penstock_metrics.listener import Metrics

    return Metrics(config, services)


@hookimpl
def penstock_register_listeners() -> Sequence[ListenerSpec]:
    """The listener that counts and measures."""
    return [ListenerSpec(name="metrics", config=MetricsConfig, create=_create)]


@hookimpl
def penstock_commands(group: Any) -> None:
    """`penstock metrics rules` and `penstock metrics dashboard`."""
    from penstock_metrics.commands import add_commands

    add_commands(group)
