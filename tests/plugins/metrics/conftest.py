"""A run with faults that touches every instrument, and a reader of Prometheus' text."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from penstock.call import Target
from penstock.errors import CallError
from penstock.events import CallStarted, CostRecorded
from penstock.responses import Usage
from penstock_testkit import Simulator, faults

SERIES = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
PROVIDERS = {
    name: {"plugin": "openai", "api_key": f"sk-{name}-0123456789", "base_url": f"http://{name}.test/v1"}
    for name in ("main", "spare", "shut")
}


class Series:
    """The series of an exposition, found by name and some of their labels."""

    def __init__(self, text: str) -> None:
        self.all: list[tuple[str, dict[str, str], float]] = []
        for line in text.splitlines():
            if not line.startswith("#"):
                name, labels, value = SERIES.fullmatch(line).groups()  # type: ignore[union-attr]
                self.all.append((name, dict(LABEL.findall(labels or "")), float(value)))

    def sum(self, name: str, **labels: str) -> float:
        """The sum of the series that have these labels; an empty one must be absent."""
        return sum(
            value
            for each, its, value in self.all
            if each == name and all(its.get(key, "") == wanted for key, wanted in labels.items())
        )

    def labels(self, name: str) -> set[str]:
        """The names of all labels of a metric, its buckets aside."""
        return {key for each, its, _ in self.all if each == name for key in its}

    def values(self, name: str, label: str) -> set[str]:
        """The values a label has."""
        return {its.get(label, "") for each, its, _ in self.all if each == name}


class Run:
    """What happened in a run with faults, counted by the simulator and by the one who asked."""

    def __init__(self, world: Any, simulator: Simulator) -> None:
        self.world = world
        self.simulator = simulator
        self.calls = 0
        self.failed: list[str] = []
        self.refused = 0

    @property
    def metrics(self) -> Any:
        return self.world.client.listener("metrics")

    def series(self) -> Series:
        return Series(self.metrics.exposition())

    def ask(self, model: str, text: str = "Hello", **parameters: Any) -> None:
        self.calls += 1
        try:
            self.world.chat(text, model=model, **parameters)
        except CallError as error:
            self.failed.append(type(error).__name__)
            if not error.attempts:
                self.refused += 1


@pytest.fixture
def series() -> type[Series]:
    """Reads an exposition."""
    return Series


@pytest.fixture
def make_run(make_world: Callable[..., Any]) -> Callable[..., Run]:
    """A run with faults in a colour: every stage, every instrument."""

    def make(colour: str = "blocking") -> Run:
        simulator = Simulator(
            script={
                "first": [faults.status(503), faults.ok(), faults.status(429, retry_after=1.0)],
                "locked": [faults.status(401)],
                "broken": [faults.status(500)] * 20,
                "streamed": [faults.cut(after=0), faults.ok(), faults.cut(after=2)],
            }
        )
        world = make_world(
            colour,
            simulator=simulator,
            providers=PROVIDERS,
            pipeline=["cache", "routing", "retry", "breaker", "limiter"],
            routes={"fast": {"targets": ["shut/locked", "spare/second"]}},
            limiter={
                "targets": {
                    "*/slow": {"rate": "1/s", "burst": 1},
                    "*/strict": {"rate": "1/min", "burst": 1, "max_wait": 0},
                }
            },
            metrics={},
        )
        run = Run(world, simulator)
        run.ask("main/first", "one", temperature=0)  # retried
        run.ask("main/first", "one", temperature=0)  # from the cache
        run.ask("main/first", "two", temperature=0)  # throttled, then answered
        run.calls += 1
        world.embed(["a", "b"], model="main/vectors")
        run.ask("fast")  # fails over from a locked target
        run.ask("fast")  # whose credential rests now
        for _ in range(4):
            run.ask("spare/broken")  # opens its breaker
        for model in ("slow", "slow", "strict", "strict"):
            run.ask(f"spare/{model}")
        for _ in range(2):
            run.calls += 1
            with contextlib.suppress(CallError):
                world.stream(model="spare/streamed")
        world.events.clear()
        run.ask("main/priced")
        started = next(event for event in world.events if isinstance(event, CallStarted))
        run.metrics(
            CostRecorded(
                0.0,
                started.call,
                Target("main", "priced"),
                Decimal("0.25"),
                "calculated",
                "table",
                Usage(1, 2),
            )
        )
        return run

    return make
