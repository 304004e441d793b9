"""
One admission over several limits: all of them or none, in the order of arrival.

Rules
1. A lane is a set of limits; who needs the same ones queues in the same lane, first in, first out. Only
   the head of a lane is looked at, so a small request never passes a large one.
2. Lanes may share limits. A head that a limit has kept waiting holds a claim there until it leaves, and
   whoever came later is not admitted there before it, so no lane can starve another. What the head has
   not lacked is free for others, so a slow model does not block its neighbours.
3. Who would wait longer than allowed is refused when it comes, and a head again as soon as that becomes
   plain; a refusal takes nothing. More than `QUOTA_SECONDS` on what the server said is no throttle but a
   spent quota, and nobody queues for it.
4. A permit is settled once, whatever happens, and so is a ticket: admitted, refused or left.
5. The lock is held for arithmetic. Waiting, waking and the work itself are outside: the events of those
   who were admitted are set once the lock is free.
6. A head that only time can help sleeps; one that a returning permit could help waits for its event.
"""

from __future__ import annotations

import heapq
import itertools
import math
import threading
from bisect import insort
from collections.abc import Iterable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from penstock_limiter.admission import Lane, Pause, Permit, Refusal, Ticket, wake
from penstock_limiter.learnt import LearntLimit

if TYPE_CHECKING:
    from penstock.runtime import Event
    from penstock_limiter.admission import RefusalReason
    from penstock_limiter.limit import Limit, Settlement

QUOTA_SECONDS = 120.0
"""A longer reset by the server's word is a quota: no queueing, so that another target is asked."""

SHORTEST_WAIT = 1e-5
"""Seconds; what rounding leaves of a wait might be too short to move the clock at all."""

_arrival = attrgetter("number")


class Gate:
    """
    Admits, queues and refuses; one for all limits that may ever be needed together.

    Attributes:
        waiting: tickets in all lanes.
        out: permits not settled yet.
        admitted, queued, refused, left: how often each happened; queued ones count once more when they
            are admitted.
    """

    __slots__ = ("_busy", "_number", "admitted", "left", "lock", "out", "queued", "refused", "waiting")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waiting = 0
        self.out = 0
        self.admitted = 0
        self.queued = 0
        self.refused = 0
        self.left = 0
        self._number = 0
        self._busy: dict[Lane, None] = {}

    def enter(
        self, now: float, lane: Lane, tokens: float, allowed: float, max_len: int
    ) -> Permit | Ticket | Refusal:
        """
        Admit at once, queue or refuse.

        Args:
            now: the clock's reading in seconds.
            lane: which limits are needed.
            tokens: what to reserve.
            allowed: seconds the caller would wait; 0 never queues.
            max_len: tickets the lane may hold.
        """
        with self.lock:
            if not lane.queue:
                for limit in lane.limits:
                    if limit.claims or limit.wait(now, tokens) > 0.0:
                        break
                else:
                    return self._admit(now, lane, tokens)
            refusal = self._refusal(now, lane, tokens, allowed)
            if refusal is None and len(lane.queue) >= max_len:
                refusal = Refusal("full", self._predict(now, lane, tokens), lane.limits[0].name)
            if refusal is not None:
                self.refused += 1
                return refusal
            self._number += 1
            ticket = Ticket(self._number, lane, now, tokens, now + allowed)
            lane.queue.append(ticket)
            self._busy[lane] = None
            self.waiting += 1
            self.queued += 1
            for limit in lane.limits:
                limit.queued += 1
                limit.queued_tokens += tokens
            return ticket

    def peek(self, now: float, lane: Lane, tokens: float, allowed: float) -> Refusal | None:
        """What `enter` would refuse with, without any effect."""
        with self.lock:
            return self._refusal(now, lane, tokens, allowed)

    def outlook(self, now: float, lane: Lane, tokens: float) -> Refusal:
        """What lacks and for how long, in the words of a refusal."""
        with self.lock:
            return self._lacking(now, lane, tokens, "queue")

    def look(self, now: float, ticket: Ticket, event: Event) -> Permit | Refusal | Pause:
        """
        What a waiter does next; it calls this before each wait.

        Args:
            now: the clock's reading in seconds.
            ticket: its place.
            event: what it will wait for.
        """
        with self.lock:
            ticket.asleep = False
            ticket.event = None  # it is here already, so nobody need wake it
            woken = [] if ticket.permit is not None else self._look_at(now, ticket.lane)
            answer: Permit | Refusal | Pause | None = ticket.permit
            if answer is None:
                answer = self._next(now, ticket, event)
            if not isinstance(answer, Permit | Pause):
                self.refused += 1
                self._remove(ticket)
                answer = answer or self._lacking(now, ticket.lane, ticket.tokens, "deadline")
                woken += self._look_at(now, ticket.lane)
        wake(woken)
        return answer

    def leave(self, now: float, ticket: Ticket, nothing: Settlement) -> None:
        """
        A waiter was cancelled: out of the queue, or with a permit it never saw, given back whole.

        Args:
            now: the clock's reading in seconds.
            ticket: its place.
            nothing: the settlement of a permit whose work was never begun.
        """
        with self.lock:
            self.left += 1
            permit = ticket.permit
            woken = []
            if permit is None:
                self._remove(ticket)
                woken = self._look_at(now, ticket.lane)
        wake(woken)
        if permit is not None:
            permit.settle(now, nothing)

    def hear(
        self, now: float, limit: LearntLimit, stamp: int, spent: float, limits: Any, *, plenty: bool
    ) -> None:
        """Take in what a head says; see `LearntLimit.hear`."""
        with self.lock:
            limit.hear(now, stamp, spent, limits, plenty=plenty)
            woken = self.pump(now, (limit,)) if self.waiting else []
        wake(woken)

    def pause(self, now: float, limit: LearntLimit, stamp: int, hint: float | None, dice: float) -> float:
        """Take in a 429; see `LearntLimit.pause`."""
        with self.lock:
            return limit.pause(now, stamp, hint, dice)

    def changed(self, now: float) -> None:
        """Limits were changed from outside: admit and wake whom it helps."""
        with self.lock:
            woken = self.pump(now, (), *(lane.queue[0] for lane in self._busy))
        wake(woken)

    def _look_at(self, now: float, lane: Lane) -> list[Event]:
        """Under the lock: one of this lane came, went, or has waited long enough."""
        return self.pump(now, lane.limits, *itertools.islice(lane.queue, 1))

    def pump(self, now: float, limits: Iterable[Limit], *heads: Ticket) -> list[Event]:
        """
        Under the lock: admit by arrival whom a change helps; the events to set once the lock is free.

        However many queue, only the first at each limit can be helped: the others are behind it (rule 2), and
        whom time alone helps has a timer of its own.

        Args:
            now: the clock's reading in seconds.
            limits: those that changed.
            heads: further heads of lanes to look at.
        """
        woken: list[Event] = []
        candidates = [(ticket.number, ticket) for ticket in (*heads, *_first(limits))]
        heapq.heapify(candidates)
        while candidates:
            _, ticket = heapq.heappop(candidates)
            queue = ticket.lane.queue
            if ticket.asleep or not queue or queue[0] is not ticket:  # or admitted a moment ago
                continue
            due = self._try(now, ticket)
            if ticket.permit is not None:
                for after in (*itertools.islice(queue, 1), *_first(ticket.lane.limits)):
                    heapq.heappush(candidates, (after.number, after))
            # A new head must set its own timer, and one that can be helped sooner must set it anew.
            if ticket.event is not None and (ticket.permit is not None or due < ticket.due):
                woken.append(ticket.event)
                ticket.event = None
        return woken

    def _try(self, now: float, ticket: Ticket) -> float:
        """Admit a head if it fits; else when to look again."""
        lane, tokens, number = ticket.lane, ticket.tokens, ticket.number
        wait = 0.0
        for limit in lane.limits:
            claims = limit.claims
            behind = bool(claims) and claims[0].number < number
            lacking = math.inf if behind else limit.wait(now, tokens)
            if lacking > 0.0:
                wait = max(wait, lacking)
                if limit not in ticket.claimed:
                    ticket.claimed.append(limit)
                    insort(claims, ticket, key=_arrival)
        if wait > 0.0:
            return min(now + wait, ticket.expires)
        self._remove(ticket)
        ticket.permit = self._admit(now, lane, tokens)
        return now

    def _next(self, now: float, ticket: Ticket, event: Event) -> Refusal | Pause | None:
        """Under the lock: what a waiter that was not admitted does; None when its time is over."""
        lane, tokens = ticket.lane, ticket.tokens
        if now >= ticket.expires:
            return None
        wait, asleep = math.inf, False
        if lane.queue[0] is ticket:
            wait, asleep = 0.0, True
            for limit in ticket.claimed:
                behind = limit.claims[0] is not ticket
                lacking = math.inf if behind else limit.wait(now, tokens)
                if not behind and (hopeless := self._hopeless(now, limit, tokens)):
                    return hopeless
                wait = max(wait, lacking)
                if lacking > 0.0 and (behind or limit.elastic(now, tokens)):
                    asleep = False
        due = now + max(wait, SHORTEST_WAIT)
        if due > ticket.expires:
            if asleep:
                return None
            due = ticket.expires
        ticket.due, ticket.asleep, ticket.event = due, asleep, event
        return Pause(due, asleep)

    def _admit(self, now: float, lane: Lane, tokens: float) -> Permit:
        self.admitted += 1
        self.out += 1
        receipts: list[Any] = []
        for limit in lane.limits:
            receipts.append(limit.take(now, tokens))  # noqa: PERF401  # on 3.11 a comprehension is a call
        return Permit(self, lane, now, tokens, receipts)

    def _remove(self, ticket: Ticket) -> None:
        lane = ticket.lane
        if lane.queue[0] is not ticket:
            lane.queue.remove(ticket)
        else:
            lane.queue.popleft()
            if lane.queue:
                lane.queue[0].due = math.inf  # now the head: whatever it waits for, it must look
            else:
                del self._busy[lane]
        self.waiting -= 1
        for limit in lane.limits:
            limit.queued -= 1
            limit.queued_tokens -= ticket.tokens
        for limit in ticket.claimed:
            limit.claims.remove(ticket)
        ticket.claimed.clear()

    def _refusal(self, now: float, lane: Lane, tokens: float, allowed: float) -> Refusal | None:
        for limit in lane.limits:
            if hopeless := self._hopeless(now, limit, tokens):
                return hopeless
        predicted = self._predict(now, lane, tokens)
        if predicted > allowed or (allowed <= 0.0 and not self._fits(now, lane, tokens)):
            return self._lacking(now, lane, tokens, "queue")
        return None

    def _hopeless(self, now: float, limit: Limit, tokens: float) -> Refusal | None:
        """What no queueing would help."""
        if limit.too_large(tokens) is not None:
            return Refusal("too_large", math.inf, limit.name)
        if isinstance(limit, LearntLimit):
            wait = limit.wait(now, tokens)
            if wait > QUOTA_SECONDS:
                return Refusal("quota", wait, limit.name)
        return None

    def _fits(self, now: float, lane: Lane, tokens: float) -> bool:
        return not lane.queue and all(
            not limit.claims and limit.wait(now, tokens) <= 0.0 for limit in lane.limits
        )

    def _predict(self, now: float, lane: Lane, tokens: float) -> float:
        return max(limit.predict(now, tokens) for limit in lane.limits)

    def _lacking(self, now: float, lane: Lane, tokens: float, otherwise: RefusalReason) -> Refusal:
        """A refusal that names the limit with the longest wait."""
        worst = max(lane.limits, key=lambda limit: limit.predict(now, tokens))
        reason: RefusalReason = worst.why(now, tokens)
        if reason == "queue":
            reason = otherwise
        return Refusal(reason, worst.predict(now, tokens), worst.name)


def _first(limits: Iterable[Limit]) -> list[Ticket]:
    """Whoever is first among those that each of the limits has kept waiting."""
    return [limit.claims[0] for limit in limits if limit.claims]
