"""
The state machine of one circuit breaker: no clock, no I/O, no waiting.

Rules
1. The legal transitions, and what causes them:

       closed ──consecutive_failures | failure_rate | slow_rate──> open
       open ──rest_over──> half_open           (by the first `acquire` after the rest, not by a timer)
       half_open ──probe_failed | probe_slow──> open         (with the next longer rest)
       half_open ──probes_succeeded──> closed
       any ──reset──> closed, any ──forced──> forced_open, any ──disabled──> disabled

2. Each transition, and each reset, begins a new generation. A permit remembers its own; an outcome whose
   permit is of an older one, or whose lease was lost, is counted and changes nothing else. The one thing it
   may do is to pass on a server's hint while the circuit is open, which makes that rest longer.
3. While half open, at most `probes` permits are out. Each is a lease: one not settled when it ends is
   taken back, so a lost probe cannot keep the circuit half open for ever.
4. A permit is settled once: `success` and `failure` are samples, `ignored` and `cancelled` only free a
   probe's place. A second settling has no effect.
5. The lock is held for counting only. `random` and `notify` are called without it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from penstock_breaker.permit import Permit, Refusal
from penstock_breaker.reports import CircuitStats, Extension, LostProbes, Transition
from penstock_breaker.window import Window

if TYPE_CHECKING:
    from penstock.events import BreakerReason, BreakerState
    from penstock_breaker.permit import Settled
    from penstock_breaker.policy import BreakerPolicy
    from penstock_breaker.reports import Note


def _unheard(note: Note) -> None:
    pass


class Circuit:
    """
    One circuit breaker; see the rules above.

    Args:
        policy: its numbers.
        random: uniform in [0, 1), for the jitter of rests.
        notify: told each transition, extension and lost probe, after the fact.

    Attributes:
        state: where it stands; an open circuit whose rest is over is `open` until a probe is asked for.
    """

    __slots__ = (
        "__weakref__",
        "_counts",
        "_generation",
        "_lock",
        "_notify",
        "_open_until",
        "_opens",
        "_probe_successes",
        "_probes",
        "_random",
        "_row",
        "_slow_after",
        "_window",
        "policy",
        "state",
    )

    def __init__(
        self,
        policy: BreakerPolicy,
        random: Callable[[], float],
        notify: Callable[[Note], None] = _unheard,
    ) -> None:
        self.policy = policy
        self.state: BreakerState = "closed"
        self._random = random
        self._notify = notify
        self._slow_after = policy.slow_after if policy.slow_rate > 0 else float("inf")
        self._lock = threading.Lock()
        self._generation = 0
        self._window = Window(policy.window, policy.buckets)
        self._row = 0
        self._opens = 0
        self._open_until = 0.0
        self._probes: list[Permit] = []
        self._probe_successes = 0
        self._counts = _Counts()

    # The way of an attempt

    def refusal(self, now: float) -> Refusal | None:
        """What `acquire` would refuse with at clock reading `now`, without taking anything."""
        if self.state in ("closed", "disabled"):
            return None
        with self._lock:
            return self._refusal(now)

    def acquire(self, now: float, lease: float = float("inf")) -> Permit | Refusal:
        """
        Leave for one attempt.

        Args:
            now: the clock's reading in seconds.
            lease: seconds the attempt can take at most; a probe's lease is the shorter of this and the
                policy's.
        """
        # Without the lock: the generation is read first, so if the state changes in between, the permit is
        # an old one, and what comes of it is stale.
        generation = self._generation
        if self.state == "closed":
            return Permit(generation)
        note: Note | None = None
        answer: Permit | Refusal
        with self._lock:
            refusal = self._refusal(now)
            if refusal is not None:
                answer = refusal
            elif self.state in ("closed", "disabled"):
                answer = Permit(self._generation)
            else:
                if self.state == "open":
                    note = self._enter(now, "half_open", "rest_over")
                else:
                    note = self._reclaim(now)
                answer = Permit(self._generation, now + min(lease, self.policy.probe_lease))
                self._probes.append(answer)
        if note is not None:
            self._notify(note)
        return answer

    def settle(
        self, permit: Permit, outcome: Settled, now: float, *, waited: float = 0.0, hint: float | None = None
    ) -> None:
        """
        Say what came of an attempt; only the first word counts.

        Args:
            permit: what `acquire` gave.
            outcome: `success` or `failure` are samples; `ignored` says nothing about the other side,
                `cancelled` was given up.
            now: the clock's reading in seconds.
            waited: seconds to the first token (or whole answer, or failure).
            hint: seconds the server asked to be left alone, or None.
        """
        failed = outcome == "failure"
        slow = waited > self._slow_after and outcome in ("success", "failure")
        dice = self._random() if failed or slow else 0.0
        with self._lock:
            if permit.settled:
                return
            permit.settled = True
            counts = self._counts
            if outcome == "success":
                counts.successes += 1
            elif failed:
                counts.failures += 1
            else:
                self._release(permit, outcome)
                return
            counts.slow += slow
            note = self._sample(permit, now, failed, slow, hint, dice)
        if note is not None:
            self._notify(note)

    def rejected(self) -> None:
        """Count a refused attempt."""
        with self._lock:
            self._counts.rejections += 1

    # By hand

    def reset(self, now: float) -> None:
        """Close it and forget what it has seen; outcomes of attempts under way are stale."""
        with self._lock:
            note = self._enter(now, "closed", "reset")
        if note is not None:
            self._notify(note)

    def force_open(self, now: float) -> None:
        """Refuse everything until `reset`."""
        with self._lock:
            note = self._enter(now, "forced_open", "forced")
        if note is not None:
            self._notify(note)

    def disable(self, now: float) -> None:
        """Let everything through, counting only, until `reset`."""
        with self._lock:
            note = self._enter(now, "disabled", "disabled")
        if note is not None:
            self._notify(note)

    def stats(self, now: float) -> CircuitStats:
        """Its present look at clock reading `now`."""
        with self._lock:
            self._window.advance(now)
            refusal = self._refusal(now)
            counts = self._counts
            return CircuitStats(
                state=self.state,
                generation=self._generation,
                retry_after=refusal.retry_after if refusal is not None else 0.0,
                consecutive_failures=self._row,
                opens=self._opens,
                probes=len(self._probes),
                window_calls=self._window.calls,
                window_failures=self._window.failures,
                window_slow=self._window.slow,
                successes=counts.successes,
                failures=counts.failures,
                ignored=counts.ignored,
                cancelled=counts.cancelled,
                slow=counts.slow,
                stale=counts.stale,
                rejections=counts.rejections,
                lost_probes=counts.lost_probes,
            )

    # With the lock held

    def _refusal(self, now: float) -> Refusal | None:
        policy = self.policy
        if self.state == "open" and now < self._open_until:
            return Refusal("open", self._open_until - now)
        if self.state == "half_open":
            held = [permit.due for permit in self._probes if permit.due > now]
            if len(held) >= policy.probes:
                # A lease may be ten minutes; a probe that fails is known of and followed by a rest sooner.
                return Refusal("probing", min(min(held) - now, policy.open_for))
        if self.state == "forced_open":
            return Refusal("forced_open", policy.max_open)
        return None

    def _sample(
        self, permit: Permit, now: float, failed: bool, slow: bool, hint: float | None, dice: float
    ) -> Note | None:
        if permit.generation != self._generation:
            self._counts.stale += 1
            return self._extend(now, hint) if failed and self.state == "open" else None
        if self.state == "closed":
            self._window.add(now, failed, slow)
            self._row = self._row + 1 if failed else 0
            reason = self._tripped() if failed or slow else None
            return self._open(now, reason, hint, dice) if reason is not None else None
        if self.state != "half_open":
            return None
        if permit not in self._probes or permit.due <= now:
            self._counts.stale += 1
            return self._reclaim(now)
        self._probes.remove(permit)
        if failed or slow:
            # A slow success would close a circuit that was opened for slowness, only to open it again.
            return self._open(now, "probe_failed" if failed else "probe_slow", hint, dice)
        self._probe_successes += 1
        if self._probe_successes >= self.policy.close_after:
            return self._enter(now, "closed", "probes_succeeded")
        return None

    def _tripped(self) -> BreakerReason | None:
        policy, window = self.policy, self._window
        if policy.consecutive_failures and self._row >= policy.consecutive_failures:
            return "consecutive_failures"
        if window.calls >= policy.min_calls:
            if policy.failure_rate and window.failures >= policy.failure_rate * window.calls:
                return "failure_rate"
            if policy.slow_rate and window.slow >= policy.slow_rate * window.calls:
                return "slow_rate"
        return None

    def _release(self, permit: Permit, outcome: Settled) -> None:
        if outcome == "ignored":
            self._counts.ignored += 1
        else:
            self._counts.cancelled += 1
        if permit in self._probes:
            self._probes.remove(permit)

    def _reclaim(self, now: float) -> LostProbes | None:
        held = [permit for permit in self._probes if permit.due > now]
        lost = len(self._probes) - len(held)
        if not lost:
            return None
        self._probes = held
        self._counts.lost_probes += lost
        return LostProbes(now, lost)

    def _extend(self, now: float, hint: float | None) -> Extension | None:
        seconds = self.policy.held(hint)
        # The rest may be over already, with nobody asking since.
        if seconds <= max(0.0, self._open_until - now):
            return None
        self._open_until = now + seconds
        return Extension(now, seconds)

    def _open(self, now: float, reason: BreakerReason, hint: float | None, dice: float) -> Transition | None:
        opens = self._opens + 1
        open_for = self.policy.rest(opens, dice, hint)
        self._open_until = now + open_for
        transition = self._enter(now, "open", reason, open_for)
        self._opens = opens
        return transition

    def _enter(
        self, now: float, state: BreakerState, reason: BreakerReason, open_for: float | None = None
    ) -> Transition | None:
        before = self.state
        if before == state and reason != "reset":
            return None
        self.state = state
        self._generation += 1
        self._row = 0
        self._window.clear()
        self._probes.clear()
        self._probe_successes = 0
        if state not in ("open", "half_open"):
            self._opens = 0
        if before == state:
            return None
        return Transition(now, before, state, reason, self._generation, open_for)


class _Counts:
    """Totals since the circuit was made; they never change what it does."""

    __slots__ = (
        "cancelled",
        "failures",
        "ignored",
        "lost_probes",
        "rejections",
        "slow",
        "stale",
        "successes",
    )

    def __init__(self) -> None:
        self.successes = 0
        self.failures = 0
        self.ignored = 0
        self.cancelled = 0
        self.slow = 0
        self.stale = 0
        self.rejections = 0
        self.lost_probes = 0
