"""
What Penstock costs in counts, which no busy machine changes: functions, modules, distributions.

Time is measured by the benchmarks and asserted nowhere. The bounds are about a tenth above what was counted
when they were set; whoever makes something cheaper lowers them.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock_testkit import Simulator

# The bounds

CALLED = {
    "no stage": 91,
    "every stage": 178,
    "guard alone adds": 7,
    "cache alone adds": 40,
    "routing alone adds": 13,
    "cost alone adds": 9,
    "retry alone adds": 6,
    "breaker alone adds": 10,
    "limiter alone adds": 6,
    "a listener adds": 32,
    "four more listeners add": 31,
    "cache hit": 49,
    "event of a stream": 23,
    "event of a cached stream": 7,
    "async: no stage": 95,
    "async: every stage": 182,
    "async: cache hit": 53,
    "async: event of a stream": 21,
}
"""Python functions called for a call, by what is called; counted on 3.11, later versions inline some."""

MODULES = {
    ("blocking", "import"): 5,
    ("blocking", "client"): 455,
    ("blocking", "call"): 155,
    ("async", "import"): 5,
    ("async", "client"): 600,
    ("async", "call"): 8,
}
"""Modules that `import penstock`, then a client with every stage, then its first call add to the process."""

NEVER = ("genai_prices", "httpx", "numpy", "openai", "opentelemetry", "tenacity", "tiktoken", "tokenizers")
FORBIDDEN: dict[tuple[str, str], tuple[str, ...]] = {
    ("blocking", "import"): (
        *("aiohttp", "asyncio", "dataclasses", "inspect", "logging", "pluggy", "pydantic", "requests"),
        *("ssl", "urllib3", *NEVER),
    ),
    ("blocking", "client"): ("certifi", "charset_normalizer", "requests", "urllib3"),
    ("blocking", "call"): ("aiohttp", "aiosignal", "asyncio", "multidict", "yarl", *NEVER),
    ("async", "call"): ("certifi", "charset_normalizer", "requests", "urllib3", *NEVER),
}
"""Packages that are not in the process after a step, by the colour of the client."""

DISTRIBUTIONS = {
    ("penstock",): 11,
    ("penstock", "penstock-openai", "penstock-retry"): 27,
}
"""Distributions that an installation brings, itself included; the budget for the second is 25."""

Counted = dict[str, float]
Imported = Callable[[str], dict[str, set[str]]]
PROBE = Path(__file__).with_name("footprint.py")


def probe(*arguments: str) -> Any:
    """What the probe counts in a process of its own, where nothing else was imported or called."""
    command = [sys.executable, str(PROBE), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def called() -> Counted:
    """Functions called for each call."""
    found: Counted = probe("calls")
    return found


@pytest.fixture(scope="module")
def imported() -> Imported:
    """The modules each step adds, by colour."""
    known: dict[str, dict[str, set[str]]] = {}

    def steps(colour: str) -> dict[str, set[str]]:
        if colour not in known:
            with Simulator().serve() as server:
                found = {step: set(names) for step, names in probe("modules", colour, server.url).items()}
            pairs = itertools.pairwise(found)
            known[colour] = {
                "start": found["start"],
                **{after: found[after] - found[before] for before, after in pairs},
            }
        return known[colour]

    return steps


# Functions


@pytest.mark.parametrize("what", CALLED)
def test_a_call_calls_no_more_functions_than_it_did(called: Counted, what: str) -> None:
    assert called[what] <= CALLED[what], f"{what}: {called[what]:.2f} functions"


def test_every_row_has_a_bound(called: Counted) -> None:
    assert called.keys() == CALLED.keys()


# Modules


@pytest.mark.parametrize(("colour", "step"), MODULES)
def test_a_step_imports_no_more_modules_than_it_did(imported: Imported, colour: str, step: str) -> None:
    assert len(imported(colour)[step]) <= MODULES[colour, step]


@pytest.mark.parametrize(("colour", "step"), FORBIDDEN)
def test_nothing_is_imported_that_is_not_needed(imported: Imported, colour: str, step: str) -> None:
    steps = imported(colour)
    upto = list(steps)[: list(steps).index(step) + 1]
    packages = {name.partition(".")[0] for each in upto for name in steps[each]}
    assert packages.isdisjoint(FORBIDDEN[colour, step]), packages.intersection(FORBIDDEN[colour, step])


# Packages


def closure(names: tuple[str, ...]) -> set[str]:
    """The distributions that an installation of these brings."""
    requirements = pytest.importorskip("packaging.requirements")
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        found.add(name)
        for text in importlib.metadata.requires(name) or ():
            requirement = requirements.Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


@pytest.mark.parametrize("names", DISTRIBUTIONS, ids=" ".join)
def test_an_installation_brings_no_more_distributions_than_it_did(names: tuple[str, ...]) -> None:
    assert len(closure(names)) <= DISTRIBUTIONS[names], sorted(closure(names))
