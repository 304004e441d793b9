"""
The types a plugin writes its configuration model with.

`Config` is the base of every model, `StageConfig` that of a stage. `Seconds`, `Rate` and `Bytes` accept what
people write ("1h", "10/s", "64MiB") and give plain numbers. No message echoes the value it refuses: it may be
a secret in the wrong place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import core_schema

from penstock.frozen import dataclass

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler

_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_BYTES = {"b": 1} | {
    f"{prefix}{infix}b": base**power
    for power, prefix in enumerate("kmgt", start=1)
    for infix, base in (("", 1000), ("i", 1024))
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)?")
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:/\s*(s|min|m|h|d))?")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?b)?", re.IGNORECASE)
_UNIT_NAMES = {1.0: "s", 60.0: "min", 3600.0: "h", 86400.0: "d"}


def _number(value: object) -> float | None:
    """The value as a float; None for what is no number, and for an integer no float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return None if math.isnan(number) else number


def _seconds(value: object) -> float:
    number = _number(value)
    if isinstance(value, timedelta):
        number = value.total_seconds()
    elif isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        number = float(match[1]) * _MILLISECONDS[match[2] or "s"] / 1000
    if number is None or number < 0:
        raise ValueError("expected a duration such as 500ms, 20s, 5m, 1h or 2d, or a number of seconds")
    return number


def _bytes(value: object) -> int:
    number = _number(value)
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        number = float(match[1]) * _BYTES[(match[2] or "b").lower()]
    if number is None or number < 0 or not number.is_integer():
        raise ValueError("expected a size such as 512KB or 64MiB, or a whole number of bytes")
    return int(number)


Seconds = Annotated[
    float,
    BeforeValidator(_seconds),
    WithJsonSchema({"type": ["number", "string"], "pattern": rf"^{_DURATION.pattern}$", "minimum": 0}),
]
"""A duration as float seconds, from a number or "500ms", "20s", "5m", "1h", "2d"; `inf` is without limit."""

Bytes = Annotated[
    int,
    BeforeValidator(_bytes),
    WithJsonSchema({"type": ["integer", "string"], "pattern": r"^\d+(\.\d+)?\s*([kKmMgGtT]?i?[bB])?$"}),
]
"""A size as int bytes, from a number or "1KB" (1000) or "64MiB" (powers of 1024)."""


@dataclass(frozen=True, slots=True)
class Rate:
    """
    So many of something in a stretch of time; written "10/s", "30000/min", "5/h", or a number for per second.

    Args:
        count: how many, above zero.
        per: in how many seconds.
    """

    count: float
    per: float = 1.0

    @property
    def per_second(self) -> float:
        return self.count / self.per

    @classmethod
    def parse(cls, value: object) -> Rate:
        """Raises ValueError when `value` is no rate."""
        if isinstance(value, Rate):
            return value
        number, per = _number(value), 1.0
        if isinstance(value, str) and (match := _RATE.fullmatch(value.strip())):
            number, per = float(match[1]), _MILLISECONDS[match[2] or "s"] / 1000
        if number is None or not 0 < number < math.inf:
            raise ValueError("expected a rate such as 10/s, 30000/min or 5/h, or a number for each second")
        return cls(number, per)

    def __str__(self) -> str:
        return f"{self.count:g}/{_UNIT_NAMES.get(self.per, f'{self.per:g} s')}"

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": ["number", "string"], "pattern": rf"^{_RATE.pattern}$", "exclusiveMinimum": 0}


@dataclass(frozen=True, slots=True)
class Env:
    """
    The short environment name people know for a field: `ttl: Annotated[Seconds, Env("CACHE_TTL")]`.

    A field may have several; the first one that is set and not empty counts.

    Args:
        name: the variable.
        convert: turns its text into the field's value, None for "says nothing about this field"; after a
            ValueError the text itself is validated, so the message is the field's own.
    """

    name: str
    convert: Callable[[str], Any] | None = None


class Config(BaseModel):
    """The base of every configuration model: frozen, strict about names, silent about values."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    @classmethod
    def defaults(cls) -> Self:
        """One that says nothing; unlike `cls()` it builds no validator, which takes a millisecond."""
        return cls.model_construct()


class StageConfig(Config):
    """The base of a stage's configuration."""

    enabled: bool = Field(default=True, description="Switch the stage off here without removing it.")
    force: bool = Field(
        default=False, description="Accept a place in the pipeline that the order check refuses."
    )
