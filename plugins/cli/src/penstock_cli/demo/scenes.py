"""
The scenes of the demo, as data: what happens to each request, and what must come of it.

A script says what each request of a call meets, in order, and whether the specification has it tried again.
From that alone follows how many requests the simulator must receive. A later stage adds its scenes here.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Literal

from penstock.call import Timeouts
from penstock.frozen import dataclass
from penstock_testkit import faults

if TYPE_CHECKING:
    from penstock_testkit import Fault

MAX_ATTEMPTS = 3
"""What the demo's clients are configured with."""


@dataclass(frozen=True, slots=True)
class Met:
    """
    What one request meets.

    Args:
        fault: what the simulator does with it.
        again: whether another request follows, as long as attempts are left.
    """

    fault: Fault
    again: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """
    One or more calls alike.

    Args:
        name: for people.
        colour: who makes the calls: `Client` or `AsyncClient`.
        kind: what is called.
        scripts: one for each call: what its requests meet, in order; afterwards all is well.
        ends: the error that ends the calls, None for an answer.
        timeouts: the limits of a call, None for the defaults.
        hint: seconds the server asks for before the second request; asking earlier is a failure.
        partial: the error must carry what had arrived.
    """

    name: str
    colour: Literal["blocking", "async"]
    kind: Literal["chat", "stream", "embed"] = "chat"
    scripts: tuple[tuple[Met, ...], ...] = field(default=((),))
    ends: str | None = None
    timeouts: Timeouts | None = None
    hint: float = 0.0
    partial: bool = False

    @property
    def requests(self) -> tuple[int, ...]:
        """The requests each call must amount to."""
        return tuple(implied_requests(script) for script in self.scripts)


def implied_requests(script: Sequence[Met], attempts: int = MAX_ATTEMPTS) -> int:
    """
    How many requests a script implies: up to the first that is final, or one more that finds all well, and
    never more than `attempts`.
    """
    for number, met in enumerate(script, 1):
        if not met.again:
            return min(number, attempts)
    return min(len(script) + 1, attempts)


def again(*met: Fault) -> tuple[Met, ...]:
    """Faults that are tried again."""
    return tuple(Met(fault, again=True) for fault in met)


def final(fault: Fault) -> tuple[Met, ...]:
    """A fault that ends the call."""
    return (Met(fault, again=False),)


def scenes(*, fast: bool, seed: int) -> tuple[Scene, ...]:
    """
    The scenes in the order they are shown.

    Args:
        fast: shorten what servers ask for and limits allow.
        seed: of the dice that write the scripts of the crowd.
    """
    hint = 0.2 if fast else 1.2
    first_token = 0.3 if fast else 0.8
    return (
        Scene(name="all is well", colour="blocking"),
        Scene(
            name="unavailable twice",
            colour="blocking",
            scripts=(again(faults.status(503), faults.status(503)),),
        ),
        Scene(
            name="rate limited",
            colour="blocking",
            scripts=(again(faults.status(429, retry_after=hint)),),
            hint=hint,
        ),
        Scene(
            name="down for good",
            colour="blocking",
            scripts=(again(*(faults.status(503) for _ in range(MAX_ATTEMPTS))),),
            ends="OverloadedError",
        ),
        Scene(
            name="wrong key",
            colour="blocking",
            scripts=(final(faults.status(401)),),
            ends="AuthenticationError",
        ),
        Scene(
            name="asked to wait too long",
            colour="blocking",
            scripts=(final(faults.status(429, retry_after=90)),),
            ends="RateLimitError",
            timeouts=Timeouts(total=10),
        ),
        Scene(
            name="stream after a reset",
            colour="blocking",
            kind="stream",
            scripts=(again(faults.reset()),),
        ),
        Scene(
            name="stream cut midway",
            colour="blocking",
            kind="stream",
            scripts=(final(faults.cut(after=4)),),
            ends="StreamInterrupted",
            partial=True,
        ),
        Scene(
            name="broken JSON, then HTML",
            colour="async",
            scripts=(again(faults.malformed(), faults.html()),),
        ),
        Scene(
            name="stream of keep-alives",
            colour="async",
            kind="stream",
            scripts=(again(faults.keep_alives(0.1)),),
            timeouts=Timeouts(first_token=first_token),
        ),
        Scene(
            name="error in a 200 stream",
            colour="async",
            kind="stream",
            scripts=(again(faults.error_event(500)),),
        ),
        Scene(
            name="stream without its end",
            colour="async",
            kind="stream",
            scripts=(final(faults.unterminated()),),
            ends="StreamInterrupted",
            partial=True,
        ),
        Scene(
            name="embeddings, overloaded",
            colour="async",
            kind="embed",
            scripts=(again(faults.overloaded(retry_after=hint)),),
            hint=hint,
        ),
        Scene(name="a crowd in a storm", colour="async", scripts=_storm(24, seed)),
    )


def _storm(calls: int, seed: int) -> tuple[tuple[Met, ...], ...]:
    """Scripts of up to two passing faults each, thrown by dice."""
    dice = random.Random(seed)
    passing = (
        faults.status(500),
        faults.status(502),
        faults.reset(),
        faults.cut(after=0),
        faults.malformed(),
        faults.html(502),
    )
    return tuple(again(*dice.choices(passing, k=dice.choice((0, 0, 1, 1, 2)))) for _ in range(calls))
