"""What is measured: the ways of making calls that every candidate goes through."""

from __future__ import annotations

from dataclasses import dataclass

EVENTS = {"burst": 200, "paced": 60}
"""Content events of one stream, by the upstream's way of writing it."""


@dataclass(frozen=True, slots=True)
class Mode:
    """
    One way of making calls.

    Args:
        name: how figures are filed.
        label: how tables name it.
        kind: the method of the candidate that prepares it.
        path: the first part of the upstream's path, which decides how it answers.
        unit: what one figure is for.
        threads: threads that call at once.
        in_flight: tasks that call at once; 0 is a blocking mode.
        quick: whether a quick run includes it.
    """

    name: str
    label: str
    kind: str
    path: str = "plain"
    unit: str = "call"
    threads: int = 1
    in_flight: int = 0
    quick: bool = True

    @property
    def width(self) -> int:
        """Calls at once."""
        return max(self.threads, self.in_flight)

    @property
    def units(self) -> int:
        """Units in one call: the events of a stream, else 1."""
        return EVENTS[self.path] if self.unit == "event" else 1


MODES = (
    Mode("blocking", "blocking call", "call"),
    Mode("threads-16", "blocking, 16 threads", "call", threads=16, quick=False),
    Mode("async-1", "async, one at a time", "async_call", in_flight=1, quick=False),
    Mode("async-64", "async, 64 in flight", "async_call", in_flight=64),
    Mode("async-512", "async, 512 in flight", "async_call", in_flight=512, quick=False),
    Mode("stream", "blocking stream in one burst", "stream", "burst", "event"),
    Mode(
        "async-stream",
        "async stream in one burst",
        "async_stream",
        "burst",
        "event",
        in_flight=1,
        quick=False,
    ),
    Mode(
        "paced", "16 async streams, an event each 2 ms", "async_stream", "paced", "event", 1, 16, quick=False
    ),
    Mode("retry", "blocking call, first attempt gets a 503", "retried_call", "retry", quick=False),
    Mode("outage", "blocking call while all attempts get a 503", "failing_call", "outage", quick=False),
    Mode("hit", "cache hit, blocking", "hit"),
    Mode("async-hit", "cache hit, async", "async_hit", in_flight=1, quick=False),
    Mode("replay", "cached answer as a stream", "replay", "burst", "event", quick=False),
)
BY_NAME = {mode.name: mode for mode in MODES}
