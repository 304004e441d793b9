"""
How cost grows: calls in flight, cached answers, targets, tenants, names, prompts, threads, replicas.

    python tests/benchmarks/scaling.py [--quick] [--only NAME,...] [--keep]

Writes docs/benchmarks/scaling.json and the tables between the markers of docs/scaling.md; takes about five
minutes. `--quick` leaves the largest sizes out, `--only` measures some dimensions (`replicas` is one); both
write nothing, nor does `--keep`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench import machine
from environments import ROOT
from report import machine as machine_line
from report import plain
from scales.dimensions import SIZES

HERE = Path(__file__).parent
PAGE = ROOT / "docs" / "scaling.md"
KEPT = ROOT / "docs" / "benchmarks" / "scaling.json"
Table = list[list[str]]
TITLES = {
    "cpu_us": "CPU, us a call",
    "functions": "functions a call",
    "bytes": "bytes each",
    "evict_cpu_us": "miss at the bound, us",
    "evict_functions": "functions",
    "invalidate_ms": "`invalidate`, ms of CPU",
    "group_cpu_us": "by weight, us",
    "group_functions": "functions",
    "open_cpu_us": "all but the last open, us",
    "open_functions": "functions",
    "build_ms": "client built, ms of CPU",
    "first_cpu_us": "first call of a name, us",
    "per_second": "calls/s",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="without the largest sizes; writes nothing")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="these alone")
    parser.add_argument("--keep", action="store_true", help="keep the documentation as it is")
    given = parser.parse_args()
    begun = time.perf_counter()
    results: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(),
        "dimensions": {},
    }
    for function, sizes in SIZES.items():
        name = function.__name__
        if given.only and name not in given.only:
            continue
        rows = {}
        for size in sizes[:-1] if given.quick else sizes:
            print(f"{time.perf_counter() - begun:4.0f} s  {name} {size:,}", flush=True)
            rows[str(size)] = run("dimensions.py", name, str(size))
        results["dimensions"][name] = rows
    if not given.only or "replicas" in given.only:
        print(f"{time.perf_counter() - begun:4.0f} s  replicas", flush=True)
        results["replicas"] = run("replicas.py", "20" if not given.quick else "5")
    results["machine"]["load_after"] = os.getloadavg()[0]
    for name, table in tables(results).items():
        print(f"\n{name}\n{plain(table)}")
    print(f"\n{machine_line(results)}; took {time.perf_counter() - begun:.0f} s")
    if not (given.quick or given.only or given.keep):
        KEPT.write_text(json.dumps(results, indent=1) + "\n")
        PAGE.write_text(filled(PAGE.read_text(), results))
        print("written: docs/scaling.md, docs/benchmarks/scaling.json")


def run(script: str, *arguments: str) -> Any:
    """What one measurement has found out, in a process of its own."""
    command = [sys.executable, str(HERE / "scales" / script), *arguments]
    environ = {**os.environ, "PYTHONPATH": str(HERE)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environ)
    return json.loads(done.stdout)


def tables(results: dict[str, Any]) -> dict[str, Table]:
    """By the name of its marker, every table."""
    made = {name: _growth(rows) for name, rows in results["dimensions"].items()}
    if "replicas" in results:
        made |= {"limits": _limits(results["replicas"]["limits"])}
        made |= {"outage": _outage(results["replicas"]["outage"])}
    return made


def _growth(rows: dict[str, dict[str, float]]) -> Table:
    names = list(next(iter(rows.values())))
    table = [["", *(TITLES[name] for name in names)]]
    for size, found in rows.items():
        shown = (f"{found[name]:,.1f}" if abs(found[name]) < 100 else f"{found[name]:,.0f}" for name in names)
        table.append([f"{int(size):,}", *shown])
    return table


def _limits(rows: list[dict[str, Any]]) -> Table:
    head = ["calls/s", "replicas", "each is told", "answered/s", "requests/s", "of them 429", "refused here"]
    table = [[*head, "added to an answer, s"]]
    for row in rows:
        shares = [f"{row[name]:.1%}" for name in ("refused_share", "refused_here_share")]
        rates = [f"{row[name]:.0f}" for name in ("answered_per_s", "received_per_s")]
        asked = [f"{row['load']:.0f}", str(row["replicas"]), row["told"]]
        table.append([*asked, *rates, *shares, f"{abs(row['added_s']):.2f}"])
    return table


def _outage(rows: list[dict[str, Any]]) -> Table:
    kinds = list(dict.fromkeys(row["with"] for row in rows))
    found = {(row["replicas"], row["with"]): row["during_outage"] for row in rows}
    replicas = list(dict.fromkeys(row["replicas"] for row in rows))
    return [
        ["replicas", *kinds],
        *([str(number), *(f"{found[number, kind]:,}" for kind in kinds)] for number in replicas),
    ]


def filled(page: str, results: dict[str, Any]) -> str:
    """The page with the tables between its markers replaced."""
    texts = {name: _markdown(table) for name, table in tables(results).items()}
    texts["machine"] = machine_line(results)
    for name, text in texts.items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        page, count = marked.subn(lambda match, text=text: f"{match[1]}{text}\n{match[2]}", page)
        if count != 1:
            raise SystemExit(f"{PAGE.name} has {count} places for {name!r}, not one")
    return page


def _markdown(table: Table) -> str:
    head, *rows = table
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


if __name__ == "__main__":
    main()
