"""What the distribution registers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.hookspecs import hookimpl
from penstock.specs import ListenerSpec
from penstock_logs.config import LogsConfig

if TYPE_CHECKING:
    from penstock.events import Listener
    from penstock.specs import Services


def _create(config: LogsConfig, services: Services) -> Listener:
    from penstock_logs.listener import Logs

    return Logs(config, services)


@hookimpl
def penstock_register_listeners() -> Sequence[ListenerSpec]:
    """The listener that logs what happens to calls."""
    return [ListenerSpec(name="logs", config=LogsConfig, create=_create)]
