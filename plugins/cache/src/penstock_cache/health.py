"""What the cache says of how the client is: a store that failed is a warning, calls go upstream meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.health import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


RECENT = 60.0
"""Seconds for which a failure of the store is news."""


def check(client: Any) -> Mapping[str, Sequence[Finding]]:
    """`cache:store`, a warning while it failed within the last minute."""
    stage = client.stage("cache")
    since = stage.failed_since()
    if since is None or since >= RECENT:
        return {"cache:store": [Finding(status="pass")]}
    output = "the store failed; calls go upstream meanwhile"
    return {"cache:store": [Finding(status="warn", value=round(since, 3), unit="s ago", output=output)]}
