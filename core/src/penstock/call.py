"""
A call on its way down the pipeline, and the reply on its way up.

Rules
1. A `Call` is one logical call; stages that turn to another target derive it with `towards`.
2. An `Attempt` includes opening the stream and receiving its first content event. From then on the
   call is committed: the `Reply` exists, and nothing retries, hedges or fails over silently.
3. A `Reply` finishes exactly once: ok, failed or abandoned. A plain reply has finished when it is
   made; a live one when its stream ends, breaks or is closed. Whoever holds a permit settles it in
   `reply.on_finish`, and on an exception from `proceed`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self, cast

from penstock.frozen import dataclass

if TYPE_CHECKING:
    from penstock.events import Event, Listener
    from penstock.http import HttpHead
    from penstock.messages import Request
    from penstock.responses import Chunk, Response
    from penstock.runtime import Runtime

logger = logging.getLogger("penstock")


class Target(NamedTuple):
    """Who is asked: a provider instance and the provider's own name of the model."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


@dataclass(slots=True)
class Attempt:
    """
    One request to a provider.

    Args:
        number: from 1, over all targets of the call.
        target: who was asked.
        started: the clock's reading in seconds.
        committed: when the first content event (or the plain answer) was there, or None.
        ended: when the attempt was over, its stream included, or None while it runs.
        error: what ended it, or None.
        delay: seconds waited before it, chosen by the retry stage.
        head: status and headers of the response, when one arrived.
    """

    number: int
    target: Target
    started: float
    committed: float | None = None
    ended: float | None = None
    error: BaseException | None = None
    delay: float = 0.0
    head: HttpHead | None = None

    @property
    def status(self) -> int | None:
        """The HTTP status, when a response arrived."""
        return self.head.status if self.head is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """
    How long things may take, in seconds; None is without limit.

    Args:
        connect: name resolution, TCP and TLS.
        pool: waiting for a free connection.
        first_token: until the first content event of a stream, or a plain answer's head.
        idle: between two data events of a stream; keep-alives do not count.
        attempt: one attempt, up to its plain answer or first content event.
        total: the whole call, queueing and backoff included; not applied to a committed stream
            unless it was given for this very call.
    """

    connect: float = 5.0
    pool: float = 10.0
    first_token: float = 60.0
    idle: float = 60.0
    attempt: float = 600.0
    total: float = 600.0


NEVER = float("inf")


class Call:
    """
    One logical call.

    Attributes:
        id: the request id, `[A-Za-z0-9._-]{1,128}`.
        request: what was asked; interceptors and stages may replace it.
        route: the name the caller used when it is a route, else None.
        target: who is asked; None above the routing stage.
        runtime: clock, sleep, randomness, events.
        timeouts: the limits in force.
        deadline: the clock's reading at which the call must be over; `inf` without one.
        stream_deadline: the same for a committed stream.
        options: what the caller said to single stages, by stage name.
        attempts: every attempt so far, shared by all derived calls.
        attempt: the latest attempt of this very call object; None before the first.
        listeners: who hears `emit`.
        without: stages the caller left out of this call.
        facts: notes shared by all on this call: what stages tell the client about the answer (`cached`,
            `age`, `cost`), and what listeners remember between events.
        retry_delay: seconds the retry stage waited before the attempt that comes next.
    """

    __slots__ = (
        "attempt",
        "attempts",
        "deadline",
        "facts",
        "id",
        "listeners",
        "options",
        "request",
        "retry_delay",
        "route",
        "runtime",
        "started",
        "stream_deadline",
        "target",
        "timeouts",
        "without",
    )

    def __init__(
        self,
        *,
        id: str,
        request: Request,
        target: Target | None,
        runtime: Runtime,
        timeouts: Timeouts,
        started: float,
        route: str | None = None,
        deadline: float = NEVER,
        stream_deadline: float = NEVER,
        options: Mapping[str, Any] | None = None,
        without: frozenset[str] = frozenset(),
        listeners: tuple[Listener, ...] = (),
    ) -> None:
        self.id = id
        self.request = request
        self.target = target
        self.route = route
        self.runtime = runtime
        self.timeouts = timeouts
        self.deadline = deadline
        self.stream_deadline = stream_deadline
        self.options: Mapping[str, Any] = options if options is not None else {}
        self.listeners = listeners
        self.attempts: list[Attempt] = []
        self.attempt: Attempt | None = None
        self.facts: dict[str, Any] = {}
        self.retry_delay = 0.0
        self.started = started
        self.without = without

    def towards(self, target: Target) -> Self:
        """The same call with another target; attempts, facts and deadline stay shared."""
        # By hand: a loop over the slots costs four times as much, and routes do this for each target.
        other = object.__new__(type(self))
        other.id = self.id
        other.request = self.request
        other.target = target
        other.route = self.route
        other.runtime = self.runtime
        other.timeouts = self.timeouts
        other.started = self.started
        other.deadline = self.deadline
        other.stream_deadline = self.stream_deadline
        other.options = self.options
        other.without = self.without
        other.listeners = self.listeners
        other.attempts = self.attempts
        other.attempt = None
        other.facts = self.facts
        other.retry_delay = 0.0
        return other

    def remaining(self) -> float:
        """Seconds until the deadline, `inf` without one; never negative."""
        return max(0.0, self.deadline - self.runtime.now())

    def emit(self, event: Event) -> None:
        """
        Tell the listeners.

        Build events behind `if call.listeners:` on paths that count. A listener that raises is
        logged and skipped: telemetry never changes a result.
        """
        for listener in self.listeners:  # as `tell` does; this is where nearly every event comes by
            try:
                listener(event)
            except Exception as error:
                _skipped(listener, error)


def answered_by(call: Call) -> Target:
    """Who gave the answer of a call."""
    told: Target | None = call.facts.get("target")  # by a stage, where it was not the last attempt
    if told is not None:
        return told
    # Without an attempt a stage answered by itself, at the target it stands for.
    return call.attempts[-1].target if call.attempts else cast("Target", call.target)


current: ContextVar[Call | None] = ContextVar("penstock.call", default=None)
"""
The call that this thread or task is working for, None between calls: what log records are correlated by.

Set while the client is inside a call or reads from its stream, so what the caller does between two chunks is
not taken for the call's doing. From its first attempt on it is the derived call that makes the attempt.
"""


def leave(call: Call, outer: Call | None) -> None:
    """
    Set `current` back to what it was before this call.

    A coroutine that is dropped half-way is closed in whatever context happens to drop it; that one's own call
    is left alone.
    """
    inner = current.get()
    # Derived calls share their attempts.
    if inner is call or (inner is not None and inner.attempts is call.attempts):
        current.set(outer)


def tell(listeners: tuple[Listener, ...], event: Event) -> None:
    """Hand an event to each listener; one that raises is logged and skipped."""
    for listener in listeners:
        try:
            listener(event)
        except Exception as error:
            _skipped(listener, error)


def _skipped(listener: Listener, error: Exception) -> None:
    # The type only: a message could quote what the event carries.
    logger.error("listener %r raised %s; skipped", listener, type(error).__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    How a reply ended.

    Args:
        kind: `ok` (complete), `failed` (broken: see `error`), `abandoned` (closed by its consumer).
        response: the whole answer, or for the other kinds what had arrived of a stream.
        error: what broke it.
    """

    kind: Literal["ok", "failed", "abandoned"]
    response: Response | None = None
    error: BaseException | None = None


class ChunkSource(Protocol):
    """The live end of a stream; tells its owner once how it ended."""

    def __aiter__(self) -> AsyncIterator[Chunk]: ...
    async def __anext__(self) -> Chunk: ...
    async def aclose(self) -> None: ...


class Reply:
    """
    What comes back up: a finished response, or a live stream whose first content event is there.

    Exactly one of `response` and `chunks` is set while the reply is live; when a stream has finished,
    `outcome.response` is what it amounted to.
    """

    __slots__ = ("_broken", "_callbacks", "_layers", "chunks", "outcome", "response")

    def __init__(self, response: Response | None = None, chunks: AsyncIterator[Chunk] | None = None) -> None:
        self.response = response
        self.chunks = chunks
        self.outcome: Outcome | None = None if chunks is not None else Outcome("ok", response)
        self._callbacks: list[Callable[[Outcome], None]] | None = None
        self._layers: list[Any] | None = None
        self._broken: Exception | None = None

    def on_finish(self, callback: Callable[[Outcome], None]) -> None:
        """
        Call back with the outcome exactly once: now, if the reply has finished already.

        Callbacks run innermost first and must not wait. One that raises is logged; the others run.
        """
        if self.outcome is not None:
            _call_back(callback, self.outcome)
        elif self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

    def finish(self, outcome: Outcome) -> None:
        """For the source of the stream: say how it ended; only the first word counts."""
        if self.outcome is not None:
            return
        if self._broken is not None and outcome.kind == "abandoned":
            outcome = Outcome("failed", outcome.response, self._broken)
        self.outcome = outcome
        callbacks, self._callbacks = self._callbacks or (), None
        interrupt: BaseException | None = None
        for callback in callbacks:
            try:
                _call_back(callback, outcome)
            except BaseException as error:  # Ctrl-C in the middle must not keep the permits of the others
                interrupt = error
        if interrupt is not None:
            raise interrupt

    def map_stream(self, transform: Callable[[AsyncIterator[Chunk]], AsyncIterator[Chunk]]) -> None:
        """
        Put an async generator around the chunks of a live stream.

        The inner stream is closed when the outer one ends, breaks or is closed. No effect on a plain
        reply.
        """
        if self.chunks is None:
            return
        inner = self.chunks
        if self._layers is None:
            self._layers = []
        self._layers.append(inner)
        self.chunks = transform(inner)

    async def close(self, error: Exception | None = None) -> None:
        """
        Close the stream from the outside in, each layer whatever the others raise; a second call and a plain
        reply are no-ops.

        Args:
            error: what a layer broke the stream with: the outcome is then `failed`, not `abandoned`.
        """
        if self.chunks is None:
            return
        if self._broken is None:
            self._broken = error
        try:
            await _aclose(self.chunks)
        finally:
            if self._layers:
                # The chunks of what is left: the same from the next layer on.
                self.chunks = self._layers.pop()
                await self.close()


def _call_back(callback: Callable[[Outcome], None], outcome: Outcome) -> None:
    try:
        callback(outcome)
    except Exception as error:
        # The type only: a message could quote what the answer carries.
        logger.error("finish callback %r raised %s; skipped", callback, type(error).__name__)


async def _aclose(chunks: Any) -> None:
    aclose = getattr(chunks, "aclose", None)
    if aclose is not None:
        await aclose()
