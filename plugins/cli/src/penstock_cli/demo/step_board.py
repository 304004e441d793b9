"""
Show the acts while they play: a row for each act on a terminal, a line for each step everywhere else.

As with the scenes' boards both are told the same things (see `StepAudience`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from penstock_cli.demo.facts import shortened
from penstock_cli.failure import masked, seconds

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from penstock_cli.demo.acts import Act
    from penstock_cli.demo.staging import PlayedStep

WORDS = 6
"""Of the words of a step, those a line has room for on either side of what is left out."""


class PlainSteps:
    """
    A line for each step.

    Args:
        start: the reading of `time.monotonic()` from which its times count.
    """

    def __init__(self, start: float) -> None:
        self._start = start

    def __enter__(self) -> PlainSteps:
        return self

    def __exit__(self, *reason: object) -> None:
        """Nothing is held."""

    def began(self, played: PlayedStep) -> None:
        """A line is for what has happened."""

    def happened(self, played: PlayedStep) -> None:
        """A line is for what has happened."""

    def ended(self, played: PlayedStep) -> None:
        at = time.monotonic() - self._start
        act, step = played.act, played.step
        words = ", ".join(_fitting(shortened(played.words)))
        lines = [
            f"{step.name}: {outcome_of(played)} in {seconds(played.seconds)}, {requests_of(played)}"
            + (words and f" ({words})")
        ]
        lines += [f"WRONG: {problem}" for problem in played.problems]
        for line in lines:
            click.echo(masked(f"{at:6.2f} s  {act.colour:<8}  {act.name}: {line}"))


class LiveSteps:
    """
    A table with a row for each step, redrawn while the acts play.

    Args:
        acts: whose steps are shown.
        console: where it is drawn.
    """

    def __init__(self, acts: Sequence[Act], console: Console) -> None:
        from rich.live import Live

        self._acts = acts
        self._played: list[PlayedStep] = []
        self._judged = 0
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=12)

    def __enter__(self) -> LiveSteps:
        self._live.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._live.stop()

    def began(self, played: PlayedStep) -> None:
        self._played.append(played)

    def happened(self, played: PlayedStep) -> None:
        """Drawn with the next refresh."""

    def ended(self, played: PlayedStep) -> None:
        self._judged += 1

    def _draw(self) -> RenderableType:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("stage", no_wrap=True, min_width=8)
        table.add_column("step", min_width=16)
        table.add_column("what happened", min_width=20)
        table.add_column("requests", justify="right", no_wrap=True, min_width=8)
        table.add_column("outcome")
        played, judged = [*self._played], self._judged
        at = 0
        for act in self._acts:
            for number, step in enumerate(act.steps):
                now = played[at] if at < len(played) else None
                happened = Text(", ".join(_fitting(shortened([*now.words]))) if now is not None else "")
                received, outcome = "...", Text("")
                if now is not None and at < judged:
                    received = str(sum(now.received.values()))
                    outcome = Text(outcome_of(now), "green")
                    if now.problems:
                        outcome = Text(masked(f"WRONG: {now.problems[0]}"), "bold red")
                elif now is not None:
                    outcome = Text("running", "cyan")
                expected = sum(step.requests.values())
                name = act.name if number == 0 else ""
                table.add_row(name, step.name, happened, f"{received}/{expected}", outcome)
                at += 1
        return table


def outcome_of(played: PlayedStep) -> str:
    """How the calls of a step ended, in a few words."""
    parts = [f"{len(played.answers)} answered"] if played.answers else []
    names = [type(error).__name__ for error in played.errors]
    parts += [f"{names.count(name)} {name}" for name in dict.fromkeys(names)]
    return " and ".join(parts)


def requests_of(played: PlayedStep) -> str:
    """Requests received and implied, in a few words."""
    return f"{sum(played.received.values())} of {played.expected} requests"


def _fitting(words: list[str]) -> list[str]:
    if len(words) <= 2 * WORDS:
        return words
    return [*words[:WORDS], "...", *words[-WORDS:]]
