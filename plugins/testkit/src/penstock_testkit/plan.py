"""
What an upstream does with one request, as data: a plan.

Rules
1. A plan is a tuple of steps, played in order. `Head` comes at most once and before any `Data`.
2. `Reset`, `Close`, `Hang`, `Refuse` and `End` are final: what stands behind them is never sent. It still
   counts for a `content-length`, so that a cut answer promises more than it brings, as real ones do.
3. A plan that runs out of steps ends as with `End`.
4. Time is only in `Pause` and `Hang`; a plan knows no clock, so a real server and a transport in
   virtual time play the same one.
5. A fault is a function from a plan to a plan, and never changes the one it was given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Framing = Literal["length", "chunked", "eof"]
Part = Literal["content", "finish", "usage", "done", "other"]


@dataclass(frozen=True, slots=True)
class Head:
    """
    Send the head.

    Args:
        status: HTTP status code.
        headers: names in lower case; the framing's own headers are added by whoever plays the plan.
        framing: how the body's end is told: by `content-length`, by chunks, or only by the end of the
            connection.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    framing: Framing = "length"


@dataclass(frozen=True, slots=True)
class Data:
    """
    Send a piece of the body: one event of a stream, or the whole of a plain answer.

    Args:
        data: the bytes; an empty piece is skipped.
        part: what it is to the protocol, so that faults can be placed: `content` carries model output
            (or is a plain body), `finish` the finish reason, `usage` the tokens, `done` the marker `[DONE]`.
    """

    data: bytes
    part: Part = "other"


@dataclass(frozen=True, slots=True)
class Pause:
    """Send nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Repeat:
    """Play some steps again and again; for ever when `times` is None."""

    steps: tuple[Head | Data | Pause, ...]
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Reset:
    """Break the connection with a TCP reset."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Never let the client connect; a real server, which has accepted already, resets instead."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Keep the connection open and never send anything again."""


@dataclass(frozen=True, slots=True)
class Close:
    """
    End the connection without the framing's end.

    Args:
        inside_chunk: announce a further chunk first, so that the end falls inside it.
    """

    inside_chunk: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """End the answer properly; the connection may serve the next request."""


Simple: TypeAlias = Head | Data | Pause | Reset | Refuse | Hang | Close | End
Step: TypeAlias = Simple | Repeat
Plan: TypeAlias = tuple[Step, ...]

END = End()


def steps(plan: Plan) -> Iterator[Simple]:
    """The steps one by one, repetitions unrolled; endless when the plan is."""
    for step in plan:
        if type(step) is not Repeat:
            yield step  # type: ignore[misc]  # `type(...) is` does not narrow a union here
        elif step.times is None:
            while True:
                yield from step.steps
        else:
            for _ in range(step.times):
                yield from step.steps


def content_length(plan: Plan) -> int:
    """
    Bytes the body would have if every step were played.

    Raises:
        ValueError: the plan is endless, so it cannot be framed by length.
    """
    total = 0
    for step in plan:
        if type(step) is Data:
            total += len(step.data)
        elif type(step) is Repeat:
            once = sum(len(piece.data) for piece in step.steps if type(piece) is Data)
            if step.times is None:
                raise ValueError("an endless plan cannot have a content-length; frame it with 'chunked'")
            total += once * step.times
    return total


def head_of(plan: Plan) -> Head | None:
    """The head the plan sends, or None."""
    return next((step for step in plan if type(step) is Head), None)


def body_of(plan: Plan) -> bytes:
    """The bytes a client would receive before the plan's final step; the plan must not be endless."""
    pieces = []
    for step in steps(plan):
        if type(step) is Data:
            pieces.append(step.data)
        elif type(step) not in (Head, Pause):
            break
    return b"".join(pieces)
