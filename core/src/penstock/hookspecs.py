"""
Everything a plugin may implement, as documented stubs.

A plugin is a module (or object) named by an entry point in the group `penstock`; it implements any of
these with `@hookimpl`. The register hooks run once, while a client is built; only `penstock_pre_request`
and `penstock_post_response` run during a call, once for each logical call.
"""

# Stubs have no bodies: pluggy only reads their signatures.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from penstock.call import Call
    from penstock.messages import Request
    from penstock.responses import Response
    from penstock.specs import (
        HealthCheckSpec,
        ListenerSpec,
        ProviderSpec,
        StageSpec,
        StoreSpec,
        TransportSpec,
    )

hookspec = pluggy.HookspecMarker("penstock")
hookimpl = pluggy.HookimplMarker("penstock")


@hookspec
def penstock_register_providers() -> Sequence[ProviderSpec]:
    """Providers: who can be asked."""


@hookspec
def penstock_register_stages() -> Sequence[StageSpec]:
    """Stages: the layers of the pipeline."""


@hookspec
def penstock_register_transports() -> Sequence[TransportSpec]:
    """HTTP transports."""


@hookspec
def penstock_register_stores() -> Sequence[StoreSpec]:
    """Stores for stages that keep data."""


@hookspec
def penstock_register_listeners() -> Sequence[ListenerSpec]:
    """Listeners to every event."""


@hookspec
def penstock_register_health_checks() -> Sequence[HealthCheckSpec]:
    """Health checks."""


@hookspec
def penstock_commands(group: Any) -> None:
    """Add subcommands to the click group of the `penstock` command."""


@hookspec
def penstock_routes(app: Any) -> None:
    """Add routes to the gateway's application."""


@hookspec
def penstock_pre_request(call: Call) -> Request | None:
    """
    See, or replace, the request of a call before the pipeline runs.

    Runs in the order of the configuration. Must not block; raise `RequestRejected` to refuse. Any other
    exception is logged and the hook skipped.
    """


@hookspec
def penstock_post_response(call: Call, response: Response) -> Response | None:
    """
    See, or replace, the response before the caller gets it.

    For a stream it sees the assembled response at the end, and what it returns is not used; chunks are
    rewritten by a stage. What it raises is logged and the hook skipped.
    """
