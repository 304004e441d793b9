"""
Prices of the models of the world, from genai-prices.

The one place that knows that library. It is imported when the first price is looked up (half a second with
its data), its updater is never started, and nothing of it runs for each call: what it knows of a model
becomes `Rates` once. An application that has set a snapshot of its own there gets that one's prices.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from penstock.frozen import dataclass
from penstock_cost.rates import FREE, Rates

if TYPE_CHECKING:
    from penstock.call import Target

_MILLION = Decimal(1_000_000)
_THOUSAND = Decimal(1000)
_HUGGINGFACE = "router.huggingface.co"


@dataclass(frozen=True, slots=True)
class Listing:
    """
    What the catalogue knows of a model.

    Args:
        rates: its prices.
        vendor: whose they are, by the catalogue's name.
        model: the catalogue's name of the model.
        context_window: tokens, or None.
        changes: whether its prices depend on the date or the hour.
    """

    rates: Rates
    vendor: str
    model: str
    context_window: int | None
    changes: bool


def installed() -> bool:
    """Whether there is a catalogue."""
    from importlib.util import find_spec

    return find_spec("genai_prices") is not None


def load() -> None:
    """Import the library and its data; blocks for half a second."""
    from genai_prices.data_snapshot import get_snapshot

    get_snapshot()


def look_up(
    target: Target, base_url: str, vendor: str | None, when: datetime, *, tier: str | None = None
) -> Listing | None:
    """
    What a model costs.

    Args:
        target: who is asked; its instance name is used only when there is no address.
        base_url: the provider's address, "" when it is unknown.
        vendor: the catalogue's name of the provider, where the address does not tell.
        when: prices change.
        tier: the service tier of the answer, such as `flex`.
    """
    from genai_prices.data_snapshot import get_snapshot

    model = target.model
    if vendor is None and _HUGGINGFACE in base_url:
        # The router's models are sold by others: `org/model:seller`.
        model, _, seller = model.rpartition(":")
        if not model:
            return None
        vendor = f"huggingface_{seller}"
    if vendor is not None or not base_url:
        asked: dict[str, Any] = {"provider_id": vendor or target.provider, "provider_api_url": None}
    else:
        asked = {"provider_id": None, "provider_api_url": base_url}
    try:
        provider, info = get_snapshot().find_provider_model(model, None, **asked)
    except LookupError:
        return None
    context = {"service_tier": tier} if tier else None
    rates = rates_of(_prices(info.get_prices(when, context)))
    if rates is None:
        return None
    changes = not hasattr(info.prices, "calc_price") and len(info.prices) > 1
    return Listing(rates, provider.id, info.id, info.context_window, changes)


def _prices(price: Any) -> Mapping[str, Any]:
    return {name: value for name, value in vars(price).items() if value is not None}


def rates_of(prices: Mapping[str, Any]) -> Rates | None:
    """
    Rates of the catalogue's price fields, dollars for a million tokens; None when tokens have no price.

    A field is a Decimal, or has a `base` and `tiers` of `start` and `price`.
    """
    if "input_mtok" not in prices:
        return None
    starts = sorted({tier.start for price in prices.values() for tier in getattr(price, "tiers", ())})
    tiers = tuple((start, _flat(prices, start)) for start in starts)
    flat = _flat(prices, None)
    return Rates(
        input=flat.input,
        output=flat.output,
        cached=flat.cached,
        reasoning=flat.reasoning,
        request=flat.request,
        tiers=tiers,
    )


def _flat(prices: Mapping[str, Any], start: int | None) -> Rates:
    def at(name: str) -> Decimal | None:
        price = prices.get(name)
        if price is None or isinstance(price, Decimal):
            return price
        found: Decimal = price.base
        for tier in price.tiers:
            if start is not None and tier.start <= start:
                found = tier.price
        return found

    def token(name: str) -> Decimal | None:
        price = at(name)
        return None if price is None else price / _MILLION

    request = at("requests_kcount")
    return Rates(
        input=token("input_mtok"),
        output=token("output_mtok"),
        cached=token("cache_read_mtok"),
        reasoning=token("output_reasoning_mtok"),
        request=FREE if request is None else request / _THOUSAND,
    )
