"""
One candidate in a process of its own: does rounds of calls on command and tells what they cost.

    python worker.py CANDIDATE ADDRESS

Commands come as JSON lines on standard input: `["open", mode, seconds]` prepares a mode, warms it up and
answers with the number of calls that take about so long; `["round", count]` makes so many calls and answers
with CPU and wall seconds; `["close"]` ends the mode. CPU is the whole process's, all threads included.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from compared import load
from modes import BY_NAME, Mode


class Rounds:
    """The calls of one open mode."""

    def __init__(self, mode: Mode, call: Callable[[], Any], runner: asyncio.Runner) -> None:
        self._mode = mode
        self._call = call
        self._runner = runner

    def calls(self, count: int) -> tuple[float, float]:
        """Make so many calls; seconds of CPU and of wall time."""
        mode = self._mode
        gc.collect()
        cpu, wall = time.process_time(), time.perf_counter()
        if mode.in_flight:
            self._runner.run(_tasks(self._call, count, mode.in_flight))
        elif mode.threads > 1:
            _threads(self._call, count, mode.threads)
        else:
            for _ in range(count):
                self._call()
        return time.process_time() - cpu, time.perf_counter() - wall

    def fitting(self, seconds: float) -> int:
        """Warm up; how many calls take about so long."""
        width = self._mode.width
        taken = self.calls(width)[1]
        if taken < seconds:
            taken = self.calls(count := max(width, 8))[1]
            while taken < seconds / 4:
                count *= 3
                taken = self.calls(count)[1]
        else:
            count = width
        return max(width, 1, min(20_000, int(count * seconds / taken)))


async def _tasks(call: Callable[[], Awaitable[Any]], count: int, in_flight: int) -> None:
    left = iter(range(count))

    async def caller() -> None:
        for _ in left:
            await call()

    if in_flight == 1:
        await caller()
    else:
        await asyncio.gather(*(caller() for _ in range(min(in_flight, count))))


def _threads(call: Callable[[], Any], count: int, number: int) -> None:
    left = iter(range(count))
    failures: list[Exception] = []

    def caller() -> None:
        try:
            for _ in left:
                call()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=caller) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def serve(name: str, address: str) -> None:
    """Obey until standard input closes."""
    # What libraries print must not end up between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def tell(answer: Any) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    candidate = load(name, address)
    rounds: Rounds | None = None
    with asyncio.Runner() as runner:
        tell({"ready": True})
        for line in sys.stdin:
            try:
                match json.loads(line):
                    case ["open", mode_name, seconds]:
                        mode = BY_NAME[mode_name]
                        prepare = getattr(candidate, mode.kind, None)
                        if prepare is None:
                            tell({"without": True})
                            continue
                        rounds = Rounds(mode, prepare(mode), runner)
                        tell({"count": rounds.fitting(seconds)})
                    case ["round", count] if rounds is not None:
                        cpu, wall = rounds.calls(count)
                        tell({"cpu": cpu, "wall": wall})
                    case ["close"]:
                        rounds = None
                        closing = candidate.close()
                        if closing is not None:
                            runner.run(closing)
                        tell({})
            except Exception as error:
                tell({"error": f"{type(error).__name__}: {error}"[:300]})


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
