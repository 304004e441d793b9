"""
Write the table of features x providers into docs/providers.md, from what the plugins' specs promise.

    python tools/feature_table.py            write it
    python tools/feature_table.py --check    fail when the page is not up to date
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from penstock.plugins import Plugins
from penstock.specs import ProviderSpec

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "providers.md"
BEGIN, END = "<!-- features: written by tools/feature_table.py -->", "<!-- end of features -->"
FEATURES = {
    "chat": "Chat",
    "stream": "Streamed chat",
    "tools": "Tool calls",
    "schema": "Answers of a given shape (`schema=`)",
    "vision": "Images in messages",
    "reasoning": "Reasoning in `answer.reasoning`",
    "embed": "Embeddings",
    "models": "List of models",
}
"""What each capability is called on the page; a capability without a line here is an error."""


def providers() -> tuple[ProviderSpec, ...]:
    """The specs of the providers in this workspace, by name."""
    plugins = Plugins()
    for name in plugins.offered():
        if (ROOT / "plugins" / name).is_dir():
            plugins.load(name)
    return tuple(sorted(plugins.specs(ProviderSpec), key=lambda spec: spec.name))


def table(specs: Sequence[ProviderSpec]) -> str:
    """
    The table in Markdown.

    Raises:
        ValueError: a spec promises what `FEATURES` does not describe.
    """
    unknown = sorted({name for spec in specs for name in spec.capabilities} - FEATURES.keys())
    if unknown:
        raise ValueError(f"describe {', '.join(map(repr, unknown))} in {Path(__file__).name}")
    lines = [
        "| | " + " | ".join(spec.name for spec in specs) + " |",
        "|---|" + ":-:|" * len(specs),
    ]
    for name, words in FEATURES.items():
        marks = ("yes" if name in spec.capabilities else "-" for spec in specs)
        lines.append(f"| {words} | " + " | ".join(marks) + " |")
    return "\n".join(lines)


def page(text: str, specs: Sequence[ProviderSpec]) -> str:
    """The page with the table between its marks; raises ValueError when they are missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has no place for the table: {BEGIN!r} ... {END!r}")
    return f"{before}{BEGIN}\n{table(specs)}\n{END}{after}"


def main(arguments: Sequence[str]) -> int:
    """Write the page, or check it; the exit status."""
    text = PAGE.read_text(encoding="utf-8")
    wanted = page(text, providers())
    if "--check" in arguments:
        if text != wanted:
            print(f"{PAGE.relative_to(ROOT)} is not up to date; run python tools/feature_table.py")
        return int(text != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
