"""The plot: CPU of one call by candidate, as an SVG without any library."""

from __future__ import annotations

import math
from html import escape
from typing import Any

from modes import BY_NAME

SHOWN = ("blocking", "async-64", "stream", "hit")
WIDTH, LEFT, RIGHT, BAR, GAP = 860, 180, 90, 16, 5
COLOURS = {
    "penstock": "#0b7285",
    "penstock, turbo": "#1098ad",
    "penstock, retry only": "#3bc9db",
    "bare": "#868e96",
}
OTHERS = "#ced4da"


def svg(results: dict[str, Any]) -> str:
    """Horizontal bars on a logarithmic scale, one panel for each mode."""
    panels = [(BY_NAME[name], results["modes"][name]) for name in SHOWN if name in results["modes"]]
    parts: list[str] = []
    top = 30
    for mode, cells in panels:
        bars = [(name, cell["cpu"]) for name, cell in cells.items() if "cpu" in cell]
        if not bars:
            continue
        bars.sort(key=lambda bar: bar[1])
        least = 10 ** math.floor(math.log10(bars[0][1]))
        scale = (WIDTH - LEFT - RIGHT) / max(math.log10(bars[-1][1] / least), 0.1)
        title = escape(f"{mode.label}, us of CPU per {mode.unit}")
        parts.append(f'<text x="10" y="{top}" class="title">{title}</text>')
        top += 12
        for name, value in bars:
            length = math.log10(value / least) * scale
            middle = top + BAR - 4
            colour = COLOURS.get(name, OTHERS)
            parts.append(f'<text x="{LEFT - 8}" y="{middle}" class="name">{escape(name)}</text>')
            parts.append(f'<rect x="{LEFT}" y="{top}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>')
            parts.append(
                f'<text x="{LEFT + length + 6:.1f}" y="{middle}" class="value">{_number(value)}</text>'
            )
            top += BAR + GAP
        top += 34
    style = (
        "text{font:12px sans-serif;fill:#212529}.title{font-weight:bold}.name{text-anchor:end}"
        ".value{fill:#495057}"
    )
    note = f'<text x="{WIDTH - 10}" y="{top - 12}" class="name">logarithmic scale; shorter is better</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}">'
        f'<style>{style}</style><rect width="{WIDTH}" height="{top}" fill="white"/>'
        f"{''.join(parts)}{note}</svg>\n"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
