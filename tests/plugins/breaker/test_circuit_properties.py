"""
The circuit against a naive reference: an event log searched from the beginning each time, and a table of
legal transitions.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from penstock_breaker import BreakerPolicy, Circuit, Permit, Refusal, Transition
from penstock_breaker.reports import Extension, LostProbes

LEGAL = {
    ("closed", "open"): {"consecutive_failures", "failure_rate", "slow_rate"},
    ("open", "half_open"): {"rest_over"},
    ("half_open", "open"): {"probe_failed", "probe_slow"},
    ("closed", "forced_open"): {"forced"},
    ("open", "forced_open"): {"forced"},
    ("half_open", "forced_open"): {"forced"},
    ("disabled", "forced_open"): {"forced"},
    ("closed", "disabled"): {"disabled"},
    ("open", "disabled"): {"disabled"},
    ("half_open", "disabled"): {"disabled"},
    ("forced_open", "disabled"): {"disabled"},
    ("open", "closed"): {"reset"},
    ("half_open", "closed"): {"reset", "probes_succeeded"},
    ("forced_open", "closed"): {"reset"},
    ("disabled", "closed"): {"reset"},
}
POLICIES = st.builds(
    BreakerPolicy,
    consecutive_failures=st.integers(0, 5),
    failure_rate=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    min_calls=st.integers(1, 12),
    slow_rate=st.sampled_from([0.0, 0.5, 1.0]),
    jitter=st.sampled_from([0.0, 0.1]),
    probes=st.integers(1, 3),
    close_after=st.integers(1, 3),
    probe_lease=st.sampled_from([10.0, 600.0]),
)
SECONDS = st.sampled_from([0.0, 0.1, 1.0, 6.0, 14.0, 17.0, 35.0, 60.0, 300.0, 700.0])
OUTCOMES = st.sampled_from(["success", "failure", "failure", "ignored", "cancelled"])
HINTS = st.sampled_from([None, None, 0.0, 5.0, 40.0, 299.0, 1000.0])
WAITS = st.sampled_from([0.0, 0.0, 29.0, 31.0])


class Reference:
    """What the circuit should do, in the plainest way: no ring, no totals, only a log."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self.policy = policy
        self.state = "closed"
        self.era = 0
        self.log: list[tuple[float, bool, bool]] = []
        self.open_until = 0.0
        self.opens = 0
        self.probes: dict[int, float] = {}
        self.successes = 0

    def enter(self, state: str) -> None:
        self.state, self.era, self.log, self.probes, self.successes = state, self.era + 1, [], {}, 0
        if state not in ("open", "half_open"):
            self.opens = 0

    def admits(self, now: float) -> bool:
        match self.state:
            case "open":
                return now >= self.open_until
            case "half_open":
                return sum(due > now for due in self.probes.values()) < self.policy.probes
        return self.state != "forced_open"

    def admit(self, number: int, now: float, lease: float) -> None:
        if self.state == "open":
            self.enter("half_open")
        if self.state == "half_open":
            self.probes[number] = now + min(lease, self.policy.probe_lease)

    def settle(
        self, number: int, era: int, outcome: str, now: float, waited: float, hint: float | None, dice: float
    ) -> None:
        held = self.probes.pop(number, None)
        policy = self.policy
        if outcome in ("ignored", "cancelled"):
            return
        failed = outcome == "failure"
        slow = bool(policy.slow_rate) and waited > policy.slow_after
        if era != self.era:
            if failed and self.state == "open" and hint is not None:
                self.open_until = max(self.open_until, now + min(hint, policy.max_hint))
        elif self.state == "closed":
            self.log.append((now, failed, slow))
            if (failed or slow) and self.tripped(now):
                self.open(now, hint, dice)
        elif self.state == "half_open" and held is not None and held > now:
            if failed or slow:
                self.open(now, hint, dice)
            else:
                self.successes += 1
                if self.successes >= policy.close_after:
                    self.enter("closed")

    def tripped(self, now: float) -> bool:
        policy = self.policy
        row = 0
        for _, failed, _ in reversed(self.log):
            if not failed:
                break
            row += 1
        if policy.consecutive_failures and row >= policy.consecutive_failures:
            return True
        width = policy.window / policy.buckets
        oldest = now // width - policy.buckets + 1
        recent = [sample for sample in self.log if sample[0] // width >= oldest]
        if len(recent) < policy.min_calls:
            return False
        failures = sum(failed for _, failed, _ in recent)
        slow = sum(slow for _, _, slow in recent)
        return bool(policy.failure_rate and failures >= policy.failure_rate * len(recent)) or bool(
            policy.slow_rate and slow >= policy.slow_rate * len(recent)
        )

    def open(self, now: float, hint: float | None, dice: float) -> None:
        opens = self.opens + 1
        base = min(15.0 * 2 ** (opens - 1), 120.0)
        rest = base * (1 - self.policy.jitter + 2 * self.policy.jitter * dice)
        self.enter("open")
        self.opens = opens
        self.open_until = now + max(rest, min(hint or 0.0, 300.0))


class CircuitMachine(RuleBasedStateMachine):
    """Any interleaving of attempts, outcomes, time and manual control."""

    permits = Bundle("permits")

    @initialize(policy=POLICIES, dice=st.sampled_from([0.0, 0.5, 0.999]))
    def begin(self, policy: BreakerPolicy, dice: float) -> None:
        self.notes: list[Any] = []
        self.dice = dice
        self.circuit = Circuit(policy, lambda: self.dice, self.notes.append)
        self.reference = Reference(policy)
        self.now = 1000.0
        self.given = 0
        self.settled = dict.fromkeys(("success", "failure", "ignored", "cancelled"), 0)

    @rule(seconds=SECONDS)
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=permits, lease=st.sampled_from([1.0, 20.0, float("inf")]))
    def ask(self, lease: float) -> Any:
        allowed = self.reference.admits(self.now)
        seen = self.circuit.refusal(self.now)
        assert (seen is None) == allowed
        answer = self.circuit.acquire(self.now, lease)
        assert isinstance(answer, Permit) == allowed
        if isinstance(answer, Refusal):
            assert answer == seen
            assert answer.retry_after > 0
            return None
        self.given += 1
        self.reference.admit(self.given, self.now, lease)
        return self.given, self.reference.era, answer

    @rule(permit=permits, outcome=OUTCOMES, hint=HINTS, waited=WAITS)
    def settle(self, permit: Any, outcome: Any, hint: float | None, waited: float) -> None:
        if permit is None:
            return
        number, era, given = permit
        before = self.circuit.state, self.circuit.stats(self.now).generation
        fresh = not given.settled
        if fresh:
            self.settled[outcome] += 1
            self.reference.settle(number, era, outcome, self.now, waited, hint, self.dice)
        self.circuit.settle(given, outcome, self.now, hint=hint, waited=waited)
        if not fresh or era != before[1] or outcome in ("ignored", "cancelled"):
            assert (self.circuit.state, self.circuit.stats(self.now).generation) == before

    @rule(action=st.sampled_from(["reset", "reset", "force_open", "disable"]))
    def by_hand(self, action: str) -> None:
        getattr(self.circuit, action)(self.now)
        state = {"reset": "closed", "force_open": "forced_open", "disable": "disabled"}[action]
        if action == "reset" or self.reference.state != state:
            self.reference.enter(state)

    @rule()
    def wait_out_every_lease_and_rest(self) -> None:
        self.now += 700.0
        if self.circuit.state in ("open", "half_open"):
            assert self.circuit.refusal(self.now) is None

    @invariant()
    def agrees_with_the_reference(self) -> None:
        stats = self.circuit.stats(self.now)
        assert stats.state == self.reference.state
        assert stats.generation == self.reference.era
        assert stats.opens == self.reference.opens
        if self.reference.state == "open":
            assert abs(max(0.0, self.reference.open_until - self.now) - stats.retry_after) < 1e-6
        counted = (stats.successes, stats.failures, stats.ignored, stats.cancelled)
        assert counted == tuple(self.settled.values())

    @invariant()
    def never_more_probes_than_allowed(self) -> None:
        assert self.circuit.stats(self.now).probes <= self.circuit.policy.probes

    @invariant()
    def only_legal_transitions_each_of_a_new_generation(self) -> None:
        state, generation = "closed", 0
        for note in self.notes:
            match note:
                case Transition():
                    assert note.before == state
                    assert note.reason in LEGAL[note.before, note.after]
                    assert note.generation > generation
                    assert (note.open_for is not None) == (note.after == "open")
                    state, generation = note.after, note.generation
                case Extension():
                    assert state == "open"
                    assert 0 < note.open_for <= 300.0
                case LostProbes():
                    assert state == "half_open"
        assert state == self.circuit.state


CircuitMachine.TestCase.settings = settings(
    max_examples=250, stateful_step_count=80, deadline=None, derandomize=True
)
TestCircuit = CircuitMachine.TestCase
