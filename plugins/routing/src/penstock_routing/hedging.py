"""
When a slow call may ask a second target: no clock, no I/O, no waiting.

Rules
1. The delay is the chosen quantile of the first target's own times to the first token, never less than the
   smallest delay; without enough of them there is no hedge.
2. A hedge takes one from an allowance to which every call adds its share: over any time, hedges are at most
   `share` of the calls, and at most `BURST` more within any part of it.
3. A call that was cut off because the other one won counts as having taken as long as it had lived, or
   hedging would make its own quantile smaller and smaller.
4. The lock is held for counting only.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from penstock.frozen import dataclass

if TYPE_CHECKING:
    from penstock.call import Target

BURST = 5.0
"""Hedges that may be saved up."""
SAMPLES = 256
"""Times remembered for each target."""
REFRESH = 16
"""New samples after which a quantile is worked out again."""
MAX_KEYS = 1024
"""Targets remembered, those used last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgePolicy:
    """The fields are those of `HedgeConfig`; `min_delay` in seconds."""

    min_delay: float = 1.0
    quantile: float = 0.95
    min_samples: int = 50
    share: float = 0.05


class Latencies:
    """The last times to the first token of one target, in seconds."""

    __slots__ = ("_fresh", "_last", "_times")

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=SAMPLES)
        self._fresh = 0
        self._last: float | None = None

    def __len__(self) -> int:
        return len(self._times)

    def add(self, seconds: float) -> None:
        """Take one time."""
        self._times.append(seconds)
        self._fresh += 1

    def quantile(self, share: float) -> float:
        """The time that `share` of them do not exceed; at most `REFRESH` samples old."""
        if self._last is None or self._fresh >= REFRESH:
            times = sorted(self._times)
            self._last = times[min(len(times) - 1, int(share * len(times)))]
            self._fresh = 0
        return self._last


class Hedging:
    """
    The state of hedging for one route; see the rules above.

    Args:
        policy: its numbers.
    """

    def __init__(self, policy: HedgePolicy) -> None:
        self.policy = policy
        self._lock = threading.Lock()
        self._allowance = 0.0
        self._latencies: OrderedDict[tuple[Target, bool], Latencies] = OrderedDict()

    def note_call(self) -> None:
        """A call began that could be hedged."""
        with self._lock:
            self._allowance = min(BURST, self._allowance + self.policy.share)

    def observe(self, target: Target, streamed: bool, seconds: float) -> None:
        """The first token (of a plain call, the answer) of a target came after `seconds`."""
        key = (target, streamed)
        with self._lock:
            latencies = self._latencies.get(key)
            if latencies is None:
                latencies = self._latencies[key] = Latencies()
                if len(self._latencies) > MAX_KEYS:
                    self._latencies.popitem(last=False)
            latencies.add(seconds)
            self._latencies.move_to_end(key)

    def delay(self, target: Target, streamed: bool) -> float | None:
        """Seconds after which a call to this target may be hedged; None while too little is known."""
        with self._lock:
            latencies = self._latencies.get((target, streamed))
            if latencies is None or len(latencies) < self.policy.min_samples:
                return None
            return max(self.policy.min_delay, latencies.quantile(self.policy.quantile))

    def has_allowance(self) -> bool:
        """Whether `take` would give one."""
        return self._allowance >= 1.0 - 1e-9  # twenty times a twentieth is a little less than one

    def take(self) -> bool:
        """Take one hedge; False when the share of calls is used up."""
        with self._lock:
            if not self.has_allowance():
                return False
            self._allowance = max(0.0, self._allowance - 1.0)
            return True
