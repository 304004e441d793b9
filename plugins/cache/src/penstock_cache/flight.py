"""
Single flight: identical calls at the same time become one.

Rules
1. The first call for a key leads its flight; those that come before it lands follow. A flight lands once,
   with an answer, a failure or a cancellation, and what it has is shared by all who follow.
2. The leader stores the answer before it lands, and landing and leaving the table of flights is one step. A
   call that looked into the store before that and joins after it leads a new flight, and is told to look
   again: otherwise it would ask upstream a second time.
3. Cancelling a follower touches nobody else. A leader that dies of its own cancellation (or of its own
   deadline) shares nothing: its followers join again, one of them leads.
4. A streamed answer is a log of events. The leader reads from upstream itself while it is alone. As soon as
   it is between two reads and somebody follows, the flight is *detached*: a background task reads upstream
   into the log, and the leader becomes a reader like all others. So neither a slow nor a vanished leader
   holds up anybody.
5. A follower gets its first event after the detachment or the landing, never before: until then the leader's
   own cancellation may still break the stream, and a follower that has shown nothing can join again.
6. A detached flight whose readers have all gone is deserted: its stream is closed, nothing is kept.

No I/O, no clock; two locks, held for bookkeeping only: one for the table, one for each flight.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from penstock.frozen import dataclass

if TYPE_CHECKING:
    from penstock_cache.entry import LogEvent

Part: TypeAlias = Literal["lead", "look_again", "follow"]
UNTIL_LANDED = -2
UNTIL_SHARED = -1
"""What to wait for instead of a position in the log: the landing; or that the log may be read."""


class Signal(Protocol):
    """The part of `penstock.runtime.Event` that flights need."""

    def set(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Landing:
    """
    How a flight ended.

    Args:
        kind: `cancelled` means it says nothing about the request: join again.
        value: the answer.
        error: the failure.
        log: the events of an answer that came from the store; a live one has them in the flight.
        source: whatever followers should know of where it came from.
    """

    kind: Literal["answer", "failure", "cancelled"]
    value: Any = None
    error: BaseException | None = None
    log: Sequence[LogEvent] | None = None
    source: Any = None


CANCELLED = Landing("cancelled")


class Flight:
    """
    One call on behalf of several.

    Attributes:
        key: what it is for.
        log: the events of a streamed answer so far; only appended to.
        landing: how it ended, None while it is under way.
        stream: the upstream of a streamed answer, set when it opens; belongs to the caller.
    """

    __slots__ = (
        "_detached",
        "_followers",
        "_landing_signals",
        "_leader_present",
        "_live",
        "_lock",
        "_log_signals",
        "_reading",
        "key",
        "landing",
        "log",
        "stream",
    )

    def __init__(self, key: Any) -> None:
        self.key = key
        self.log: list[LogEvent] = []
        self.landing: Landing | None = None
        self.stream: Any = None
        self._lock = threading.Lock()
        self._live = False
        self._reading = False
        self._detached = False
        self._leader_present = True
        self._followers = 0
        # Dictionaries, for removal in one step when a waiter gives up.
        self._landing_signals: dict[Signal, None] = {}
        self._log_signals: dict[Signal, None] = {}

    # The leader

    def opened(self, stream: Any) -> bool:
        """The answer is a stream; True: somebody follows already, the caller starts the background reader."""
        with self._lock:
            self.stream = stream
            self._live = True
            return self._detach()

    def begin_read(self) -> bool:
        """Whether the leader is to read from upstream now; False: it reads the log."""
        with self._lock:
            if self._detached or self.landing is not None:
                return False
            self._reading = True
            return True

    def end_read(self, event: LogEvent) -> bool:
        """The leader has read an event; True: the caller starts the background reader."""
        with self._lock:
            self._reading = False
            self.log.append(event)
            # Nobody reads the log before it is detached, so there is nobody to wake.
            return self._followers > 0 and self._detach()

    def leave_lead(self) -> bool:
        """The leader stops reading; True: nobody else reads, so it closes the stream and lands the flight."""
        with self._lock:
            self._leader_present = False
            alone = not self._detached and self.landing is None
            self._live = self._live and not alone
            return alone

    # The followers

    def take_over(self) -> bool:
        """A follower came; True: the leader is idle, so the caller starts the background reader."""
        with self._lock:
            return self._detach()

    def leave(self) -> None:
        """A follower has gone."""
        with self._lock:
            self._followers -= 1

    # The background reader

    def append(self, event: LogEvent) -> bool:
        """An event arrived; False: everybody has gone, the caller closes the stream and lands the flight."""
        with self._lock:
            self.log.append(event)
            signals, self._log_signals = self._log_signals, {}
            wanted = self._leader_present or self._followers > 0
            # Who comes from now on waits for the landing, and joins again.
            self._live = self._detached = wanted
        for signal in signals:
            signal.set()
        return wanted

    # Waiting

    def reached(self, position: int) -> bool:
        """Whether there is an event at this position, or what a constant above says, or a landing."""
        if self.landing is not None:
            return True
        if position >= 0:
            return len(self.log) > position
        return position == UNTIL_SHARED and self._detached

    def watch(self, signal: Signal, position: int) -> bool:
        """Have a signal set as soon as `reached(position)` may be true; False: it is already."""
        with self._lock:
            if self.reached(position):
                return False
            signals = self._landing_signals if position == UNTIL_LANDED else self._log_signals
            signals[signal] = None
            return True

    def unwatch(self, signal: Signal) -> None:
        """The waiter gave up, or was woken."""
        with self._lock:
            self._landing_signals.pop(signal, None)
            self._log_signals.pop(signal, None)

    def _detach(self) -> bool:
        if not self._live or self._reading or self._detached or self._followers == 0:
            return False
        if self.landing is not None:
            return False
        self._detached = True
        signals, self._log_signals = self._log_signals, {}
        for signal in signals:
            signal.set()
        return True

    def _join(self) -> None:
        with self._lock:
            self._followers += 1

    def _land(self, landing: Landing) -> None:
        with self._lock:
            if self.landing is not None:
                return
            self.landing = landing
            signals = [*self._landing_signals, *self._log_signals]
            self._landing_signals, self._log_signals = {}, {}
        for signal in signals:
            signal.set()


class Flights:
    """The flights of one cache."""

    REMEMBERED = 1024
    """Landings that are remembered for rule 2; a call that missed more of them looks again in any case."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Any, Flight] = {}
        self.landings = 0
        """So many so far: a point in their order, to be read before the store is asked (see `join`)."""
        self._landed: OrderedDict[Any, int] = OrderedDict()

    def join(self, key: Any, mark: int) -> tuple[Flight, Part]:
        """
        Lead or follow.

        Args:
            key: what is asked.
            mark: what `landings` was before the store was asked.

        Returns:
            The flight and the part in it; `look_again` leads, but the store may have the answer by now.
            Whoever leads must `land` it on every path, whoever follows must `leave` it.
        """
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                flight._join()
                return flight, "follow"
            flight = self._flights[key] = Flight(key)
            missed = self.landings - mark
            if missed and (missed >= self.REMEMBERED or self._landed.get(key, 0) > mark):
                return flight, "look_again"
            return flight, "lead"

    def land(self, flight: Flight, landing: Landing) -> None:
        """End a flight; only the first time counts."""
        with self._lock:
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]
                if landing.kind == "answer":
                    self.landings += 1
                    landed = self._landed
                    if flight.key in landed:
                        landed.move_to_end(flight.key)
                    landed[flight.key] = self.landings
                    if len(landed) > self.REMEMBERED:
                        landed.popitem(last=False)
        flight._land(landing)

    def __len__(self) -> int:
        return len(self._flights)
