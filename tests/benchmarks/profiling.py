"""
Where the time goes, by function, where a budget is missed.

    python profiling.py pipeline             # the full pipeline, a provider that answers at once
    python profiling.py hit                  # a cache hit
    python profiling.py async ADDRESS        # full async calls, 64 in flight, to the upstream at ADDRESS

Runs in Penstock's own environment. A profile makes calls of Python functions dearer than they are and leaves
C functions as they are, so it is for reading shares, not times.
"""

from __future__ import annotations

import asyncio
import cProfile
import io
import pstats
import re
import sys
from collections.abc import Callable
from typing import Any

from environments import STAGES

CALLS, LINES = 3000, 30
FOLDERS = re.compile(r"\S*/(?:site-packages|lib/python[\d.]+|benchmarks)/")


def profiled(calls: Callable[[int], Any]) -> str:
    """The functions that take most of so many calls, the dearest first."""
    calls(CALLS)
    profile = cProfile.Profile()
    profile.enable()
    calls(CALLS)
    profile.disable()
    told = io.StringIO()
    pstats.Stats(profile, stream=told).sort_stats("tottime").print_stats(LINES)
    return FOLDERS.sub("", told.getvalue())


def pipeline() -> str:
    """Misses through every stage."""
    from inside import blocking

    with blocking(STAGES) as calls:
        return profiled(calls)


def hit() -> str:
    """Hits."""
    from candidates.prompts import messages
    from inside import model, options

    from penstock import Client

    repeated, name = messages(), model(STAGES)
    with Client(**options(STAGES)) as client:

        def calls(count: int) -> None:
            for _ in range(count):
                client.chat(name, repeated, temperature=0)

        return profiled(calls)


def over_http(address: str) -> str:
    """Full async calls."""
    from candidates.own import Full
    from modes import BY_NAME
    from worker import Rounds

    full, mode = Full(address), BY_NAME["async-64"]
    with asyncio.Runner() as runner:
        told = profiled(Rounds(mode, full.async_call(mode), runner).calls)
        runner.run(_closed(full))
    return told


async def _closed(full: Any) -> None:
    await full.close()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["pipeline"]:
            print(pipeline())
        case ["hit"]:
            print(hit())
        case ["async", where]:
            print(over_http(where))
        case _:
            print(__doc__)
