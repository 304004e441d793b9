"""One figure of growth: CPU and Python functions for each call, and memory for each thing that is kept."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from penstock import Call, ChatResponse, Choice, ProviderSpec, Reply, Usage, hookimpl
from penstock.config import Config

RESPONSE = ChatResponse(
    choices=(Choice(text="A gated pipe.", finish_reason="stop"),), usage=Usage(19, 4), model="m"
)
STAGES = ("guard", "cache", "routing", "cost", "retry", "breaker", "limiter")
Calls = Callable[[int], None]


class Instant:
    """A provider that answers at once."""

    base_url = "http://instant.invalid"

    async def send(self, call: Call) -> Reply:
        return Reply(RESPONSE)


def plugin(provider: Any) -> Any:
    """A plugin with one provider, `instant`, for the configuration's `providers` too."""

    class Plugin:
        @hookimpl
        def penstock_register_providers(self) -> list[ProviderSpec]:
            return [ProviderSpec(name="instant", config=Config, create=lambda config, services: provider)]

    return Plugin()


def options(pipeline: tuple[str, ...], provider: Any = None, **config: Any) -> dict[str, Any]:
    """Arguments of a client."""
    return {
        "config": {"pipeline": list(pipeline), **config},
        "environ": {},
        "plugins": [("instant", plugin(provider or Instant()))],
    }


def cpu(calls: Calls, count: int, rounds: int = 3) -> float:
    """Microseconds of CPU for each of `count` calls; the median of the rounds, after one to warm up."""
    taken = []
    for number in range(rounds + 1):
        gc.collect()
        begun = time.process_time()
        calls(count)
        if number:
            taken.append((time.process_time() - begun) / count * 1e6)
    return statistics.median(taken)


def functions(calls: Calls, count: int) -> float:
    """Python functions called for each of `count` calls; the same in every run."""
    called = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal called
        called += event == "call"

    sys.setprofile(profile)
    calls(count)
    sys.setprofile(None)
    return called / count


def figures(calls: Calls, count: int, rounds: int = 3) -> dict[str, float]:
    """CPU and functions for each call."""
    return {"cpu_us": cpu(calls, count, rounds), "functions": functions(calls, count)}
