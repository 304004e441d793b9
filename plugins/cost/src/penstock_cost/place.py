"""
The cost stage at one target: reserve, proceed, count, settle.

Rules
1. Without budgets and preflight nothing happens before the call, and after it one multiplication for each
   kind of token.
2. What the user's table says counts before what the provider reports, and that before the catalogue. What
   nobody knows is None.
3. A reservation is settled by the reply's end with what it cost, or given back when `proceed` raises: then
   there is no answer, and nothing a provider is known to bill.
4. Several targets of one call (failover in mid-stream, hedges) are added up; one that is unknown makes the
   sum unknown.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict, deque
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from penstock.errors import BudgetExhausted, ContextLengthError, InvalidRequestError
from penstock.events import CostRecorded, CostRejected
from penstock.messages import ChatRequest, ModelsRequest
from penstock.responses import Usage
from penstock.tokens import estimate_output
from penstock_cost.accounts import policies_of
from penstock_cost.budget import Account, Hold, Refusal
from penstock_cost.counting import TokenCount, count_tokens, heuristic
from penstock_cost.learned import LearnedRatio
from penstock_cost.pricing import UNKNOWN, Price
from penstock_cost.rates import FREE
from penstock_cost.refusals import exhausted, unpriced
from penstock_cost.window import require_fit

if TYPE_CHECKING:
    from penstock.call import Call, Outcome, Reply, Target
    from penstock.errors import CallError
    from penstock.messages import Request
    from penstock.responses import Response
    from penstock.specs import Proceed, Scope
    from penstock_cost.stage import CostStage

logger = logging.getLogger("penstock")
Source = Literal["reported", "calculated", "estimated"]
FRESH = 600.0
"""Seconds for which a price that depends on the hour is believed."""
LEARN_FIRST, LEARN_EVERY = 32, 32
"""The ratio is learned from so many answers of a target, and then from every so-manieth."""
NO_USAGE = Usage()


class CostPlace:
    """
    The stage bound to one target.

    Args:
        stage: what all places share: prices, accounts, totals.
        scope: configuration, target and provider.
    """

    def __init__(self, stage: CostStage, scope: Scope) -> None:
        config = scope.config
        if scope.target is None:
            raise ValueError("cost needs a target: it stands in the target slot")
        self.target: Target = scope.target
        self._stage = stage
        self._route = scope.route
        self._base_url: str = scope.provider.base_url if scope.provider is not None else ""
        self._prices = stage.price_book(config)
        known = self._prices.known(self.target, self._base_url)
        self._price = known or UNKNOWN
        self._ask = known is None
        self._asked_at = -math.inf
        self._by_name: OrderedDict[tuple[str, str | None], Price] = OrderedDict()
        self._policies = policies_of(config.budgets, self.target)
        self._accounts = self._fixed_accounts()
        self._preflight: bool = config.preflight
        self._tokenize: bool = config.tokenize
        self._tokenizers = stage.tokenizers(config)
        self._assumed: int = config.assumed_output
        self._plain = not self._policies and not self._preflight
        self._window: int | None = None
        self.learned: LearnedRatio = stage.learned(self.target)
        self._total = stage.totals.of(self.target)
        self._outputs: deque[int] = deque(maxlen=64)
        self._answers = 0

    async def __call__(self, call: Call, proceed: Proceed) -> Reply:
        request = call.request
        if request.__class__ is ModelsRequest:
            return await proceed(call)
        if self._ask:
            await self._look_up(call)
        if self._plain:
            if call.options:
                _key(call.options.get("cost"))
            reply = await proceed(call)
            outcome = reply.outcome
            if outcome is None:
                reply.on_finish(lambda outcome: self._finish(call, outcome, None))
                return reply
            try:
                self._settle(call, outcome, None)
            except Exception as error:
                self._miscounted(error)
            return reply
        hold = self._admit(call)
        try:
            reply = await proceed(call)
        except BaseException:
            if hold is not None:
                hold.release()
            raise
        reply.on_finish(lambda outcome: self._finish(call, outcome, hold))
        return reply

    def peek(self, call: Call) -> CallError | None:
        """What a call would be refused with right now; no side effects."""
        if self._plain or isinstance(call.request, ModelsRequest):
            return None
        try:
            count = self._count(call.request)
            if self._preflight:
                self._check_window(call.request, count)
            amount, accounts = self._needed(call, count)
        except (BudgetExhausted, ContextLengthError) as error:
            return error
        if not accounts:
            return None
        now = call.runtime.now()
        refusal = self._stage.accounts.budgets.peek(now, accounts, amount)
        return exhausted(self.target, refusal, amount, self._stage.name) if refusal is not None else None

    # Before the call

    def _admit(self, call: Call) -> Hold | None:
        """Reserve what the call will probably cost; raises when it may not be sent."""
        now = call.runtime.now()
        count = self._count(call.request)
        try:
            if self._preflight:
                self._check_window(call.request, count)
            amount, accounts = self._needed(call, count)
        except ContextLengthError:
            self._rejected(call, "", "window", None, None)
            raise
        except BudgetExhausted as error:
            self._rejected(call, error.tags[0], "unpriced", None, None)
            raise
        if not accounts:
            return None
        found = self._stage.accounts.budgets.reserve(now, accounts, amount)
        if isinstance(found, Refusal):
            refused = exhausted(self.target, found, amount, self._stage.name)
            self._rejected(call, found.account.name, "spent", amount, refused.retry_after)
            raise refused
        return found

    def _needed(self, call: Call, count: TokenCount) -> tuple[Decimal, list[Account]]:
        """Dollars to reserve, and from which accounts; none when it costs nothing or may be unpriced."""
        policies = self._policies
        if not policies:
            return FREE, []
        request = call.request
        made = 0
        if isinstance(request, ChatRequest):
            made = (_max_tokens(request) or max(self._outputs, default=self._assumed)) * (request.n or 1)
        rates = self._price.rates
        amount = rates.usd(Usage(count.tokens, made)) if rates is not None else None
        if amount is None:
            for policy in policies:
                if policy.unpriced == "refuse":
                    raise unpriced(self.target, policy, self._stage.name)
            return FREE, []
        if not amount:
            return FREE, []
        return amount, self._accounts_of(call)

    def _accounts_of(self, call: Call) -> list[Account]:
        if self._accounts is not None and not call.options:
            return self._accounts
        key = _key(call.options.get("cost"))
        book, name = self._stage.accounts, self._route or str(self.target)
        return [book.account(policy, policy.key(self.target, name, key)) for policy in self._policies]

    def _fixed_accounts(self) -> list[Account] | None:
        """The accounts of every call without options, None when they must be looked up for each."""
        if any(policy.each == "key" for policy in self._policies):
            return None
        book, name = self._stage.accounts, self._route or str(self.target)
        return [book.account(policy, policy.key(self.target, name, "")) for policy in self._policies]

    def _count(self, request: Request) -> TokenCount:
        target = self.target
        if self._tokenize:
            return count_tokens(
                request,
                target.model,
                target.provider,
                tokenizers=self._tokenizers,
                ratio=self.learned.ratio,
            )
        plain = heuristic(request, target.model, target.provider)
        return TokenCount(math.ceil(plain * self.learned.ratio), "heuristic")

    def _check_window(self, request: Request, count: TokenCount) -> None:
        if self._window is None:
            self._window = self._stage.window(self.target) or self._price.context_window
        if self._window is not None:
            require_fit(request, count, self._window, str(self.target))

    # Prices

    async def _look_up(self, call: Call) -> None:
        """Ask the catalogue, once for a target; again from time to time where its prices change."""
        if call.runtime.now() - self._asked_at < FRESH:
            return
        try:
            price = await call.runtime.run_blocking(self._prices.listed, self.target, self._base_url)
        except Exception as error:
            # A catalogue that is broken is one that knows nothing: no call fails for it.
            logger.error("cost: the catalogue raised %s; its prices are unknown", type(error).__name__)
            price = UNKNOWN
        self._price = price
        self._by_name.clear()
        # Only now: a call that comes meanwhile asks too, instead of going on without a price.
        self._asked_at = call.runtime.now()
        self._ask = price.changes

    def _price_of(self, response: Response) -> Price:
        """The price of an answer: of the target, or of the name and the tier its provider answered with."""
        price = self._price
        if price.origin not in (None, "catalogue") or self._asked_at == -math.inf:
            return price
        extra = getattr(response, "extra", None)
        tier = extra.get("service_tier") if extra else None
        if tier == "default" or not isinstance(tier, str):
            tier = None
        if price.rates is not None and tier is None:
            return price
        key = (getattr(response, "model", ""), tier)
        known = self._by_name.get(key)
        if known is None:
            known = self._asked_for(*key)
            self._by_name[key] = known
            if len(self._by_name) > 64:
                self._by_name.popitem(last=False)
        return known

    def _asked_for(self, answered: str, tier: str | None) -> Price:
        found = self._prices.listed(self.target, self._base_url, tier)
        if found.rates is None and answered and answered != self.target.model:
            # A deployment may be called anything; the answer says which model it is.
            found = self._prices.listed(self.target._replace(model=answered), self._base_url, tier)
        return found

    # After the call

    def _finish(self, call: Call, outcome: Outcome, hold: Hold | None) -> None:
        """Settle; what goes wrong in counting is no fault of the call."""
        try:
            self._settle(call, outcome, hold)
        except Exception as error:
            self._miscounted(error)
            if hold is not None:
                hold.keep()

    def _miscounted(self, error: Exception) -> None:
        # The type only: a message could quote what the answer carries.
        logger.error("cost: counting an answer of %s raised %s", self.target, type(error).__name__)

    def _settle(self, call: Call, outcome: Outcome, hold: Hold | None) -> None:
        response = outcome.response
        if response is None:
            if hold is not None:
                hold.keep()
            return
        request = call.request
        usage = response.usage or NO_USAGE
        source: Source = "calculated"
        if usage.input_tokens is None or (
            usage.output_tokens is None and (isinstance(request, ChatRequest) or outcome.kind != "ok")
        ):
            source, usage = "estimated", self._estimated(request, response, usage)
        elif self._answers < LEARN_FIRST or self._answers % LEARN_EVERY == 0:
            self._learn(request, usage)
        self._answers += 1
        price = self._price_of(response)
        usd: Decimal | None = None
        origin = price.origin
        if origin != "table":
            usd = reported_cost(response)
        if usd is not None:
            source, origin = "reported", None
        elif price.rates is not None:
            usd = price.rates.usd(usage)
            if usd is None:
                origin = None
        if hold is not None:
            if usd is None:
                hold.keep()
            else:
                hold.settle(usd)
        if self._policies and usage.output_tokens is not None:
            self._outputs.append(usage.output_tokens)
        _note(call.facts, usd, source, origin)
        self._total.add(usd, usage)
        if call.listeners:
            call.emit(CostRecorded(call.runtime.now(), call, self.target, usd, source, origin, usage))

    def _estimated(self, request: Request, response: Response, usage: Usage) -> Usage:
        given = usage.input_tokens
        if given is None:
            given = self._count(request).tokens
        made = usage.output_tokens
        if made is None:
            made = estimate_output(response)
        return Usage(given, made, usage.cached_tokens, usage.reasoning_tokens)

    def _learn(self, request: Request, usage: Usage) -> None:
        target = self.target
        estimated = heuristic(request, target.model, target.provider)
        if usage.input_tokens:
            self.learned.observe(estimated, usage.input_tokens)

    # Words

    def _rejected(
        self,
        call: Call,
        budget: str,
        reason: Literal["spent", "unpriced", "window"],
        needed: Decimal | None,
        retry_after: float | None,
    ) -> None:
        self._stage.totals.refuse()
        if call.listeners:
            now = call.runtime.now()
            call.emit(CostRejected(now, call, self.target, budget, reason, needed, retry_after))


def reported_cost(response: Response) -> Decimal | None:
    """US dollars by the provider's own word, None when it says nothing."""
    extra = getattr(response, "extra", None)
    cost = extra.get("cost_usd") if extra else None
    if isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < math.inf:
        return Decimal(str(cost))
    return None


def _note(facts: dict[str, Any], usd: Decimal | None, source: Source, origin: str | None) -> None:
    """Tell the client what its answer costs."""
    if "cost" in facts:
        before = facts["cost"]
        facts["cost"] = None if before is None or usd is None else before + usd
        if source == "estimated":
            facts["cost_source"] = source
        if facts.get("cost_price") != origin:
            facts["cost_price"] = None
        return
    facts["cost"] = usd
    facts["cost_source"] = source
    facts["cost_price"] = origin


def _max_tokens(request: ChatRequest) -> int | None:
    allowed = request.max_tokens
    if allowed is None and request.extra:
        allowed = request.extra.get("max_completion_tokens")
    return allowed if isinstance(allowed, int) and allowed > 0 else None


def _key(options: Any) -> str:
    """The key a call names."""
    if options is None or options is True:
        return ""
    if not isinstance(options, Mapping) or not options.keys() <= {"key"}:
        raise InvalidRequestError('cost: it must be False or {"key": ...}', param="cost")
    return str(options.get("key", ""))
