"""What `[cache]` may say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from penstock.config import Bytes, Config, Env, Seconds, StageConfig
from penstock.errors import InvalidRequestError
from penstock.redaction import raise_alone
from penstock_cache.policy import Mode

WHOLE_CACHE = ("store", "path", "max_entries", "max_bytes", "negative")
"""Keys that describe the one cache behind all places; overrides for routes and targets cannot change them."""


class CacheConfig(StageConfig):
    """Which answers are remembered, for how long, and where."""

    enabled: Annotated[bool, Env("CACHE_ENABLED")] = Field(
        default=True, description="Switch the stage off here without removing it."
    )
    mode: Mode = Field(
        default="conservative",
        description="Which calls are cached: `conservative` (embeddings, and chat with an explicit "
        "temperature of 0, one choice and no tools), `selective` (what `models` or the call names), "
        "`aggressive` (all), `disabled`.",
    )
    models: tuple[str, ...] = Field(
        default=(), description="Targets or routes, as globs, whose calls are cached in every mode."
    )
    ttl: Annotated[Seconds | None, Env("CACHE_TTL")] = Field(
        default=None, gt=0, description="How long every answer is fresh; left out, its content decides."
    )
    min_ttl: Seconds = Field(default=30.0, gt=0, description="The shortest life the content can decide on.")
    max_ttl: Seconds = Field(default=3600.0, gt=0, description="The longest life the content can decide on.")
    jitter: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share by which a life that the content decided on is shortened at random, so that "
        "answers of one moment do not expire in one moment.",
    )
    ttl_rule: str = Field(
        default="penstock_cache.ttl:content_ttl",
        pattern=r"^[\w.]+:\w+$",
        description="The function that decides on the life of an answer, as `package.module:function`.",
    )
    stale_while_revalidate: Seconds | None = Field(
        default=None,
        ge=0,
        description="How long an expired answer is still given while a new one is fetched behind the "
        "scenes; left out, 1 h in `aggressive` mode, else 0.",
    )
    stale_if_error: Seconds | None = Field(
        default=None,
        ge=0,
        description="How long an expired answer is given when no new one can be had; left out, 24 h in "
        "`aggressive` mode, else 0.",
    )
    negative: bool = Field(
        default=False,
        description="Remember errors that would only repeat (model not found, context too long) for 30 s.",
    )
    namespace: str = Field(
        default="", description="Separates applications or tenants that share a store; goes into every key."
    )
    store: str = Field(
        default="memory", description="Where answers are kept: `memory`, `sqlite`, or an installed store."
    )
    path: str | None = Field(default=None, description="The file of the `sqlite` store.")
    max_entries: Annotated[int, Env("CACHE_MAX_SIZE")] = Field(
        default=1000, ge=1, description="Answers kept; the least recently used leave first."
    )
    max_bytes: Bytes = Field(default=64 * 2**20, ge=1, description="Bytes kept, as stored.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_ttl > self.max_ttl:
            raise ValueError("min_ttl must not be above max_ttl")
        return self

    def stale_windows(self) -> tuple[float, float]:
        """Seconds past its life in which an answer may be given while revalidating, and on errors."""
        aggressive = self.mode == "aggressive"
        revalidate, on_error = self.stale_while_revalidate, self.stale_if_error
        return (
            revalidate if revalidate is not None else 3600.0 * aggressive,
            on_error if on_error is not None else 86_400.0 * aggressive,
        )


class CallOptions(Config):
    """What one call may say: `cache=True`, `cache="refresh"`, or `cache={...}` with these keys."""

    ttl: Seconds | None = Field(
        default=None, ge=0, description="How long this answer is fresh, 0 for not kept; caches the call."
    )
    refresh: bool = Field(
        default=False, description="Ask upstream in any case and keep the answer; caches the call."
    )
    namespace: str = Field(default="", description="Separates this call from others, such as by tenant.")
    wanted: bool = Field(default=False, description="Cache this call whatever the mode.")


NO_OPTIONS = CallOptions()
_WANTED = CallOptions(wanted=True)
_REFRESH = CallOptions(wanted=True, refresh=True)


def read_options(given: Any) -> CallOptions:
    """
    What a call says to the cache.

    Raises:
        InvalidRequestError: it is nothing a cache could do.
    """
    if given is True:
        return _WANTED
    if given is None:
        return NO_OPTIONS
    if given == "refresh":
        return _REFRESH
    if not isinstance(given, Mapping):
        raise InvalidRequestError(
            "cache: must be True, False, 'refresh' or a mapping with ttl, refresh, namespace, wanted",
            param="cache",
        )
    try:
        options = CallOptions.model_validate(dict(given))
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(map(str, ("cache", *problem["loc"])))
        raise_alone(InvalidRequestError(f"{place}: {problem['msg']}", param="cache"))
    wanted = options.wanted or options.refresh or options.ttl is not None
    return options if wanted is options.wanted else options.model_copy(update={"wanted": True})
