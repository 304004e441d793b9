"""
What a model's tokens cost, and what an answer does: exact decimal arithmetic, no look-ups.

Cached tokens are a part of the input and reasoning a part of the output, so each is taken out before the rest
is priced. A count that is larger than what it is a part of counts as all of it: servers report that too.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from penstock.frozen import dataclass

if TYPE_CHECKING:
    from penstock.responses import Usage

FREE = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """
    US dollars for a token.

    Args:
        input: of the prompt; None is unknown.
        output: of the answer; None is unknown.
        cached: of the prompt, from the provider's own cache; None is like `input`.
        reasoning: of the answer, spent on reasoning; None is like `output`.
        request: dollars for each answer.
        tiers: `(tokens, rates)`: prompts of more tokens than this have these rates for every token; the
            largest that is exceeded counts.
    """

    input: Decimal | None
    output: Decimal | None
    cached: Decimal | None = None
    reasoning: Decimal | None = None
    request: Decimal = FREE
    tiers: tuple[tuple[int, Rates], ...] = ()

    def usd(self, usage: Usage) -> Decimal | None:
        """
        What these tokens cost in US dollars; None when a count or a price that matters is unknown.

        An output that is not reported at all is none: embeddings have no output.
        """
        given = usage.input_tokens
        if given is None:
            return None
        if self.tiers:
            for start, rates in reversed(self.tiers):
                if given > start:
                    return rates.usd(usage)
        if self.input is None:
            return None
        cached = usage.cached_tokens
        if cached and self.cached is not None:
            cached = min(cached, given)
            total = (given - cached) * self.input + cached * self.cached
        else:
            total = given * self.input
        made = usage.output_tokens
        if made:
            if self.output is None:
                return None
            reasoning = usage.reasoning_tokens
            if reasoning and self.reasoning is not None:
                reasoning = min(reasoning, made)
                total += (made - reasoning) * self.output + reasoning * self.reasoning
            else:
                total += made * self.output
        return total + self.request if self.request else total

    def without_tiers(self) -> Rates:
        """The rates of a short prompt."""
        return replace(self, tiers=())


LOCAL = Rates(input=FREE, output=FREE)
"""Of a model that runs on this machine."""
