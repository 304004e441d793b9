"""The configuration of the transport: the same settings as `wire` has, so that one can replace the other."""

from __future__ import annotations

from penstock_wire.config import WireConfig


class TurboConfig(WireConfig):
    """Pools, proxies and TLS; what is left out is read from the environment once, when a client is built."""
