"""Rounds in turns: every candidate in a process of its own, A B C A B C, medians of CPU and wall time."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, Self

from compared import Candidate
from environments import ENVIRONMENTS
from modes import Mode

HERE = Path(__file__).parent
ENVIRON = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Programs keep their bytecode, so candidates do too."""
PYTHON = {environment.name: str(environment.python) for environment in ENVIRONMENTS}


class Upstream:
    """The upstream's process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "upstream.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRON,
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()

    def told(self) -> dict[str, Any]:
        """Requests it has received, and seconds of CPU it has used."""
        with urllib.request.urlopen(f"{self.address}/control") as response:
            answer: dict[str, Any] = json.load(response)
        return answer

    def ceiling(self) -> dict[str, float]:
        """Answers a second it gives to the cheapest client there is, and its CPU for each."""
        before = self.told()
        command = [sys.executable, str(HERE / "upstream.py"), "load", self.address]
        done = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        after = self.told()
        answers = after["requests"] - before["requests"]
        return {
            "per_second": done["answers"] / done["seconds"],
            "cpu_us": (after["cpu"] - before["cpu"]) / answers * 1e6,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        _end(self._process)


class Worker:
    """One candidate's process."""

    def __init__(self, candidate: Candidate, address: str) -> None:
        self.name = candidate.name
        self._process = subprocess.Popen(
            [PYTHON[candidate.environment], str(HERE / "worker.py"), candidate.name, address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=ENVIRON,
        )

    def answer(self) -> dict[str, Any]:
        """What it says next; an error when it is gone."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else {"error": "its process ended"}

    def ask(self, *command: Any) -> dict[str, Any]:
        """Send a command and wait for the answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return {"error": "its process ended"}
        return self.answer()

    def close(self) -> None:
        """End the process."""
        _end(self._process)


def _end(process: subprocess.Popen[str]) -> None:
    # There is nothing to save, and what libraries do at exit may take seconds.
    process.kill()
    process.communicate()


def measure(
    mode: Mode, workers: list[Worker], upstream: Upstream, rounds: int, seconds: float
) -> dict[str, dict[str, Any]]:
    """
    Go through one mode with every candidate in turns.

    Returns:
        By candidate: microseconds of CPU and wall time for one unit (medians of the rounds, and the least
        CPU), requests that reached the upstream for each call; or `error`. Candidates without this mode are
        absent. A candidate that takes several times longer than planned makes fewer rounds.
    """
    counts: dict[str, int] = {}
    found: dict[str, dict[str, Any]] = {}
    for worker in workers:
        opened = worker.ask("open", mode.name, seconds)
        if "count" in opened:
            counts[worker.name] = opened["count"]
        elif "error" in opened:
            found[worker.name] = opened
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in counts}
    requests = dict.fromkeys(counts, 0)
    for number in range(rounds):
        for worker in workers:
            name = worker.name
            if name not in counts:
                continue
            spent = sum(done["wall"] for done in taken[name])
            if number and spent > 2 * rounds * seconds:
                continue
            before = upstream.told()["requests"]
            done = worker.ask("round", counts[name])
            requests[name] += upstream.told()["requests"] - before
            if "error" in done:
                found[name] = done
                del counts[name]
            else:
                taken[name].append(done)
    for worker in workers:
        worker.ask("close")
    for name, count in counts.items():
        found[name] = _summary(taken[name], count, requests[name], mode)
    return found


def _summary(taken: list[dict[str, Any]], count: int, requests: int, mode: Mode) -> dict[str, Any]:
    if mode.kind in ("hit", "async_hit", "replay") and requests:
        return {"error": "its cache does not serve this"}
    scale = 1e6 / (count * mode.units)
    cpu = [done["cpu"] * scale for done in taken]
    return {
        "cpu": statistics.median(cpu),
        "cpu_least": min(cpu),
        "wall": statistics.median(done["wall"] * scale for done in taken),
        "requests": requests / (count * len(taken)),
        "calls": count * len(taken),
    }


def fresh(
    candidates: list[Candidate], upstream: Upstream, rounds: int, *, warm: bool
) -> dict[str, dict[str, float]]:
    """Import, build, first call and memory of fresh processes, in turns; medians."""
    taken: dict[str, list[dict[str, float]]] = {candidate.name: [] for candidate in candidates}
    for number in range(rounds + warm):
        for candidate in candidates:
            command = [
                PYTHON[candidate.environment],
                str(HERE / "fresh.py"),
                candidate.name,
                upstream.address,
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRON)
            if done.returncode == 0 and number >= warm:  # the first writes bytecode and fills caches
                taken[candidate.name].append(json.loads(done.stdout.splitlines()[-1]))
    return {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for name, runs in taken.items()
        if runs
    }


def inside(*arguments: str) -> Any:
    """What `inside.py` finds out, in Penstock's own environment."""
    command = [PYTHON["penstock"], str(HERE / "inside.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRON)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return {}
    return json.loads(done.stdout)
