"""
Streams out of the cache: a recorded one played again, and a live one read by several.

The rules of sharing are in `flight.py`; here they meet the runtime.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from penstock.call import Outcome, Reply, current
from penstock.errors import StreamInterrupted
from penstock.exchange import deadline_exceeded
from penstock_cache.entry import LogEvent, added_up, record, revive
from penstock_cache.flight import CANCELLED, UNTIL_LANDED, Flight, Landing

if TYPE_CHECKING:
    from penstock.call import Call
    from penstock.responses import ChatResponse, Chunk
    from penstock.runtime import Runtime
    from penstock_cache.background import Jobs


async def reached(flight: Flight, position: int, runtime: Runtime, due: float) -> bool:
    """Wait until `flight.reached(position)`; False when the clock reads `due` before."""
    while not flight.reached(position):
        if runtime.now() >= due:
            return False
        signal = runtime.event()
        if flight.watch(signal, position):
            try:
                await signal.wait(due)
            finally:
                flight.unwatch(signal)
    return True


def copy_of(error: BaseException) -> BaseException:
    """
    The same error for another call: its traceback and attempts are that call's own.

    Built without `__init__`, whose arguments nobody knows here.
    """
    try:
        other = type(error).__new__(type(error), *error.args)
        other.args = error.args
        other.__dict__.update(error.__dict__)
    except Exception:  # an exception of a foreign make; better shared than lost
        return error
    other.__cause__ = error.__cause__
    return other


class Recording:
    """The events of an entry as a stream with the life of a real one."""

    __slots__ = ("_events", "_response", "reply")

    def __init__(self, events: Iterator[Chunk], response: Callable[[], ChatResponse]) -> None:
        self._events = events
        self._response = response
        self.reply = Reply(chunks=self)

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        if self.reply.outcome is None:
            for chunk in self._events:
                return chunk
            self.reply.finish(Outcome("ok", self._response()))
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Stop; the outcome is `abandoned` unless the stream had ended."""
        if self.reply.outcome is None:
            self.reply.finish(Outcome("abandoned", self._response()))


def play(log: Sequence[LogEvent], response: Callable[[], ChatResponse]) -> Reply:
    """A live reply that plays recorded events."""
    return Recording(map(revive, log), response).reply


class Upstream:
    """
    The live stream behind a flight: who reads it may change, it is closed once.

    Args:
        call: the leader's.
        flight: whose log is filled.
        reply: what came from inside.
        keep: stores the answer that these events are.
        land: ends the flight.
        jobs: runs the background reader.
    """

    __slots__ = ("_flight", "_inner", "_jobs", "_keep", "_land", "call", "next")

    def __init__(
        self,
        call: Call,
        flight: Flight,
        reply: Reply,
        *,
        keep: Callable[[Outcome, list[LogEvent]], Coroutine[Any, Any, None]],
        land: Callable[[Flight, Landing], None],
        jobs: Jobs,
    ) -> None:
        self.call = call
        self._flight = flight
        self._inner = reply
        self._keep = keep
        self._land = land
        self._jobs = jobs
        self.next: Callable[[], Any] = reply.chunks.__anext__  # type: ignore[union-attr]  # a live reply

    async def complete(self) -> None:
        """The stream has ended: keep the answer, then land; in this order, and on every path."""
        outcome = self._inner.outcome
        if outcome is None or outcome.kind != "ok" or outcome.response is None:
            # A stage inside cut the stream short: what is there is what everybody gets, and nobody keeps.
            self.land(Landing("answer", added_up(self._flight.log), source=self.call))
            await self._inner.close()
            return
        try:
            await self._keep(outcome, self._flight.log)
        finally:
            self.land(Landing("answer", outcome.response, source=self.call))

    def broke(self, error: BaseException) -> None:
        """The stream failed, or whoever read it was cancelled."""
        failed = isinstance(error, Exception)
        self.land(Landing("failure", error=error, source=self.call) if failed else CANCELLED)

    async def close(self) -> None:
        """Close the stream unread; the flight says nothing about the request."""
        try:
            await self._inner.close()
        finally:
            self.land(CANCELLED)

    def land(self, landing: Landing) -> None:
        """End the flight; only the first time counts."""
        self._land(self._flight, landing)

    def detach(self) -> None:
        """Read on in the background."""
        if not self._jobs.start(self._pump, lambda: self.land(CANCELLED)):
            # The cache is closed, or there is no thread: nobody will read, so nobody may wait.
            self.land(CANCELLED)

    async def _pump(self) -> None:
        flight = self._flight
        current.set(self.call)
        try:
            while True:
                try:
                    chunk = await self.next()
                except StopAsyncIteration:
                    await self.complete()
                    return
                if not flight.append(record(chunk)):
                    return
        except Exception as error:
            self.broke(error)
        finally:
            await self.close()


class LogReader:
    """
    One call's reading of a shared stream.

    Args:
        call: the reader's.
        flight: whose log is read.
    """

    __slots__ = ("_call", "_due", "_flight", "_position", "reply")

    def __init__(self, call: Call, flight: Flight) -> None:
        self._call = call
        self._flight = flight
        self._position = 0
        self._due = call.stream_deadline
        self.reply = Reply(chunks=self)

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        if self.reply.outcome is not None:
            raise StopAsyncIteration
        flight = self._flight
        while True:
            landing = flight.landing  # before the log: nothing is appended after it
            if self._position < len(flight.log):
                event = flight.log[self._position]
                self._position += 1
                return revive(event)
            if landing is not None:
                raise self._ended(landing)
            try:
                in_time = await reached(flight, self._position, self._call.runtime, self._due)
            except BaseException:
                self._finish("abandoned")
                raise
            if not in_time:
                expired = deadline_exceeded(self._call)
                expired.partial = self._partial()
                self._finish("failed", error=expired)
                raise expired

    async def aclose(self) -> None:
        """Stop reading; the outcome is `abandoned` unless the stream had ended."""
        self._finish("abandoned")

    def _ended(self, landing: Landing) -> BaseException:
        """The exception that ends the iteration."""
        if landing.kind == "answer":
            self._finish("ok", landing.value)
            return StopAsyncIteration()
        if landing.error is not None:
            error = copy_of(landing.error)
        else:
            error = StreamInterrupted(
                f"{self._call.target or self._call.route}: the call that led this shared stream has ended",
                partial=self._partial(),
            )
        self._finish("failed", error=error)
        return error

    def _partial(self) -> ChatResponse:
        return added_up(self._flight.log[: self._position])

    def _finish(self, kind: Any, response: Any = None, error: BaseException | None = None) -> None:
        if self.reply.outcome is None:
            self._left()
            self.reply.finish(Outcome(kind, response if kind == "ok" else self._partial(), error))

    def _left(self) -> None:
        self._flight.leave()


class LeadReader(LogReader):
    """The leader's reading: from upstream while it is alone, from the log when the flight is detached."""

    __slots__ = ("_upstream",)

    def __init__(self, call: Call, flight: Flight, upstream: Upstream) -> None:
        super().__init__(call, flight)
        self._upstream = upstream

    async def __anext__(self) -> Chunk:
        flight = self._flight
        if self._position < len(flight.log) or not flight.begin_read():
            return await super().__anext__()
        upstream = self._upstream
        try:
            chunk: Chunk = await upstream.next()
        except StopAsyncIteration:
            try:
                await upstream.complete()
            finally:
                landing = flight.landing
                self._finish("ok", landing.value if landing is not None else None)
            raise
        except BaseException as error:
            upstream.broke(error)
            self._finish("failed" if isinstance(error, Exception) else "abandoned", error=error)
            await upstream.close()
            raise
        self._position += 1
        if flight.end_read(record(chunk)):
            upstream.detach()
        return chunk

    async def aclose(self) -> None:
        """Stop reading; upstream is closed when nobody else reads it."""
        if self.reply.outcome is None:
            try:
                if self._flight.leave_lead():
                    await self._upstream.close()
            finally:
                self._finish("abandoned")

    def _left(self) -> None:
        self._flight.leave_lead()


async def landed(flight: Flight, call: Call) -> Landing | None:
    """Wait for the landing; None when the call's deadline comes first."""
    in_time = await reached(flight, UNTIL_LANDED, call.runtime, call.deadline)
    return flight.landing if in_time else None
