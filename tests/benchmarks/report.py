"""Results as text: what the terminal shows and what docs/benchmarks keeps."""

from __future__ import annotations

from typing import Any

import budgets
from compared import CANDIDATES
from environments import STAGES
from modes import MODES

Results = dict[str, Any]
Table = list[list[str]]


def machine(results: Results) -> str:
    """Where and when, in one line."""
    where = results["machine"]
    return (
        f"{results['date']}, {where['cpu']}, {where['cores']} cores, {where['system']}, "
        f"Python {where['python']}, load average {where['load_before']:.1f} before and "
        f"{where['load_after']:.1f} after"
    )


def ceiling(results: Results) -> str:
    """What the upstream can do, in one line."""
    found = results["ceiling"]
    return (
        f"upstream: {found['per_second']:,.0f} answers/s to the cheapest client, {found['cpu_us']:.0f} us of "
        "its own CPU for each, in a process of its own"
    )


def paced(results: Results) -> str:
    """How this machine compares with the one where the budgets in time were set, in one line."""
    slower = budgets.pace(results)
    if slower is None:
        return "pace: unknown, since the bare candidate was left out"
    return (
        f"pace: bare requests and aiohttp take {slower:.2f} times as long here as where the budgets in time "
        "were set; verdicts are about the times as measured"
    )


def tables(results: Results) -> list[tuple[str, Table]]:
    """Every table: title and rows, the first row is the head."""
    names = list(results["versions"])
    made = [("Budgets", [["path", "budget", "measured", "", "peers"], *map(list, budgets.rows(results))])]
    made.append(("CPU, us", _modes(results, names, "cpu")))
    made.append(("Wall time, us", _modes(results, names, "wall")))
    if "outage" in results["modes"] or "retry" in results["modes"]:
        made.append(
            (
                "Requests that reach the upstream, per call",
                _modes(results, names, "requests", "retry", "outage"),
            )
        )
    made.append(("A fresh process", _fresh(results)))
    if results.get("inside"):
        made.append(("The pipeline alone, us of CPU per call", _inside(results["inside"])))
    return made


def _modes(results: Results, names: list[str], key: str, *only: str) -> Table:
    digits = 2 if key == "requests" else 1
    rows = [["", *names]]
    for mode in MODES:
        found = results["modes"].get(mode.name)
        if found is None or (only and mode.name not in only):
            continue
        cells = [found.get(name, {}) for name in names]
        shown = [f"{cell[key]:.{digits}f}" if key in cell else ("fails" if cell else "-") for cell in cells]
        unit = " (per event)" if mode.unit == "event" else ""
        rows.append([mode.label + unit, *shown])
    return rows


def failures(results: Results) -> list[str]:
    """What did not work, in sentences."""
    found = [f"{name} is left out: {why}" for name, why in results["skipped"].items()]
    for mode in MODES:
        for name, cell in results["modes"].get(mode.name, {}).items():
            if "error" in cell:
                found.append(f"{mode.label}: {name} fails: {cell['error']}")
    return found


def _fresh(results: Results) -> Table:
    head = [
        "",
        "import, ms of CPU",
        "modules",
        "ready, ms of CPU",
        "ready, ms",
        "of it the client, ms of CPU",
        "a second client, ms of CPU",
        "first call, ms",
        "RSS, MB",
        "distributions",
        "installed, MB",
    ]
    rows = [head]
    environments = {candidate.name: candidate.environment for candidate in CANDIDATES}
    for name, cell in results["fresh"].items():
        size = results["install"].get(environments[name], {})
        rows.append(
            [
                name,
                f"{cell['import_cpu'] * 1e3:.1f}",
                f"{cell['import_modules']:.0f}",
                f"{cell['ready_cpu'] * 1e3:.0f}",
                f"{cell['ready'] * 1e3:.0f}",
                f"{(cell['ready_cpu'] - cell['import_cpu']) * 1e3:.0f}",
                f"{cell['again_cpu'] * 1e3:.1f}",
                f"{cell['first_call'] * 1e3:.1f}",
                f"{cell['rss'] / 1e6:.1f}",
                str(size.get("distributions", "-")),
                f"{size['bytes'] / 1e6:.1f}" if size else "-",
            ]
        )
    return rows


def _inside(found: dict[str, float]) -> Table:
    rows = [["", "us", "share of full"]]
    for name in ("none", "full", "async none", "async full"):
        label = name.replace("none", "no stage").replace("full", "full, no listener")
        rows += [[label, f"{found[name]:.1f}", ""]]
    for name, listened in (
        ("1 listener", "full"),
        ("5 listeners", "full"),
        ("async 1 listener", "async full"),
    ):
        rows.append([f"full, {name}", f"{found[name]:.1f}", f"{found[name] - found[listened]:+.1f}"])
    for stage in STAGES:
        alone, others = found[f"only {stage}"], found[f"without {stage}"]
        rows += [[f"only {stage}", f"{alone:.1f}", f"{found['full'] - others:.1f}"]]
    return rows


def plain(table: Table) -> str:
    """A table in columns."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    _, *others = zip(*table, strict=True)
    numeric = [
        all(not cell or cell[0].isdigit() or cell[0] in "-+" for cell in column[1:]) for column in others
    ]
    lines = []
    for row in table:
        cells = [row[0].ljust(widths[0])]
        for cell, width, right in zip(row[1:], widths[1:], numeric, strict=True):
            cells.append(cell.rjust(width) if right else cell.ljust(width))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(results: Results) -> str:
    """The whole report as a page."""
    versions = ", ".join(f"{name}: {version}" for name, version in results["versions"].items())
    lines = [
        "# Results",
        "",
        "Written by `make bench`; see [how it is measured](README.md).",
        "",
        f"- {machine(results)}",
        f"- {ceiling(results)}",
        f"- {paced(results)}",
        f"- versions: {versions}",
        f"- {results['rounds']} rounds of about {results['seconds']:g} s each, in turns; medians",
        "",
        "![CPU of one call](cpu.svg)",
    ]
    for title, table in tables(results):
        lines += ["", f"## {title}", ""]
        head, *rows = table
        lines.append("| " + " | ".join(head) + " |")
        lines.append("|---" * len(head) + "|")
        lines += ["| " + " | ".join(row) + " |" for row in rows]
    noted = failures(results)
    if noted:
        lines += ["", "## What did not work", "", *(f"- {note}" for note in noted)]
    return "\n".join(lines) + "\n"
