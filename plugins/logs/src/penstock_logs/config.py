"""What `[logs]` may say."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from penstock.config import Bytes, Config, Env

_TRUE = frozenset({"1", "true", "yes", "on", "json"})
_FALSE = frozenset({"0", "false", "no", "off", "text"})
_ALIASES = {"WARN": "WARNING", "FATAL": "CRITICAL"}


def _upper(value: Any) -> Any:
    return _ALIASES.get(value.upper(), value.upper()) if isinstance(value, str) else value


def _format(text: str) -> str:
    """What LOG_JSON means; an unknown word is refused by the field."""
    word = text.strip().lower()
    return "json" if word in _TRUE else "text" if word in _FALSE else text


Level = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]


class LogsConfig(Config):
    """
    Where records go, and which. As long as neither level, file nor format is set, nothing is set up: the
    records go where the application sends them.
    """

    enabled: bool = Field(default=True, description="Switch the logs of calls off without removing them.")
    level: Annotated[Level | None, Env("LOG_LEVEL")] = Field(
        default=None, description="The least severe records that are shown; INFO once anything is set."
    )
    format: Annotated[Literal["text", "json"] | None, Env("LOG_JSON", _format)] = Field(
        default=None, description="A line for people, or an object of JSON in each line."
    )
    file: Annotated[str | None, Env("LOG_FILE")] = Field(
        default=None, description="Write to this file, rotated, instead of stderr."
    )
    max_bytes: Bytes = Field(
        default=10_000_000, ge=0, description="Begin a new file when this one would become larger; 0 never."
    )
    backups: int = Field(default=5, ge=0, description="Older files that are kept.")
    stderr: bool | None = Field(
        default=None, description="Write to stderr; left out, where there is no file."
    )
    loggers: tuple[str, ...] = Field(
        default=("penstock", "urllib3", "requests", "aiohttp", "asyncio"),
        min_length=1,
        description="The loggers whose records are taken, those below them included; `root` is all.",
    )
    existing: Literal["redact", "keep", "replace"] = Field(
        default="redact",
        description="The application's own handlers: mask secrets in what they write, leave them as they "
        "are, or take them away until the client is closed.",
    )

    @property
    def active(self) -> bool:
        """Whether anything is to be set up."""
        return self.level is not None or self.format is not None or self.file is not None or bool(self.stderr)
