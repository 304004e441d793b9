"""
The benchmarks: Penstock beside what else there is, and every budget of the design beside its measurement.

    python tests/benchmarks/bench.py [--quick] [--only CANDIDATE,...] [--upgrade] [--keep]

A full run takes about six minutes and writes docs/benchmarks; `--quick` takes one, with fewer candidates and
modes, and writes nothing. `--only` compares these alone; `--upgrade` installs the peers' newest versions;
`--keep` writes nothing either.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import time
from pathlib import Path
from typing import Any

import chart
import report
from compared import CANDIDATES, Candidate
from environments import ENVIRONMENTS, ROOT, prepare, size, versions
from modes import MODES
from series import Upstream, Worker, fresh, inside, measure

DOCS = ROOT / "docs" / "benchmarks"


def main() -> None:
    given = arguments()
    rounds, seconds = (2, 0.1) if given.quick else (5, 0.25)
    begun = time.perf_counter()
    wanted = [
        candidate
        for candidate in CANDIDATES
        if (candidate.name in given.only if given.only else candidate.quick or not given.quick)
    ]
    candidates, skipped = ready(wanted, upgrade=given.upgrade)
    results: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(),
        "rounds": rounds,
        "seconds": seconds,
        "skipped": skipped,
        "versions": named_versions(candidates),
        "install": {e.name: size(e) for e in ENVIRONMENTS if e.name in {c.environment for c in candidates}},
        "modes": {},
    }
    with Upstream() as upstream:
        results["ceiling"] = upstream.ceiling()
        print(report.ceiling(results), flush=True)
        results["modes"] = compare(candidates, upstream, rounds, seconds, quick=given.quick)
        progress("fresh processes", begun)
        once = list({(c.environment, c.module): c for c in reversed(candidates)}.values())[::-1]
        results["fresh"] = fresh(once, upstream, 1 if given.quick else 3, warm=not given.quick)
    if any(candidate.environment == "penstock" for candidate in candidates):
        progress("the pipeline alone", begun)
        results["inside"] = inside("rows", *(("300", "3") if given.quick else ("1000", "7")))
        results["cached_bytes"] = inside("memory")
    results["machine"]["load_after"] = os.getloadavg()[0]
    results["took"] = time.perf_counter() - begun
    show(results)
    if not (given.quick or given.only or given.keep):
        write(results)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one minute, not six; writes nothing")
    # Some names hold a comma with a space behind it.
    parser.add_argument("--only", type=re.compile(",(?! )").split, default=[], help="these candidates alone")
    parser.add_argument("--upgrade", action="store_true", help="install the peers anew")
    parser.add_argument("--keep", action="store_true", help="keep docs/benchmarks as it is")
    return parser.parse_args()


def ready(wanted: list[Candidate], *, upgrade: bool) -> tuple[list[Candidate], dict[str, str]]:
    """Set environments up; the candidates that can run, and why others cannot."""
    broken: dict[str, str] = {}
    needed = {candidate.environment for candidate in wanted}
    for environment in ENVIRONMENTS:
        if environment.name in needed:
            failure = prepare(environment, upgrade=upgrade and not environment.own)
            if failure is not None:
                broken[environment.name] = f"cannot be installed here ({failure})"
    for name, why in broken.items():
        print(f"left out: {name} {why}", flush=True)
    skipped = {c.name: broken[c.environment] for c in wanted if c.environment in broken}
    return [candidate for candidate in wanted if candidate.environment not in broken], skipped


def compare(
    candidates: list[Candidate], upstream: Upstream, rounds: int, seconds: float, *, quick: bool
) -> dict[str, Any]:
    """Go through all modes, every candidate in its own process."""
    begun = time.perf_counter()
    workers = [Worker(candidate, upstream.address) for candidate in candidates]
    try:
        for worker in [*workers]:
            if "ready" not in worker.answer():
                print(f"{worker.name} does not start", flush=True)
                workers.remove(worker)
                worker.close()
        found = {}
        for mode in MODES:
            if mode.quick or not quick:
                progress(mode.label, begun)
                found[mode.name] = measure(mode, workers, upstream, rounds, seconds)
        return found
    finally:
        for worker in workers:
            worker.close()


def progress(what: str, begun: float) -> None:
    """Say what comes next."""
    print(f"{time.perf_counter() - begun:4.0f} s  {what}", flush=True)


def machine() -> dict[str, Any]:
    """Where this runs."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        cpu = models[0] if models else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def named_versions(candidates: list[Candidate]) -> dict[str, str]:
    """By candidate, the versions of what it is made of."""
    by_environment = {
        e.name: versions(e) for e in ENVIRONMENTS if e.name in {c.environment for c in candidates}
    }
    return {
        candidate.name: ", ".join(
            f"{name} {by_environment[candidate.environment].get(name, '?')}"
            for name in candidate.distributions
        )
        for candidate in candidates
    }


def show(results: dict[str, Any]) -> None:
    """Print every table."""
    for title, table in report.tables(results):
        print(f"\n{title}\n{report.plain(table)}")
    for note in report.failures(results):
        print(f"note: {note}")
    print(f"\n{report.machine(results)}; took {results['took']:.0f} s")


def write(results: dict[str, Any]) -> None:
    """Keep the results in docs/benchmarks."""
    DOCS.mkdir(parents=True, exist_ok=True)
    (DOCS / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (DOCS / "results.md").write_text(report.markdown(results))
    (DOCS / "cpu.svg").write_text(chart.svg(results))
    print(f"written: {DOCS.relative_to(ROOT)}/results.md, results.json, cpu.svg")


if __name__ == "__main__":
    main()
