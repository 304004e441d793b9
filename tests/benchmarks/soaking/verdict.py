"""What the soak found, as tables and as a page: flat or growing, held or given back, counted alike or not."""

from __future__ import annotations

from typing import Any

from report import machine
from soaking.trend import BOUNDS, PER, grows, slopes

Results = dict[str, Any]
Table = list[list[str]]
LONG = 500_000
"""Calls of a run whose tables are full before its second half; a shorter one still grows into them."""


def part_rows(part: Results, *, judged: bool) -> Table:
    """What could grow in one part: at the first sample, the middle and the last, and the verdict."""
    samples = part["samples"]
    middle = samples[len(samples) // 2]
    found = slopes(part)
    rows = [["", "first", "middle", "last", f"growth per {PER:,} calls", "bound", ""]]
    for key, bound in BOUNDS.items():
        unit = f" {bound.unit}" if bound.unit else ""
        values = [f"{each[key] * bound.scale:,.0f}{unit}" for each in (samples[0], middle, samples[-1])]
        flat = ("flat" if found[key] <= bound.limit else "GROWS") if judged else "too short to tell"
        rows.append([bound.label, *values, f"{found[key]:+,.1f}{unit}", f"<= {bound.limit:g}{unit}", flat])
    if judged:
        growing = [name for name, lengths in part["tables"].items() if grows(*lengths)]
        verdict = ", ".join(growing) + " GROW" if growing else "flat"
        rows.append(["internal tables", str(len(part["tables"])), "", "", "", "", verdict])
    return rows


def type_rows(results: Results) -> Table:
    """Which types have more objects at the end than in the middle."""
    rows = [["", "more objects at the end than in the middle, by type"]]
    for name, part in results["parts"].items():
        rows.append([name, ", ".join(f"{kind} {count:+,}" for kind, count in part["types"]) or "none"])
    return rows


def held_rows(results: Results) -> Table:
    """What was held after any batch, by part."""
    parts = results["parts"]
    names = next(iter(parts.values()))["held"]
    return [
        ["", *parts],
        *([name, *(str(part["held"][name]) for part in parts.values())] for name in names),
    ]


def count_rows(results: Results) -> Table:
    """Attempts by the client's count and requests by the upstream's."""
    rows = [["", "calls", "attempts", "requests received", "attempts without a word", "", "CPU, us per call"]]
    for name, part in results["parts"].items():
        calls = part["samples"][-1]["calls"]
        shown = [calls, part["attempts"], part["received"], part["unknown"]]
        agree = "agree" if agrees(name, part) else "DIFFER"
        rows.append([name, *(f"{each:,}" for each in shown), agree, f"{part['cpu'] / calls * 1e6:.0f}"])
    return rows


def agrees(name: str, part: Results) -> bool:
    """
    Whether both sides count the same.

    Over sockets, an attempt that was cancelled, timed out or reset before any word of an answer may or may
    not have arrived; every other one has, once.
    """
    missing = part["attempts"] - part["received"]
    return bool(0 <= missing <= part["unknown"] if "sockets" in name else missing == 0)


def end_rows(results: Results) -> Table:
    """How calls ended, what requests met, and what stages did about it."""
    rows = [["", "how calls ended", "what requests met", "what stages did"]]
    told = ("RetryScheduled", "Failover", "HedgeStarted", "StreamRecovered", "BreakerTransition")
    told += ("BreakerRejected", "CacheStored", "LimiterQueued", "LimiterCancelled", "LimiterPaused")
    for name, part in results["parts"].items():
        cells = []
        for counts in (part["ended"], part["fates"], {key: part["heard"].get(key, 0) for key in told}):
            ordered = sorted(counts.items(), key=lambda item: -item[1])
            cells.append(", ".join(f"{key} {count:,}" for key, count in ordered if count))
        rows.append([name, *cells])
    return rows


def flood_rows(results: Results) -> Table:
    """The largest tables under the flood: their longest in its first and in its second half."""
    flood = results["flood"]
    half = flood["calls"] // 2
    largest = sorted(flood["tables"].items(), key=lambda item: -item[1][1])
    rows = [["table", f"at most in the first {half:,} names", f"in the next {half:,}", ""]]
    for name, (first, second) in largest[:25]:
        rows.append([name, f"{first:,}", f"{second:,}", "GROWS" if grows(first, second) else "bounded"])
    return rows


def summary(results: Results) -> tuple[bool, str]:
    """Whether all is well, and a sentence that says so."""
    problems, long = [], results["calls"] >= LONG
    for name, part in results["parts"].items():
        if long:
            found = slopes(part)
            problems += [f"{name}: {b.label} grow" for key, b in BOUNDS.items() if found[key] > b.limit]
            problems += [f"{name}: {table} grows" for table, each in part["tables"].items() if grows(*each)]
        problems += [f"{name}: {count} {what}" for what, count in part["held"].items() if count]
        if not agrees(name, part):
            problems.append(f"{name}: attempts and requests differ")
    flood = results["flood"]["tables"]
    problems += [f"{table} grows with names" for table, each in flood.items() if grows(*each)]
    if problems:
        return False, "NOT WELL: " + "; ".join(problems)
    calls = sum(part["samples"][-1]["calls"] for part in results["parts"].values())
    flat = f"flat over {calls:,} calls and streams" if long else f"{calls:,} calls and streams"
    return True, f"{flat}, nothing held, counts agree"


def tables_of(results: Results) -> list[tuple[str, Table]]:
    """Every table, with its title."""
    judged = results["calls"] >= LONG
    parts = [(f"Growth: {name}", part_rows(part, judged=judged)) for name, part in results["parts"].items()]
    return [
        *parts,
        ("Types", type_rows(results)),
        ("Held after any batch, when nobody calls", held_rows(results)),
        ("Requests", count_rows(results)),
        ("What happened", end_rows(results)),
        ("A flood of made-up model names and keys", flood_rows(results)),
    ]


INTRODUCTION = """\
# Soak

Written by `make soak`; `make soak ARGS="--calls 20000 --streams 2000"` is a short run that writes nothing.

- {where}
- {versions}
- {calls:,} plain calls and {streams:,} streams in {minutes:.0f} minutes; {verdict}

Guard, cache, routing (failover, recovery of broken streams, in asyncio hedging), cost with budgets of
tenants, retry, breaker, limiter with queues and keys, metrics and a listener; the OpenAI codec and its stream
decoder. The callers leave 1 of 10 streams early, set deadlines of 2 ms and, in asyncio, cancel 1 of 50 calls
at any await. Requests are answered, late, refused (503, 500, 429, 400), reset, malformed, cut, unterminated
or end in an error event, and every model has outages that open its breaker.

- **blocking** and **async** (most of the calls): 4 threads and 64 tasks; the upstream is a transport within
  the process that answers by itself, so only the socket is missing.
- **over sockets** ({sockets:,} calls and {socket_streams:,} streams): 8 threads with `requests` and 64 tasks
  with `aiohttp`, to a server in a process of its own over loopback.

After each batch everybody rests, garbage is collected, and everything that could grow is counted. Growth is
the slope of a straight line through the second half of the samples. Internal tables (every dict, list, set
and deque) are found by walking from the client through every object of Penstock, so none is left out; a table
whose longest in the second half is more than a quarter above its longest in the first grows.
"""


def markdown(results: Results) -> str:
    """The page."""
    over_sockets = [part for name, part in results["parts"].items() if "sockets" in name]
    streams = sum(part["streams"] for part in over_sockets)
    lines = [
        INTRODUCTION.format(
            where=machine(results),
            versions=", ".join(f"{name} {version}" for name, version in results["versions"].items()),
            calls=results["calls"],
            streams=results["streams"],
            minutes=results["took"] / 60,
            verdict=summary(results)[1],
            sockets=sum(part["samples"][-1]["calls"] for part in over_sockets) - streams,
            socket_streams=streams,
        )
    ]
    if "note" in results:  # what whoever kept the results has to say of them
        lines += [results["note"], ""]
    for title, table in tables_of(results):
        head, *rows = table
        lines += [f"## {title}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        lines.append("")
    return "\n".join(lines)
