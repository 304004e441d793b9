"""
Where the time of a call went: a listener that notes its events, and a table of them on stderr.

The time of a call is cut into kinds that sum up to the whole: waiting between attempts, queueing for the
limiter, waiting for the first token, streaming, and the rest, which is the pipeline itself (locks, this
process). Below it stands what the stages decided: hits, waits, refusals, failovers, restarts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock_cli.failure import masked, seconds, what_ended

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from penstock.call import Attempt
    from penstock.events import Event

MIN_WIDTH, MAX_WIDTH = 10, 48
"""Columns the timeline may have."""
OTHER_COLUMNS = 66
"""What the rest of the table needs, about."""
_KNOWN = frozenset(
    {
        "AttemptCommitted",
        "AttemptFinished",
        "AttemptStarted",
        "CallFinished",
        "CallStarted",
        "RetryScheduled",
    }
)


class Trace:
    """A listener; `show` prints the last call, and forgets it."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self._events.append(event)

    def show(self) -> None:
        """The table, on stderr; nothing when there was no call."""
        events, self._events = self._events, []
        from penstock_cli.terminal import console

        out = console(stderr=True)
        table = timeline(events, out.width)
        if table is not None:
            out.print(table)


def timeline(events: Sequence[Event], columns: int) -> RenderableType | None:
    """The events of one call as a table with a summary, so many columns wide; None without a call."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from penstock.events import CallFinished, CallStarted, LimiterAdmitted
    from penstock_cli.decisions import words_of

    start = next((event for event in events if isinstance(event, CallStarted)), None)
    if start is None:
        return None
    call = start.call
    end = max((event.at for event in events if isinstance(event, CallFinished)), default=events[-1].at)
    title = f"call {call.id} to {masked(call.request.model)}"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    several = len({attempt.target for attempt in call.attempts}) > 1
    for heading in ("#", *(["target"] if several else []), "waited", "first token", "took"):
        table.add_column(heading, justify="left" if heading == "target" else "right", overflow="fold")
    table.add_column("outcome", overflow="fold")
    table.add_column("timeline", no_wrap=True)
    scale = _Scale(start.at, end, max(MIN_WIDTH, min(MAX_WIDTH, columns - (OTHER_COLUMNS + 20 * several))))
    for attempt in call.attempts:
        ended = attempt.ended if attempt.ended is not None else end
        first = attempt.committed
        cells: list[RenderableType] = [
            str(attempt.number),
            *([masked(str(attempt.target))] if several else []),
            seconds(attempt.delay) if attempt.delay else "",
            "" if first is None else seconds(first - attempt.started),
            seconds(ended - attempt.started),
            Text(masked(what_ended(attempt)), "green" if attempt.error is None else "red"),
            scale.bar(attempt, ended),
        ]
        table.add_row(*cells)
    queued = sum(event.waited for event in events if isinstance(event, LimiterAdmitted))
    lines: list[RenderableType] = [table if call.attempts else Text(title, "italic")]
    lines.append(Text(_summary(call.attempts, start.at, end, queued)))
    for event in events:
        words = words_of(event) if type(event).__name__ not in _KNOWN else None
        if words is not None:
            lines.append(Text(f"at {seconds(max(0.0, event.at - start.at))}: {masked(words)}"))
    return Group(*lines)


class _Scale:
    """Columns for a stretch of time."""

    def __init__(self, start: float, end: float, width: int) -> None:
        self._start = start
        self._width = width
        self._per_column = max(end - start, 1e-9) / width

    def _column(self, at: float) -> int:
        return min(self._width, max(0, round((at - self._start) / self._per_column)))

    def bar(self, attempt: Attempt, ended: float) -> Text:
        """Dots for the wait before an attempt, a light bar up to the first token, a full one behind it."""
        from rich.text import Text

        begin, last = self._column(attempt.started), self._column(ended)
        first = last if attempt.committed is None else self._column(attempt.committed)
        waited = min(begin, self._column(attempt.started) - self._column(attempt.started - attempt.delay))
        bar = Text(" " * (begin - waited))
        bar.append("·" * waited, "dim")
        bar.append("─" * (first - begin), "yellow" if attempt.error is None else "red")
        bar.append("━" * (last - first), "green" if attempt.error is None else "red")
        if begin == last:
            bar.append("╸", "green" if attempt.error is None else "red")
        return bar


def _summary(attempts: Sequence[Attempt], start: float, end: float, queued: float) -> str:
    waiting = sum(attempt.delay for attempt in attempts)
    first_token = streaming = 0.0
    for attempt in attempts:
        ended = attempt.ended if attempt.ended is not None else end
        first = attempt.committed if attempt.committed is not None else ended
        first_token += first - attempt.started
        streaming += ended - first
    total = end - start
    rest = max(0.0, total - waiting - queued - first_token - streaming)
    spent = [
        f"{seconds(value)} {what}"
        for what, value in (
            ("waiting between attempts", waiting),
            ("queued for the limiter", queued),
            ("until the first token", first_token),
            ("streaming", streaming),
            ("in the pipeline", rest),
        )
        if value > 0
    ]
    return f"total {seconds(total)}: {', '.join(spent) or 'nothing was sent'}"
