"""
What every HTTP transport of ours is made of, whatever carries its bytes and whatever its colour.

Settings and environment are read once, when it is made; what they name wrongly is an error then. Its like for
URLs from outside is made of the same values when it is first asked for, and closed with it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Self

from penstock_wire.config import ONLY_PUBLIC
from penstock_wire.proxies import Proxies
from penstock_wire.public import PublicOnly
from penstock_wire.tls import Trust

if TYPE_CHECKING:
    from penstock_wire.config import WireConfig


class Outbound:
    """
    The part of a transport that carries nothing.

    Args:
        config: pools, proxies, TLS.
        clock: the clock that `due` refers to, in seconds; for asyncio it advances with the loop.
        environ: read once, here, and never again.

    Raises:
        ConfigError: a proxy or a certificate file that cannot be used.
    """

    def __init__(
        self,
        config: WireConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        self._config = config
        self._clock = clock
        self._permit = PublicOnly(config.allow_addresses) if config.block_private else None
        self._proxies = Proxies.of(config, self._environ)
        self._trust = Trust(config, self._environ)
        self._public: Self | None = None
        self._closed = False
        self._prepare()

    def _prepare(self) -> None:
        """What the transport keeps besides; nothing is connected yet."""

    def public(self) -> Self:
        """A transport like this one, closed with it, that connects to public addresses alone."""
        if self._public is None:
            config = self._config.model_copy(update=ONLY_PUBLIC)
            self._public = type(self)(config, clock=self._clock, environ=self._environ)
        return self._public

    async def close(self) -> None:
        """Refuse what comes from now on, and close what `public` made."""
        self._closed = True
        if self._public is not None:
            await self._public.close()
