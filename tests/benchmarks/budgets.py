"""The budgets of the design, each beside its measurement."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from environments import ROOT
from soaking.trend import slopes

Results = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Budget:
    """
    One budget.

    Args:
        path: what it is about.
        limit: the bound, in `unit`; None for what is measured later.
        unit: of the bound and the measurement.
        measured: takes the measurement out of the results; KeyError when this run has not made it.
        peer: the same of a peer, for comparison.
    """

    path: str
    limit: float | None
    unit: str
    measured: Callable[[Results], float] | None = None
    peer: Callable[[Results], str] | None = None


def _cpu(mode: str, name: str = "penstock") -> Callable[[Results], float]:
    return lambda results: float(results["modes"][mode][name]["cpu"])


def _ratio(mode: str, name: str = "penstock", to: str = "bare") -> Callable[[Results], float]:
    return lambda results: _cpu(mode, name)(results) / _cpu(mode, to)(results)


def _inside(row: str) -> Callable[[Results], float]:
    return lambda results: float(results["inside"][row])


def _fresh(key: str, scale: float, name: str = "penstock") -> Callable[[Results], float]:
    return lambda results: results["fresh"][name][key] * scale


def _peers(mode: str, *names: str) -> Callable[[Results], str]:
    def text(results: Results) -> str:
        found = results["modes"].get(mode, {})
        return ", ".join(
            f"{name} {found[name]['cpu']:.0f} us" for name in names if "cpu" in found.get(name, {})
        )

    return text


def _peers_ratio(mode: str, *names: str) -> Callable[[Results], str]:
    def text(results: Results) -> str:
        found = results["modes"].get(mode, {})
        bare = found.get("bare", {}).get("cpu")
        shown = [f"{n} {found[n]['cpu'] / bare:.1f}" for n in names if bare and "cpu" in found.get(n, {})]
        return ", ".join(shown)

    return text


def _peers_fresh(key: str, scale: float, unit: str) -> Callable[[Results], str]:
    def text(results: Results) -> str:
        found = results["fresh"]
        names = [name for name in ("openai", "litellm") if name in found]
        return ", ".join(f"{name} {found[name][key] * scale:.0f} {unit}" for name in names)

    return text


def _peers_install(key: str, scale: float) -> Callable[[Results], str]:
    def text(results: Results) -> str:
        found = results["install"]
        names = [name for name in ("openai", "litellm") if name in found]
        return ", ".join(f"{name} {found[name][key] * scale:.0f}" for name in names)

    return text


def _soaked() -> float:
    """The steepest growth of any part in the last soak, which is a run of its own."""
    kept = ROOT / "docs" / "benchmarks" / "soak.json"
    if not kept.exists():
        raise KeyError(kept.name)
    return max(slopes(part)["rss"] for part in json.loads(kept.read_text())["parts"].values())


TURBO = "penstock, turbo"
PEERS = ("openai", "any-llm", "litellm", "litellm Router")
BUDGETS = (
    Budget("pipeline alone, full, blocking", 25, "us", _inside("full")),
    Budget("pipeline alone, full, async", 25, "us", _inside("async full")),
    Budget(
        "blocking call, full", 1.15, "x bare requests", _ratio("blocking"), _peers_ratio("blocking", *PEERS)
    ),
    Budget(
        "async call, full, 64 in flight",
        1.5,
        "x bare aiohttp",
        _ratio("async-64"),
        _peers_ratio("async-64", *PEERS),
    ),
    Budget(
        "async call, full, 512 in flight",
        1.5,
        "x bare aiohttp",
        _ratio("async-512"),
        _peers_ratio("async-512", *PEERS),
    ),
    Budget("blocking call, full, turbo", 120, "us", _cpu("blocking", TURBO), _peers("blocking", *PEERS)),
    Budget("blocking call, full, turbo", 1 / 8, "x openai", _ratio("blocking", TURBO, "openai")),
    Budget("blocking call, full, turbo", 1 / 20, "x litellm", _ratio("blocking", TURBO, "litellm")),
    Budget(
        "async call, full, turbo, 64 in flight",
        130,
        "us",
        _cpu("async-64", TURBO),
        _peers("async-64", *PEERS),
    ),
    Budget("async call, full, turbo, 64 in flight", 1.5, "x bare aiohttp", _ratio("async-64", TURBO)),
    Budget("async call, full, turbo, 64 in flight", 1 / 8, "x openai", _ratio("async-64", TURBO, "openai")),
    Budget(
        "async call, full, turbo, 64 in flight", 1 / 20, "x litellm", _ratio("async-64", TURBO, "litellm")
    ),
    Budget("stream, per event, blocking", 1.5, "x bare", _ratio("stream"), _peers_ratio("stream", *PEERS)),
    Budget(
        "stream, per event, async",
        1.5,
        "x bare",
        _ratio("async-stream"),
        _peers_ratio("async-stream", *PEERS),
    ),
    Budget("cache hit, blocking", 20, "us", _cpu("hit"), _peers("hit", *PEERS[2:], "langchain-openai")),
    Budget(
        "cache hit, async", 25, "us", _cpu("async-hit"), _peers("async-hit", *PEERS[2:], "langchain-openai")
    ),
    Budget("cached replay, per event", 2, "us", _cpu("replay"), _peers("replay", *PEERS[2:])),
    Budget(
        "`import penstock`", 40, "ms of CPU", _fresh("import_cpu", 1e3), _peers_fresh("import_cpu", 1e3, "ms")
    ),
    Budget(
        "import and client, all stages",
        200,
        "ms of CPU",
        _fresh("ready_cpu", 1e3),
        _peers_fresh("ready_cpu", 1e3, "ms"),
    ),
    Budget("RSS after a first call", 50, "MB", _fresh("rss", 1e-6), _peers_fresh("rss", 1e-6, "MB")),
    Budget(
        "install: core, provider, retry",
        25,
        "distributions",
        lambda results: results["install"]["penstock-minimal"]["distributions"],
        _peers_install("distributions", 1),
    ),
    Budget(
        "install: core, provider, retry",
        30,
        "MB",
        lambda results: results["install"]["penstock-minimal"]["bytes"] / 1e6,
        _peers_install("bytes", 1e-6),
    ),
    Budget("10,000 cached answers of 1 KB", 25, "MB", lambda results: results["cached_bytes"] / 1e6),
    # 10 bytes a call: less than the smallest object, so nothing is kept of a call.
    Budget("memory over a million calls (`make soak`)", 1024, "KB per 100,000 calls", lambda _: _soaked()),
    Budget("gateway, full, one worker", None, "requests/s"),
    Budget("Redis round trips", None, "round trips"),
)


DESIGN_US = {"blocking": 454.0, "async-64": 122.0}
"""What bare requests and bare aiohttp took, in us of CPU, where the budgets in time were set."""


def pace(results: Results) -> float | None:
    """How many times as long this machine takes; the budgets in time were set on a quicker or slower one."""
    try:
        shares = [_cpu(mode, "bare")(results) / taken for mode, taken in DESIGN_US.items()]
    except KeyError:
        return None
    return math.prod(shares) ** (1 / len(shares))


def rows(results: Results) -> list[tuple[str, str, str, str, str]]:
    """Path, budget, measurement, verdict and peers, as text."""
    found = []
    slower = pace(results)
    for budget in BUDGETS:
        bound = f"<= {budget.limit:g} {budget.unit}" if budget.limit is not None else budget.unit
        try:
            value = budget.measured(results) if budget.measured is not None else None
        except (KeyError, TypeError):
            found.append((budget.path, bound, "not in this run", "", ""))
            continue
        if value is None or budget.limit is None:
            found.append((budget.path, bound, "later", "", ""))
            continue
        peer = budget.peer(results) if budget.peer is not None else ""
        verdict = "met" if value <= budget.limit else "MISSED"
        measured = f"{value:.3g} {budget.unit.split()[0]}"
        if slower is not None and budget.unit in ("us", "ms of CPU") and verdict == "MISSED":
            measured += f" ({value / slower:.3g} at the design's pace)"
        found.append((budget.path, bound, measured, verdict, peer))
    return found
