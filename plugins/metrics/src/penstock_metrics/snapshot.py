"""What happened so far, for people: counts, rates, percentiles, tokens and cost, by provider and model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from penstock.frozen import dataclass
from penstock_metrics import instruments
from penstock_metrics.book import Page
from penstock_metrics.cells import Distribution, merged
from penstock_metrics.instruments import FINE_DURATIONS, Instrument

UNAVAILABLE = (
    "5..|408|429|timeout|connection_error|circuit_open|rate_limited_local|AllTargetsFailed"
    "|ServerError|OverloadedError|RateLimitError|QueueFullError|ModelLoadingError"
)
"""The values of `error.type` that say a service was not there, as in the rules; others are the caller's."""
_UNAVAILABLE = re.compile(UNAVAILABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """
    What the calls to one target did, or those to all.

    Args:
        provider, model: who answered; both "" for all together. A call that reached nobody has its route
            as model and no provider.
        calls: that are over.
        errors: those that failed; cancelled ones did not.
        error_rate: errors by calls.
        availability: the share of calls that did not fail for want of a service.
        p50, p95, p99: seconds of whole calls, None without any.
        first_chunk_p50, first_chunk_p95: seconds to the first content of streams, None without any.
        attempts: requests to the provider.
        attempt_errors: those that failed.
        retries: that were scheduled.
        input_tokens, output_tokens: as providers counted them.
        cost: in US dollars, None when none is known.
        cache_requests: calls that the cache looked up.
        cache_hits: those it answered, stale answers included.
        cache_hit_rate: hits by lookups, None without any.
    """

    provider: str
    model: str
    calls: int
    errors: int
    error_rate: float
    availability: float
    p50: float | None
    p95: float | None
    p99: float | None
    first_chunk_p50: float | None
    first_chunk_p95: float | None
    attempts: int
    attempt_errors: int
    retries: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    cache_requests: int
    cache_hits: int
    cache_hit_rate: float | None

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """
    The numbers of a client at one moment; `str()` of it is a table.

    Args:
        since: when counting began, in seconds since the epoch.
        total: all calls together.
        targets: one for each target, those with the most calls first.
    """

    since: float
    total: Summary
    targets: tuple[Summary, ...]

    def as_dict(self) -> dict[str, Any]:
        """The whole as plain values, for JSON."""
        return {
            "since": self.since,
            "total": self.total.as_dict(),
            "targets": [target.as_dict() for target in self.targets],
        }

    def __str__(self) -> str:
        rows = [_HEAD, *(_row(target) for target in self.targets)]
        if len(self.targets) != 1:
            rows.append(_row(self.total))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
        )


def summarise(pages: Sequence[Page], since: float) -> Snapshot:
    """
    The snapshot of a book.

    Args:
        pages: copies, which are not changed any more.
        since: when counting began, in seconds since the epoch.
    """
    targets = [_summary(page.target.provider, page.target.model, [page]) for page in pages]
    targets.sort(key=lambda target: (-target.calls, target.provider, target.model))
    return Snapshot(since=since, total=_summary("", "", pages), targets=tuple(targets))


def _summary(provider: str, model: str, pages: Sequence[Page]) -> Summary:
    durations = _histograms(pages, instruments.CALL_DURATION)
    calls = sum(cell.count for _, cell in durations)
    failed = [(values[1], cell.count) for values, cell in durations if values[1] not in ("", "cancelled")]
    errors = sum(count for _, count in failed)
    away = sum(count for failure, count in failed if _UNAVAILABLE.fullmatch(failure))
    whole = merged((cell for _, cell in durations), FINE_DURATIONS)
    first = merged((cell for _, cell in _histograms(pages, instruments.FIRST_CHUNK)), FINE_DURATIONS)
    tokens = {"input": 0.0, "output": 0.0}
    for (kind,), cell in _histograms(pages, instruments.TOKEN_USAGE):
        tokens[kind] += cell.total
    results = _tallies(pages, instruments.CACHE_REQUESTS)
    looked_up = int(sum(count for (result,), count in results if result != "bypass"))
    hits = int(sum(count for (result,), count in results if result in ("hit", "stale")))
    costs = _tallies(pages, instruments.COST)
    retries = _tallies(pages, instruments.RETRY_ATTEMPTS)
    return Summary(
        provider=provider,
        model=model,
        calls=calls,
        errors=errors,
        error_rate=errors / calls if calls else 0.0,
        availability=1.0 - away / calls if calls else 1.0,
        p50=whole.percentile(0.50),
        p95=whole.percentile(0.95),
        p99=whole.percentile(0.99),
        first_chunk_p50=first.percentile(0.50),
        first_chunk_p95=first.percentile(0.95),
        attempts=sum(cell.count for _, cell in _histograms(pages, instruments.ATTEMPT_DURATION)),
        attempt_errors=int(sum(count for _, count in _tallies(pages, instruments.ATTEMPT_ERRORS))),
        retries=int(sum(count for (outcome,), count in retries if outcome == "scheduled")),
        input_tokens=int(tokens["input"]),
        output_tokens=int(tokens["output"]),
        cost=sum(amount for _, amount in costs) if costs else None,
        cache_requests=looked_up,
        cache_hits=hits,
        cache_hit_rate=hits / looked_up if looked_up else None,
    )


def _histograms(pages: Iterable[Page], instrument: Instrument) -> list[tuple[tuple[str, ...], Distribution]]:
    return [
        (tuple(values), cell)
        for page in pages
        for (name, *values), cell in page.cells.items()
        if name == instrument.name and isinstance(cell, Distribution)
    ]


def _tallies(pages: Iterable[Page], instrument: Instrument) -> list[tuple[tuple[str, ...], float]]:
    return [
        (tuple(values), cell.value)
        for page in pages
        for (name, *values), cell in page.cells.items()
        if name == instrument.name and not isinstance(cell, Distribution)
    ]


_HEAD = (
    "target",
    "calls",
    "errors",
    "available",
    "p50",
    "p95",
    "p99",
    "attempts",
    "tokens",
    "cost",
    "cached",
)


def _row(summary: Summary) -> tuple[str, ...]:
    name = "/".join(filter(None, (summary.provider, summary.model))) or "all"
    return (
        name,
        str(summary.calls),
        _share(summary.error_rate),
        _share(summary.availability),
        _time(summary.p50),
        _time(summary.p95),
        _time(summary.p99),
        str(summary.attempts),
        str(summary.input_tokens + summary.output_tokens),
        "-" if summary.cost is None else f"${summary.cost:.4f}",
        _share(summary.cache_hit_rate),
    )


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 1.0 else f"{seconds:.1f} s"
