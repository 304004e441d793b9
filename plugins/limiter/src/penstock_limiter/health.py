"""What the limiter says of how the client is: pauses the servers asked for, and calls that queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.health import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def check(client: Any) -> Mapping[str, Sequence[Finding]]:
    """`limiter:queue`, the calls that wait; and `limiter:pause`, a warning for each key that is paused."""
    stats = client.stage("limiter").stats()
    paused = [
        Finding(
            status="warn",
            component=name.removeprefix("learnt "),
            value=round(limit["paused_for"], 3),
            unit="s",
            output="the server asked for a pause",
        )
        for name, limit in stats.limits.items()
        if limit.get("paused_for")
    ]
    found = {"limiter:queue": [Finding(status="pass", value=stats.waiting, unit="calls")]}
    return found | ({"limiter:pause": paused} if paused else {})
