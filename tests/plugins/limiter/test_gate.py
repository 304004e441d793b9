"""The gate: all or nothing, in the order of arrival, and nothing taken by those who are refused."""

from __future__ import annotations

import math
import random
import sys
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock_limiter.admission import Lane, Pause, Permit, Refusal, Ticket
from penstock_limiter.gate import Gate
from penstock_limiter.learnt import LearntLimit
from penstock_limiter.limit import BoundedLimit, Bounds, Settlement
from penstock_limiter.waiting import NOTHING

DONE = Settlement("success")


class Flag:
    """An event that only remembers that it was set."""

    def __init__(self) -> None:
        self.raised = False

    def set(self) -> None:
        self.raised = True

    def is_set(self) -> bool:
        return self.raised

    async def wait(self, due: float) -> bool:
        raise AssertionError("the gate never waits")


def limit(name: str = "limit", **bounds: Any) -> BoundedLimit:
    return BoundedLimit(name, Bounds(**bounds))


def enter(gate: Gate, lane: Lane, now: float, tokens: float = 0.0, allowed: float = 1000.0) -> Any:
    return gate.enter(now, lane, tokens, allowed, 1000)


def waiter(gate: Gate, lane: Lane, now: float, tokens: float = 0.0, allowed: float = 1000.0) -> Ticket:
    """A ticket whose owner waits."""
    ticket = enter(gate, lane, now, tokens, allowed)
    assert isinstance(ticket, Ticket)
    assert isinstance(gate.look(now, ticket, Flag()), Pause)
    return ticket


def test_it_takes_from_all_limits_or_from_none() -> None:
    gate = Gate()
    wide, narrow = limit("wide", rate=1.0, burst=10), limit("narrow", tokens=100.0)
    lane = Lane([wide, narrow])
    assert isinstance(enter(gate, lane, 0.0, 80.0), Permit)
    assert wide.requests is not None
    before = wide.requests.available(0.0)
    refused = enter(gate, lane, 0.0, 80.0, allowed=0.0)
    assert isinstance(refused, Refusal)
    assert (refused.reason, refused.limit) == ("tokens", "narrow")
    assert wide.requests.available(0.0) == before
    assert wide.out == narrow.out == 1


def test_small_requests_never_starve_a_large_one() -> None:
    """aiolimiter lets whoever fits go first, so a large request waits while small ones stream past."""
    gate = Gate()
    lane = Lane([limit(tokens=100.0)])
    enter(gate, lane, 0.0, 60.0)
    large = waiter(gate, lane, 1.0, 90.0)
    small = [waiter(gate, lane, 1.0 + i / 10, 5.0) for i in range(20)]
    now = 61.0
    assert isinstance(gate.look(now, large, Flag()), Permit)
    assert [ticket.permit is not None for ticket in small] == [True, True] + [False] * 18


def test_a_large_request_in_another_lane_is_not_starved_either() -> None:
    gate = Gate()
    shared = limit("shared", tokens=100.0)
    one = Lane([shared, limit("one", rate=100.0, burst=100)])
    two = Lane([shared, limit("two", rate=100.0, burst=100)])
    enter(gate, two, 0.0, 50.0)
    large = waiter(gate, one, 1.0, 90.0)
    late = waiter(gate, two, 2.0, 5.0)
    assert isinstance(gate.look(61.0, large, Flag()), Permit)
    assert late.permit is not None  # 90 + 5 fit together
    assert gate.waiting == 0


def test_a_slow_model_does_not_block_its_neighbour() -> None:
    gate = Gate()
    shared = limit("provider", rate=100.0, burst=100)
    slow = Lane([shared, limit("slow", rate=0.01, burst=1)])
    quick = Lane([shared, limit("quick", rate=100.0, burst=100)])
    enter(gate, slow, 0.0)
    waiter(gate, slow, 0.0)
    assert isinstance(enter(gate, quick, 0.0), Permit)


def test_it_is_first_in_first_out_under_concurrency() -> None:
    gate = Gate()
    lane = Lane([limit(concurrency=1)])
    permit = enter(gate, lane, 0.0)
    tickets = [waiter(gate, lane, 0.1 * i) for i in range(1, 6)]
    order = []
    for _ in range(5):
        permit.settle(9.0, DONE)
        (served,) = [t for t in tickets if t.permit is not None and t not in order]
        order.append(served)
        permit = served.permit
    assert order == tickets


def test_a_permit_settles_once() -> None:
    gate = Gate()
    one = limit(concurrency=2, tokens=100.0)
    lane = Lane([one])
    permit = enter(gate, lane, 0.0, 50.0)
    enter(gate, lane, 0.0, 50.0)
    for _ in range(3):
        permit.settle(1.0, Settlement("success", tokens=10.0))
    assert one.permits is not None
    assert one.tokens is not None
    assert (one.permits.in_use, one.out, gate.out, one.tokens.used) == (1, 1, 1, 60.0)


def test_more_than_the_limit_is_refused_at_once_and_not_queued() -> None:
    gate = Gate()
    lane = Lane([limit(tokens=100.0)])
    refused = enter(gate, lane, 0.0, 101.0)
    assert isinstance(refused, Refusal)
    assert refused.reason == "too_large"


def test_the_predicted_wait_decides_at_the_door() -> None:
    gate = Gate()
    lane = Lane([limit(rate=1.0, burst=1)])
    enter(gate, lane, 0.0)
    assert isinstance(enter(gate, lane, 0.0, allowed=2.5), Ticket)
    assert isinstance(enter(gate, lane, 0.0, allowed=2.5), Ticket)
    refused = enter(gate, lane, 0.0, allowed=2.5)
    assert isinstance(refused, Refusal)
    assert abs(refused.wait - 3.0) < 1e-3
    assert gate.waiting == 2


def test_a_permit_that_comes_back_costs_the_same_however_many_queue() -> None:
    def functions_called(lanes: int) -> int:
        gate, shared = Gate(), limit("shared", concurrency=1)
        first = enter(gate, Lane([limit("key", concurrency=1), shared]), 0.0)
        assert isinstance(first, Permit)
        for _ in range(lanes):
            waiter(gate, Lane([limit("key", concurrency=1), shared]), 0.0)
        called = 0

        def profile(frame: Any, event: str, argument: Any) -> None:
            nonlocal called
            called += event == "call"

        sys.setprofile(profile)
        try:
            first.settle(1.0, DONE)
        finally:
            sys.setprofile(None)
        assert gate.waiting == lanes - 1
        return called

    assert functions_called(500) == functions_called(5)


def test_the_queue_is_bounded() -> None:
    gate = Gate()
    lane = Lane([limit(concurrency=1)])
    gate.enter(0.0, lane, 0.0, 99.0, 2)
    found = [gate.enter(0.0, lane, 0.0, 99.0, 2) for _ in range(3)]
    assert [type(each).__name__ for each in found] == ["Ticket", "Ticket", "Refusal"]
    assert found[2].reason == "full"


def test_who_leaves_the_queue_lets_the_next_one_through() -> None:
    gate = Gate()
    lane = Lane([limit(tokens=100.0)])
    enter(gate, lane, 0.0, 60.0)
    large = waiter(gate, lane, 1.0, 90.0)
    small = waiter(gate, lane, 1.0, 10.0)
    gate.leave(2.0, large, NOTHING)
    assert small.permit is not None
    assert gate.waiting == 0
    assert lane.limits[0].claims == []


def test_who_is_cancelled_with_a_permit_it_never_saw_gives_it_back_whole() -> None:
    gate = Gate()
    one = limit(concurrency=1, rate=1.0, burst=2)
    lane = Lane([one])
    first = enter(gate, lane, 0.0)
    ticket = waiter(gate, lane, 0.0)
    first.settle(0.0, DONE)
    assert ticket.permit is not None
    gate.leave(0.0, ticket, NOTHING)
    assert one.permits is not None
    assert one.requests is not None
    assert one.permits.in_use == 0
    assert one.requests.available(0.0) == 1.0


def test_a_head_whose_wait_has_become_too_long_is_refused_when_it_looks() -> None:
    gate = Gate()
    learnt = LearntLimit("m")
    lane = Lane([limit(rate=1.0, burst=1), learnt])
    enter(gate, lane, 0.0)
    ticket = waiter(gate, lane, 0.0, allowed=5.0)
    gate.pause(0.5, learnt, learnt.stamp(), 60.0, 0.0)
    answer = gate.look(1.0, ticket, Flag())
    assert isinstance(answer, Refusal)
    assert answer.reason == "paused"
    assert 59.0 < answer.wait < 60.0
    assert gate.waiting == 0


def test_nobody_queues_for_a_spent_quota_however_long_they_may_wait() -> None:
    gate = Gate()
    learnt = LearntLimit("m")
    lane = Lane([limit(concurrency=1), learnt])
    enter(gate, lane, 0.0)
    flags = [Flag(), Flag()]
    tickets = [enter(gate, lane, 0.0, allowed=math.inf) for _ in flags]
    for ticket, flag in zip(tickets, flags, strict=True):
        gate.look(0.0, ticket, flag)
    gate.pause(0.0, learnt, learnt.stamp(), 3600.0, 0.0)
    refused = enter(gate, lane, 0.0, allowed=math.inf)
    assert isinstance(refused, Refusal)
    assert refused.reason == "quota"
    first = gate.look(0.0, tickets[0], Flag())
    assert isinstance(first, Refusal)


def test_the_next_head_hears_of_a_spent_quota_at_once() -> None:
    gate = Gate()
    learnt = LearntLimit("m")
    lane = Lane([limit(concurrency=1), learnt])
    enter(gate, lane, 0.0)
    first, second = (enter(gate, lane, 0.0, allowed=500.0) for _ in range(2))
    gate.look(0.0, first, Flag())
    flag = Flag()
    gate.look(0.0, second, flag)
    gate.pause(0.0, learnt, learnt.stamp(), 3600.0, 0.0)
    assert isinstance(gate.look(1.0, first, Flag()), Refusal)
    assert flag.raised
    assert isinstance(gate.look(1.0, second, Flag()), Refusal)


def test_nobody_passes_a_waiter_that_has_not_looked_yet() -> None:
    gate = Gate()
    lane = Lane([limit(rate=1.0, burst=1)])
    enter(gate, lane, 0.0)
    first = enter(gate, lane, 0.5)
    second = enter(gate, lane, 1.0)
    assert isinstance(second, Ticket)
    assert isinstance(gate.look(1.0, first, Flag()), Permit)


def test_a_peek_changes_nothing() -> None:
    gate = Gate()
    one = limit(rate=1.0, burst=1)
    lane = Lane([one])
    assert gate.peek(0.0, lane, 0.0, 2.0) is None
    assert isinstance(enter(gate, lane, 0.0), Permit)
    assert gate.peek(0.0, lane, 0.0, 2.0) is None
    assert isinstance(gate.peek(0.0, lane, 0.0, 0.5), Refusal)
    assert (gate.admitted, gate.refused, gate.waiting) == (1, 0, 0)


def test_only_time_lets_a_head_sleep_and_a_permit_that_may_come_back_keeps_it_awake() -> None:
    gate = Gate()
    timed = Lane([limit(rate=1.0, burst=1)])
    enter(gate, timed, 0.0)
    pause = gate.look(0.0, enter(gate, timed, 0.0), Flag())
    assert isinstance(pause, Pause)
    assert pause.asleep
    assert abs(pause.due - 1.0) < 1e-3
    held = Lane([limit(tokens=100.0)])
    enter(gate, held, 0.0, 100.0)
    pause = gate.look(0.0, enter(gate, held, 0.0, 50.0), Flag())
    assert isinstance(pause, Pause)
    assert not pause.asleep


def test_tokens_given_back_wake_the_head() -> None:
    gate = Gate()
    lane = Lane([limit(tokens=100.0)])
    permit = enter(gate, lane, 0.0, 100.0)
    flag = Flag()
    ticket = enter(gate, lane, 0.0, 50.0)
    gate.look(0.0, ticket, flag)
    permit.settle(1.0, Settlement("success", tokens=20.0))
    assert flag.raised
    assert ticket.permit is not None


class GateMachine(RuleBasedStateMachine):
    """Lanes that share limits, against an exact log of what was admitted and settled."""

    RATE, BURST, TOKENS, PERMITS = 2.0, 4, 100.0, 3

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()
        shared = limit(
            "shared", rate=self.RATE, burst=self.BURST, tokens=self.TOKENS, concurrency=self.PERMITS
        )
        self.shared = shared
        own = [limit("a", rate=1.0, burst=2), limit("b", tokens=60.0), LearntLimit("c")]
        self.lanes = [Lane([shared, each]) for each in own]
        self.now = 0.0
        self.out: list[tuple[Permit, list[float]]] = []
        self.queue: list[Ticket] = []
        self.log: list[list[float]] = []
        self.requests: list[float] = []

    def admitted(self, permit: Permit) -> None:
        entry = [self.now, permit.tokens]
        self.log.append(entry)
        self.requests.append(self.now)
        self.out.append((permit, entry))

    def collect(self) -> None:
        """Whoever was admitted in the queue, by arrival inside each lane."""
        for lane in self.lanes:
            mine = [t for t in self.queue if t.lane is lane]
            served = [t.permit is not None for t in mine]
            assert served == sorted(served, reverse=True), "somebody was overtaken in its lane"
        for ticket in [t for t in self.queue if t.permit is not None]:
            self.queue.remove(ticket)
            assert ticket.permit is not None
            self.admitted(ticket.permit)

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.5, 1.0, 7.0, 30.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(lane=st.integers(0, 2), tokens=st.integers(0, 70), allowed=st.sampled_from([0.0, 1.0, 20.0, 500.0]))
    def somebody_comes(self, lane: int, tokens: int, allowed: float) -> None:
        before = self.state()
        found = self.gate.enter(self.now, self.lanes[lane], float(tokens), allowed, 20)
        if isinstance(found, Permit):
            self.admitted(found)
        elif isinstance(found, Ticket):
            self.queue.append(found)
            self.look(len(self.queue) - 1)
        else:
            assert self.state() == before, "a rejection took something"

    def state(self) -> tuple[Any, ...]:
        assert self.shared.requests is not None
        assert self.shared.tokens is not None
        return (
            self.shared.requests.available(self.now),
            self.shared.tokens.available(self.now),
            [
                (each.out, each.queued, each.queued_tokens, len(each.claims))
                for lane in self.lanes
                for each in lane.limits
            ],
        )

    @precondition(lambda self: self.queue)
    @rule(which=st.integers(0, 100))
    def somebody_looks(self, which: int) -> None:
        self.look(which % len(self.queue))

    def look(self, which: int) -> None:
        ticket = self.queue[which]
        answer = self.gate.look(self.now, ticket, Flag())
        if isinstance(answer, Refusal):
            self.queue.remove(ticket)
        self.collect()

    @precondition(lambda self: self.queue)
    @rule(which=st.integers(0, 100))
    def somebody_leaves(self, which: int) -> None:
        ticket = self.queue.pop(which % len(self.queue))
        self.gate.leave(self.now, ticket, NOTHING)
        self.collect()

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0, 100), share=st.floats(0, 1), sent=st.booleans())
    def somebody_finishes(self, which: int, share: float, sent: bool) -> None:
        permit, entry = self.out.pop(which % len(self.out))
        entry[1] = permit.tokens * share if sent else 0.0
        if not sent:
            self.requests.remove(entry[0])
        permit.settle(self.now, Settlement("success" if sent else "ignored", entry[1], request=sent))
        permit.settle(self.now, DONE)
        self.collect()

    @invariant()
    def every_window_is_within_the_limits(self) -> None:
        for start, _ in self.log:
            assert sum(c for at, c in self.log if start <= at < start + 60.0) <= self.TOKENS + 1e-6
        times = sorted(self.requests)
        for i in range(len(times)):
            for j in range(i, len(times)):
                assert j - i + 1 <= self.BURST + self.RATE * (times[j] - times[i]) + 1e-3
        assert len(self.out) <= self.PERMITS

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.gate.waiting == len(self.queue)
        assert self.gate.out == len(self.out) == self.shared.out
        assert self.shared.queued == len(self.queue)
        claiming = {id(t) for lane in self.lanes for each in lane.limits for t in each.claims}
        assert claiming <= {id(lane.queue[0]) for lane in self.lanes if lane.queue}


GateMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestGateMachine = GateMachine.TestCase


def test_a_gate_of_many_lanes_drains_whatever_happens() -> None:
    """Random waiters over ten lanes: each is admitted in the end, and all counts end at zero."""
    dice = random.Random(11)
    gate = Gate()
    shared = limit("shared", rate=50.0, burst=5, tokens=5000.0, concurrency=6)
    lanes = [Lane([shared, limit(str(i), rate=5.0, burst=2)]) for i in range(10)]
    queue: list[Ticket] = []
    out: list[Permit] = []
    now = 0.0
    for step in range(1200):
        now += dice.random() / 50
        if step < 300:
            found = gate.enter(now, dice.choice(lanes), dice.random() * 200, 1e6, 1000)
            if isinstance(found, Permit):
                out.append(found)
            elif isinstance(found, Ticket):
                queue.append(found)
        elif step > 500:
            now += 1.0
        if out and dice.random() < 0.7:
            out.pop(dice.randrange(len(out))).settle(now, Settlement("success", dice.random() * 100))
        for ticket in list(queue):
            answer = gate.look(now, ticket, Flag()) if ticket.permit is None else ticket.permit
            if isinstance(answer, Permit):
                queue.remove(ticket)
                out.append(answer)
            if step < 500:
                break
    while out:
        out.pop().settle(now, DONE)
    assert queue == []
    assert (gate.waiting, gate.out, shared.out, shared.queued) == (0, 0, 0, 0)
    assert abs(shared.queued_tokens) < 1e-6
