"""
The plot: CPU of one call by candidate, as an SVG without any library.

Four panels of horizontal bars, each on a linear scale of its own, so that a bar twice as long is twice as
dear; beside each its figure, and how many times that of Penstock with every stage it is.
"""

from __future__ import annotations

from html import escape
from typing import Any

from modes import BY_NAME

SHOWN = ("blocking", "async-64", "stream", "hit")
REFERENCE = "penstock"
COLUMNS, WIDTH, PANEL, MARGIN = 2, 960, 440, 28
NAMES, FIGURES = 132, 92
"""Pixels of a panel left of the bars, and right of the longest."""
BAR, STEP, HEADER, BELOW, TOP = 15, 23, 46, 22, 64
COLOURS = {
    "penstock": "#0b7285",
    "penstock, turbo": "#1098ad",
    "penstock, retry only": "#3bc9db",
    "bare": "#868e96",
}
OTHERS = "#ced4da"
STYLE = """
text{font:12px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#343a40}
.heading{font-size:17px;font-weight:600;fill:#212529}
.title{font-size:13px;font-weight:600;fill:#212529}
.note,.ratio{fill:#868e96}
.name{text-anchor:end}
.own{font-weight:600;fill:#0b7285}
"""
Bar = tuple[str, float]


def svg(results: dict[str, Any]) -> str:
    """One panel for each mode, the cheapest candidate on top."""
    panels = []
    for name in SHOWN:
        cells = results["modes"].get(name, {})
        bars = sorted(((each, cell["cpu"]) for each, cell in cells.items() if "cpu" in cell), key=_value)
        if bars:
            panels.append((BY_NAME[name], bars))
    parts, top = [], TOP
    for first in range(0, len(panels), COLUMNS):
        row = panels[first : first + COLUMNS]
        for column, (mode, bars) in enumerate(row):
            left = MARGIN + column * (PANEL + WIDTH - 2 * MARGIN - COLUMNS * PANEL)
            parts.append(_panel(mode.label, mode.unit, bars, left, top))
        top += HEADER + STEP * max(len(bars) for _, bars in row) + BELOW
    where = results["machine"]
    place = f"{where['cpu']}, Python {where['python']}, {results['date']}"
    heading = _text(MARGIN, 32, "CPU of the client, in microseconds; shorter is better", "heading") + _text(
        MARGIN,
        50,
        f"each panel has its own linear scale; bare is requests or aiohttp by hand; {place}",
        "note",
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" '
        f'viewBox="0 0 {WIDTH} {top}" role="img" aria-label="CPU of one call by library">'
        f'<style>{STYLE}</style><rect width="{WIDTH}" height="{top}" rx="8" fill="white"/>'
        f"{heading}{''.join(parts)}</svg>\n"
    )


def _panel(label: str, unit: str, bars: list[Bar], left: int, top: int) -> str:
    longest = bars[-1][1]
    reference = dict(bars).get(REFERENCE)
    axis = left + NAMES
    parts = [_text(left, top + 22, f"{label[:1].upper()}{label[1:]}", "title", f"  per {unit}")]
    y = top + HEADER
    for name, value in bars:
        length = max(2.0, value / longest * (PANEL - NAMES - FIGURES))
        own = " own" if name == REFERENCE else ""
        ratio = f"  {value / reference:.2g}x" if reference and name != REFERENCE else ""
        if reference and value >= 99.5 * reference:
            ratio = f"  {value / reference:.0f}x"
        colour = COLOURS.get(name, OTHERS)
        parts.append(_text(axis - 8, y + 12, name, f"name{own}"))
        parts.append(f'<rect x="{axis}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{colour}"/>')
        parts.append(_text(axis + length + 7, y + 12, _number(value), f"value{own}", ratio))
        y += STEP
    parts.append(f'<line x1="{axis}" y1="{top + HEADER - 5}" x2="{axis}" y2="{y - 3}" stroke="#adb5bd"/>')
    return "".join(parts)


def _text(x: float, y: float, text: str, kind: str, after: str = "") -> str:
    grey = (
        f'<tspan class="ratio" font-weight="400" xml:space="preserve">{escape(after)}</tspan>'
        if after
        else ""
    )
    return f'<text x="{x:.1f}" y="{y}" class="{kind}" xml:space="preserve">{escape(text)}{grey}</text>'


def _value(bar: Bar) -> float:
    return bar[1]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
