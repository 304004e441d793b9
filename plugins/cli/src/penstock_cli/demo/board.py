"""
Show the demo while it plays: a live table on a terminal, plain lines everywhere else.

Both are told the same things (see `Audience`); the live one keeps a row for each scene, the plain one prints
what happens as it happens.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from penstock.events import AttemptFinished, AttemptStarted, RetryScheduled
from penstock_cli.failure import masked, seconds, what_ended

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from penstock.call import Attempt
    from penstock.events import CallEvent
    from penstock_cli.demo.play import Played
    from penstock_cli.demo.scenes import Scene
    from penstock_cli.demo.staging import PlayedStep

SHORT = {
    "AttemptTimeout": "timeout",
    "MalformedResponse": "malformed",
    "ServerError": "error",
    "StreamInterrupted": "cut",
    "TransferError": "broken",
}
"""Errors behind no status or a 200, in one word."""


class PlainBoard:
    """Lines, each with the time since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def __enter__(self) -> PlainBoard:
        return self

    def __exit__(self, *reason: object) -> None:
        """Nothing is held."""

    def began(self, call: Played) -> None:
        if _is_alone(call):
            self._line(call, call.scene.kind)

    def happened(self, call: Played, event: CallEvent) -> None:
        if not _is_alone(call):
            return
        if isinstance(event, AttemptFinished):
            self._line(call, f"attempt {event.attempt.number}: {what_ended(event.attempt)}")
        elif isinstance(event, RetryScheduled):
            self._line(call, f"waits {seconds(event.delay)}")

    def ended(self, call: Played) -> None:
        path = "" if _is_alone(call) else f" ({' '.join(short(each) for each in call.attempts)})"
        expected = "" if call.error is None or call.problems else ", as it must be"
        self._line(call, f"{outcome_of(call)}{expected}, {call.received} of {call.expected} requests{path}")
        for problem in call.problems:
            self._line(call, f"WRONG: {problem}")

    def _line(self, call: Played, what: str) -> None:
        at = time.monotonic() - self._start
        number = "" if _is_alone(call) else f" {call.number + 1}"
        click.echo(masked(f"{at:6.2f} s  {call.scene.colour:<8}  {call.scene.name}{number}: {what}"))


class LiveBoard:
    """
    A table with a row for each scene, redrawn while it plays.

    Args:
        scenes: the rows.
        console: where it is drawn.
    """

    def __init__(self, scenes: Sequence[Scene], console: Console) -> None:
        from rich.live import Live

        self._rows = {scene.name: _Row(scene) for scene in scenes}
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=12)

    def __enter__(self) -> LiveBoard:
        self._live.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._live.stop()

    def began(self, call: Played) -> None:
        self._rows[call.scene.name].calls.append(call)

    def happened(self, call: Played, event: CallEvent) -> None:
        self._rows[call.scene.name].add(event)

    def ended(self, call: Played) -> None:
        self._rows[call.scene.name].judged += 1

    def _draw(self) -> RenderableType:
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("scene", no_wrap=True)
        table.add_column("client", no_wrap=True)
        table.add_column("attempts and waits", min_width=12)  # what gives way when there is no room
        table.add_column("requests", justify="right", no_wrap=True)
        table.add_column("outcome", no_wrap=True)
        for row in self._rows.values():
            table.add_row(*row.cells())
        return table


class _Row:
    """What is known of a scene so far; written by the calls, read by the thread that draws."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.calls: list[Played] = []
        self.judged = 0
        self._trail: list[tuple[str, str]] = []
        self._attempts = self._waits = 0
        self._waited = 0.0

    def add(self, event: CallEvent) -> None:
        """Take in an event of one of the scene's calls."""
        if isinstance(event, AttemptStarted):
            self._attempts += 1
        elif isinstance(event, AttemptFinished):
            ok = event.attempt.error is None
            self._trail.append((short(event.attempt), "green" if ok else "red"))
        elif isinstance(event, RetryScheduled):
            self._waits += 1
            self._waited += event.delay
            self._trail.append((f"~{seconds(event.delay)}~", "yellow"))

    def cells(self) -> list[RenderableType]:
        """The row."""
        from rich.text import Text

        scene = self.scene
        done = self.judged == len(scene.scripts)
        if len(scene.scripts) == 1:
            happened = Text(" ").join(Text(word, style) for word, style in [*self._trail])
        else:
            told = f"{self._attempts} attempts, {self._waits} waits: {seconds(self._waited)}"
            happened = Text(told if self.calls else "")
        happened.no_wrap, happened.overflow = True, "ellipsis"
        expected = sum(scene.requests)
        received = str(sum(call.received for call in [*self.calls])) if done else "..."
        outcome, style = "", "dim"
        if done:
            wrong = [problem for call in self.calls for problem in call.problems]
            outcome, style = (f"WRONG: {wrong[0]}", "bold red") if wrong else (self._outcome(), "green")
        elif self.calls:
            outcome, style = "running", "cyan"
        return [
            scene.name,
            scene.colour,
            happened,
            f"{received}/{expected}",
            Text(masked(outcome), style),
        ]

    def _outcome(self) -> str:
        if len(self.calls) == 1:
            return outcome_of(self.calls[0])
        return f"{sum(call.error is None for call in self.calls)} answered"


def outcome_of(call: Played) -> str:
    """How a call ended, in a few words."""
    if call.error is None:
        return f"answered in {seconds(call.seconds)}"
    return type(call.error).__name__


def summary(
    calls: Sequence[Played], steps: Sequence[PlayedStep], total: int, elapsed: float
) -> tuple[list[str], list[str]]:
    """
    What there is to say in the end: the lines, and what is wrong.

    Args:
        calls: all calls of the scenes.
        steps: all steps of the acts.
        total: requests the simulators received in all.
        elapsed: seconds from the first call to the last.
    """
    answered = sum(call.error is None for call in calls) + sum(len(step.answers) for step in steps)
    failed = sum(call.error is not None for call in calls) + sum(len(step.errors) for step in steps)
    expected = sum(call.expected for call in calls) + sum(step.expected for step in steps)
    retries = sum(max(0, len(call.attempts) - 1) for call in calls)
    waited = sum(call.waited for call in calls)
    problems = [f"{call.scene.name}, call {call.number + 1}: {p}" for call in calls for p in call.problems]
    problems += [f"{step.act.name}, {step.step.name}: {p}" for step in steps for p in step.problems]
    if total != expected:
        problems.append(f"{total} requests were received in all, the script implies {expected}")
    lines = [
        f"calls:    {answered + failed}, of which {answered} answered and {failed} ended in an error",
        f"requests: {total} received, {expected} implied by the script",
        f"retries:  {retries}, after waits of {seconds(waited)} in all; the demo took {seconds(elapsed)}",
    ]
    return lines, problems


def _is_alone(call: Played) -> bool:
    """Whether it is the only call of its scene; of a crowd each call gets one line."""
    return len(call.scene.scripts) == 1


def short(attempt: Attempt) -> str:
    """An attempt in one word: `ok`, `503`, `timeout`."""
    error: Any = attempt.error
    if error is None:
        return "ok"
    if attempt.status not in (None, 200):
        return str(attempt.status)
    return SHORT.get(type(error).__name__, type(error).__name__)
