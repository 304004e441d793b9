"""
The soak: a million calls and a hundred thousand streams through every stage, while much goes wrong.

    python tests/benchmarks/soak.py [--calls N] [--streams N] [--keep]

Four parts, each in a process of its own: threads and asyncio, within the process and over loopback sockets.
After each batch of calls everything is counted that could grow, and everything that should have been given
back. A flood of made-up names shows that what they fill is bounded. Takes about 20 minutes and writes
docs/benchmarks/soak.md and soak.json; with fewer calls, or `--keep`, it writes nothing. The exit status is 1
when something grows or is held.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench import machine
from environments import ROOT
from report import plain
from soaking.verdict import markdown, summary, tables_of

HERE = Path(__file__).parent
DOCS = ROOT / "docs" / "benchmarks"
CALLS, STREAMS = 1_000_000, 100_000
FLOOD = 24_000
SHARES = {
    # Of the calls, of the streams; samples.
    "blocking": (0.38, 0.35, 40),
    "async": (0.38, 0.35, 40),
    "blocking over sockets": (0.12, 0.15, 40),
    "async over sockets": (0.12, 0.15, 40),
}
PACKAGES = ("penstock", "requests", "aiohttp", "pluggy", "pydantic", "opentelemetry-api")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=CALLS, help="plain calls of all parts together")
    parser.add_argument("--streams", type=int, default=STREAMS, help="streamed calls of all parts together")
    parser.add_argument("--keep", action="store_true", help="keep docs/benchmarks as it is")
    given = parser.parse_args()
    begun = time.perf_counter()
    results: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(),
        "versions": versions(),
        "calls": given.calls,
        "streams": given.streams,
        "parts": {},
    }
    # Two at a time: what is measured is growth, which no neighbour changes.
    for names in (("blocking", "async"), ("blocking over sockets", "async over sockets")):
        running = {}
        for name in names:
            calls, streams, samples = SHARES[name]
            print(f"{time.perf_counter() - begun:4.0f} s  {name}", flush=True)
            numbers = (round(given.calls * calls), round(given.streams * streams), samples)
            running[name] = start("part.py", name, *map(str, numbers))
        for name, process in running.items():
            results["parts"][name] = result(process) | {"streams": round(given.streams * SHARES[name][1])}
    print(f"{time.perf_counter() - begun:4.0f} s  a flood of names", flush=True)
    results["flood"] = result(start("flood.py", str(FLOOD)))
    results["machine"]["load_after"] = os.getloadavg()[0]
    results["took"] = time.perf_counter() - begun
    for title, table in tables_of(results):
        print(f"\n{title}\n{plain(table)}")
    good, sentence = summary(results)
    print(f"\n{sentence}; took {results['took']:.0f} s")
    if (given.calls, given.streams) == (CALLS, STREAMS) and not given.keep:
        (DOCS / "soak.json").write_text(json.dumps(results, indent=1) + "\n")
        (DOCS / "soak.md").write_text(markdown(results))
        print("written: docs/benchmarks/soak.md, soak.json")
    return 0 if good else 1


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    """Run one part."""
    command = [sys.executable, str(HERE / "soaking" / script), *arguments]
    environ = {**os.environ, "PYTHONPATH": str(HERE)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)


def result(process: subprocess.Popen[str]) -> Any:
    """What a part has found out; it is over then."""
    told, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{process.args!r} ended with {process.returncode}")
    return json.loads(told)


def versions() -> dict[str, str]:
    """Of Penstock and what it is made of."""
    from importlib.metadata import version

    return {name: version(name) for name in PACKAGES}


if __name__ == "__main__":
    sys.exit(main())
