"""
Who says what a target costs: the user's own table, then the fact that it runs here, then the catalogue.

What nobody knows is unknown (None), never free.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, TypeVar
from urllib.parse import urlsplit

from penstock.frozen import dataclass
from penstock_cost import catalogue
from penstock_cost.rates import LOCAL, Rates

if TYPE_CHECKING:
    from penstock.call import Target
    from penstock_cost.config import CostConfig, PriceConfig

T = TypeVar("T")
Origin = Literal["table", "catalogue", "local"]
_WILDCARD = re.compile(r"\[[^\]]+\]|[*?]")


@dataclass(frozen=True, slots=True)
class Price:
    """
    What a target costs.

    Args:
        rates: dollars for tokens; None is unknown.
        origin: who says so; None with unknown rates.
        vendor, model: the catalogue's own names, "" elsewhere.
        changes: it depends on the date or the hour, so it must be asked for again.
        context_window: tokens, where the catalogue knows.
    """

    rates: Rates | None
    origin: Origin | None
    vendor: str = ""
    model: str = ""
    changes: bool = False
    context_window: int | None = None


UNKNOWN = Price(None, None)
FREE_HERE = Price(LOCAL, "local")


class PriceBook:
    """
    The prices of one configuration.

    Args:
        config: the table, and whose prices count.
        wall: the date and time, for prices that change.
    """

    def __init__(
        self, config: CostConfig, *, wall: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._table = {pattern: _rates(price) for pattern, price in config.prices.items()}
        self._vendors = config.vendors
        self._local = config.local
        self._catalogue = config.catalogue
        self._wall = wall

    def known(self, target: Target, base_url: str) -> Price | None:
        """The price of a target when the catalogue is not needed for it; None when it is to be asked."""
        rates = best_match(self._table, str(target))
        if rates is not None:
            return Price(rates, "table")
        if self._is_local(target, base_url):
            return FREE_HERE
        return None if self._catalogue and catalogue.installed() else UNKNOWN

    def listed(self, target: Target, base_url: str, tier: str | None = None) -> Price:
        """The price in the catalogue, which must be installed; the first time takes half a second."""
        listing = catalogue.look_up(
            target, base_url, self._vendors.get(target.provider), self._wall(), tier=tier
        )
        if listing is None:
            return UNKNOWN
        return Price(
            listing.rates, "catalogue", listing.vendor, listing.model, listing.changes, listing.context_window
        )

    def price(self, target: Target, base_url: str = "") -> Price:
        """The price of a target, the catalogue included."""
        return self.known(target, base_url) or self.listed(target, base_url)

    def _is_local(self, target: Target, base_url: str) -> bool:
        if self._local is not None:
            return any(fnmatchcase(str(target), pattern) for pattern in self._local)
        # A local Ollama passes these on to its makers' servers.
        return is_here(base_url) and not target.model.endswith(("-cloud", ":cloud"))


def is_here(base_url: str) -> bool:
    """Whether an address is this machine's: a loopback address, or a model in this process."""
    if base_url.startswith("file:"):
        return True
    try:
        host = urlsplit(base_url).hostname or ""
    except ValueError:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def best_match(table: Mapping[str, T], name: str) -> T | None:
    """The entry whose pattern matches with the most literal characters; the first of equals."""
    best: T | None = None
    literal = -1
    for pattern, value in table.items():
        if fnmatchcase(name, pattern):
            weight = len(_WILDCARD.sub("", pattern))
            if weight > literal:
                best, literal = value, weight
    return best


def _rates(price: PriceConfig) -> Rates:
    return Rates(
        input=price.input,
        output=price.output,
        cached=price.cached,
        reasoning=price.reasoning,
        request=price.request,
    )
