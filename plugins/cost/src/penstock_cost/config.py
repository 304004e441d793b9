"""What `[cost]` may say."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from penstock.config import Config, Seconds, StageConfig
from penstock_cost.calendar import zone

_PRICE = re.compile(r"\$?\s*(\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*(?:/\s*([MK]|token))?")
_TOKENS = {"M": Decimal(1_000_000), "K": Decimal(1000), "token": Decimal(1)}


def _plain_number(value: object) -> Decimal | None:
    """A number of TOML exactly as it is written: 0.1 is a tenth."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    number = Decimal(str(value))
    return number if number.is_finite() else None


def _price(value: object) -> Decimal:
    number, per = _plain_number(value), "M"
    if isinstance(value, str) and (match := _PRICE.fullmatch(value.strip())):
        number, per = Decimal(match[1]), match[2] or "M"
    if number is None or number < 0:
        raise ValueError(
            'expected dollars for tokens, such as "2.50/M", "0.0025/K" or a number for a million'
        )
    return number / _TOKENS[per]


def _dollars(value: object) -> Decimal:
    number = _plain_number(value)
    if isinstance(value, str):
        try:
            number = Decimal(value.strip().removeprefix("$").strip())
        except InvalidOperation:
            number = None
    if number is None or not number.is_finite() or number < 0:
        raise ValueError('expected US dollars, such as 25 or "0.50"')
    return number


TokenPrice = Annotated[
    Decimal,
    BeforeValidator(_price),
    WithJsonSchema({"type": ["number", "string"], "pattern": rf"^{_PRICE.pattern}$", "minimum": 0}),
]
"""US dollars for one token; written "2.50/M" (a million tokens), "0.0025/K", or a number for a million."""

Dollars = Annotated[
    Decimal,
    BeforeValidator(_dollars),
    WithJsonSchema({"type": ["number", "string"], "pattern": r"^\$?\s*\d+(\.\d+)?$", "minimum": 0}),
]
"""An amount of US dollars."""


class PriceConfig(Config):
    """What a model costs."""

    input: TokenPrice = Field(description="Tokens of the prompt, those from the provider's cache left out.")
    output: TokenPrice = Field(
        default=Decimal(0),
        description="Tokens of the answer, reasoning included unless it has its own price.",
    )
    cached: TokenPrice | None = Field(
        default=None, description="Prompt tokens from the provider's own cache; like `input` when not set."
    )
    reasoning: TokenPrice | None = Field(
        default=None, description="Tokens spent on reasoning; like `output` when not set."
    )
    request: Dollars = Field(default=Decimal(0), description="Dollars for each answer, whatever its length.")


class BudgetConfig(Config):
    """How much may be spent."""

    limit: Dollars = Field(description="US dollars in the window.")
    window: Seconds | None = Field(
        default=None, gt=0, description="Over how long, such as 1d: in every such stretch; not set: for ever."
    )
    per: Literal["day", "week", "month"] | None = Field(
        default=None, description="Instead of a window: in every day, week (from Monday) or month."
    )
    timezone: str = Field(
        default="UTC", description="Whose midnight: UTC, an offset such as +02:00, or a name (Europe/Berlin)."
    )
    each: Literal["all", "provider", "model", "route", "key"] = Field(
        default="all",
        description="One budget for all calls, or one for each provider, model, name called, or key.",
    )
    targets: tuple[str, ...] = Field(
        default=("*",), description="Models that count for it, as provider/model with wildcards."
    )
    unpriced: Literal["refuse", "allow"] = Field(
        default="refuse", description="What to do with a call whose price nobody knows."
    )

    @field_validator("timezone")
    @classmethod
    def _exists(cls, timezone: str) -> str:
        zone(timezone)
        return timezone

    @model_validator(mode="after")
    def _one_stretch(self) -> Self:
        if self.per is not None and self.window is not None:
            raise ValueError("'window' and 'per' are two answers to one question; leave one out")
        if self.per is None and "timezone" in self.model_fields_set:
            raise ValueError("'timezone' says when the days of 'per' begin; set 'per' too, or leave it out")
        return self


class CostConfig(StageConfig):
    """Where prices are from, how tokens are counted, and what may be spent."""

    prices: dict[str, PriceConfig] = Field(
        default={}, description='Prices of your own, by target: [cost.prices."openai/gpt-4o*"].'
    )
    catalogue: bool = Field(
        default=True, description="Look other prices up in genai-prices, when it is installed; no network."
    )
    vendors: dict[str, str] = Field(
        default={},
        description="By provider: whose prices in the catalogue count, where its address does not tell.",
    )
    local: tuple[str, ...] | None = Field(
        default=None, description="Targets that cost nothing; not set: those served by this machine."
    )
    budgets: dict[str, BudgetConfig] = Field(default={}, description="Budgets, by name.")
    assumed_output: int = Field(
        default=1000,
        ge=0,
        description="Output tokens to reserve when nothing bounds them, before experience.",
    )
    tokenizers: dict[str, str] = Field(
        default={},
        description="tokenizer.json files to count with, by target with wildcards (needs tokenizers).",
    )
    tokenize: bool = Field(
        default=False, description="Count with a tokenizer for budgets too; slower than the heuristic."
    )
    preflight: bool = Field(
        default=False, description="Refuse what is larger than the model's context window before sending it."
    )

    @field_validator("prices", "tokenizers")
    @classmethod
    def _are_targets(cls, table: dict[str, object]) -> dict[str, object]:
        for pattern in table:
            if "/" not in pattern and not re.search(r"[*?\[]", pattern):
                raise ValueError(f"{pattern!r} matches no target, they are called provider/model")
        return table
