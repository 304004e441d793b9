"""The cost stage: what all places of one client share, and what people ask it."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from penstock.errors import PenstockError
from penstock.runtime import drive
from penstock.specs import Scope
from penstock_cost.accounts import AccountBook
from penstock_cost.config import CostConfig
from penstock_cost.counting import TokenCount, count_tokens
from penstock_cost.exact import exact_count
from penstock_cost.learned import LearnedRatio
from penstock_cost.place import CostPlace
from penstock_cost.pricing import Price, PriceBook
from penstock_cost.rates import FREE
from penstock_cost.tokenizers import Tokenizers
from penstock_cost.totals import Totals

if TYPE_CHECKING:
    from penstock.call import Call, Reply, Target
    from penstock.messages import Request
    from penstock.provider import Codec
    from penstock.specs import Proceed, Services

MAX_LEARNED = 1024
"""Models whose ratio is remembered."""


class CostStage:
    """
    Puts a price on every answer, and keeps spending within budgets.

    It stands outside retry, once for each target of a call, so that a refusal lets a route go on to a cheaper
    target; the cache is further out, so a hit costs nothing.

    A call may name the key it counts for: `client.chat(..., cost={"key": "tenant-7"})`.

    Args:
        config: the values in force where no override is.
        services: the clock, and what is known of models.
        wall: seconds since the epoch, for budgets of the calendar; in a simulation its clock says that too.
    """

    def __init__(self, config: CostConfig, services: Services, wall: Callable[[], float] = time.time) -> None:
        self._config = config
        self._services = services
        self.name = services.name
        runtime = services.runtime
        self.accounts = AccountBook(runtime.now if runtime.colour == "simulated" else wall)
        self.totals = Totals()
        self._books: list[tuple[tuple[Any, ...], PriceBook]] = []
        self._learned: OrderedDict[Target, LearnedRatio] = OrderedDict()
        self._lock = threading.Lock()

    def bind(self, scope: Scope) -> CostPlace:
        """The stage for one target."""
        return CostPlace(self, scope)

    async def __call__(self, call: Call, proceed: Proceed) -> Reply:
        """Unbound, outside a client's pipeline."""
        scope = Scope(config=self._config, route=call.route, target=call.target, provider=None)
        return await self.bind(scope)(call, proceed)

    # For places

    def price_book(self, config: CostConfig) -> PriceBook:
        """The prices of a configuration, made once."""
        key = (config.prices, config.vendors, config.local, config.catalogue)
        for known, book in self._books:
            if known == key:
                return book
        book = PriceBook(config)
        self._books.append((key, book))
        return book

    def tokenizers(self, config: CostConfig) -> Tokenizers:
        """The tokenizers of a configuration."""
        return Tokenizers(config.tokenizers)

    def learned(self, target: Target) -> LearnedRatio:
        """What experience says of a model's counts."""
        with self._lock:
            ratio = self._learned.pop(target, None) or LearnedRatio()
            self._learned[target] = ratio
            if len(self._learned) > MAX_LEARNED:
                self._learned.popitem(last=False)
            return ratio

    def window(self, target: Target) -> int | None:
        """Tokens of a model's context, where its provider knows without being asked."""
        try:
            return self._services.describe(target).context_length
        except PenstockError:
            return None

    # For people

    def count(self, request: Request, target: Target) -> TokenCount:
        """
        Tokens of a request for a target: by a tokenizer, else by the heuristic and what experience says.

        Raises:
            ConfigError: a tokenizer's file that is configured cannot be read.
        """
        ratio = self._learned.get(target)
        return count_tokens(
            request,
            target.model,
            target.provider,
            tokenizers=Tokenizers(self._config.tokenizers),
            ratio=ratio.ratio if ratio is not None else 1.0,
        )

    def count_exactly(self, request: Request, target: Target, codec: Codec) -> Any:
        """
        Tokens by the server's own word, where it offers that; see `exact.py`.

        In the blocking client it returns a `TokenCount`, in the others a coroutine to await.

        Args:
            request: a checked request.
            target: who would be asked.
            codec: of its provider: `client.provider(target.provider)`.

        Raises:
            CallError: the server cannot count, or was not reached.
        """
        runtime = self._services.runtime
        work = exact_count(runtime, codec, request, target)
        return drive(work) if runtime.colour == "blocking" else work

    def price(self, target: Target, base_url: str = "") -> Price:
        """What a target costs; with a catalogue installed the first time takes half a second."""
        return self.price_book(self._config).price(target, base_url)

    def left(self, budget: str, key: str = "") -> Decimal | None:
        """Dollars that may still be spent of a budget; None before its first call."""
        now = self._services.runtime.now()
        for policy, each, account in self.accounts.each():
            if policy.name == budget and each == key:
                return self.accounts.budgets.left(now, account)
        return None

    def reset(self, budget: str = "*", key: str = "*") -> None:
        """Forget what was spent of the budgets and keys that match the patterns."""
        self.accounts.budgets.clear([account for _, _, account in self.accounts.each(budget, key)])

    def stats(self) -> dict[str, Any]:
        """Dollars, answers, those of unknown cost, and tokens, by target; and the state of every budget."""
        targets = self.totals.snapshot()
        return {
            "usd": sum((total.usd for total in targets.values()), start=FREE),
            "answers": sum(total.answers for total in targets.values()),
            "unknown": sum(total.unknown for total in targets.values()),
            "refused": self.totals.refused,
            "targets": targets,
            "budgets": self.accounts.stats(self._services.runtime.now()),
        }
