"""The numbers of one circuit breaker."""

from __future__ import annotations

from penstock.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """
    When to open, for how long, and how to close again.

    Args:
        consecutive_failures: so many in a row open it; 0 is off.
        failure_rate: this share of failures in the window opens it; 0 is off.
        min_calls: samples the window needs before a share counts.
        window: seconds.
        buckets: steps in which the window moves on.
        slow_rate: this share of slow samples opens it; 0 is off, and nothing is slow then.
        slow_after: seconds; a sample that waited longer is slow.
        open_for: seconds of the first rest, doubled with each consecutive one.
        max_open: seconds; the longest rest without a hint.
        jitter: the share by which a rest varies either way.
        max_hint: seconds; the most a server's hint can ask for.
        probes: at once, while half open.
        close_after: successful probes that close it.
        probe_lease: seconds after which a probe that was not settled counts as lost.

    Raises:
        ValueError: a number that cannot work; names it.
    """

    consecutive_failures: int = 5
    failure_rate: float = 0.5
    min_calls: int = 10
    window: float = 60.0
    buckets: int = 10
    slow_rate: float = 0.0
    slow_after: float = 30.0
    open_for: float = 15.0
    max_open: float = 120.0
    jitter: float = 0.1
    max_hint: float = 300.0
    probes: int = 1
    close_after: int = 2
    probe_lease: float = 600.0

    def __post_init__(self) -> None:
        for name in ("min_calls", "buckets", "probes", "close_after"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)!r}")
        for name in ("window", "slow_after", "open_for", "max_open", "probe_lease"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be seconds above zero, not {getattr(self, name)!r}")
        for name in ("failure_rate", "slow_rate", "jitter"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be a share from 0 to 1, not {getattr(self, name)!r}")
        if self.consecutive_failures < 0 or self.max_hint < 0:
            raise ValueError("consecutive_failures and max_hint must not be below zero")
        if self.probe_lease == float("inf"):
            raise ValueError("probe_lease must end: a lost probe would keep the breaker half open for ever")

    def rest(self, opens: int, dice: float, hint: float | None) -> float:
        """
        Seconds to stay open.

        Args:
            opens: how many times in a row it has opened, this one included.
            dice: uniform in [0, 1).
            hint: seconds the server asked for, or None; beyond `max_hint` it is held to that.
        """
        # The exponent is capped so that no number of opens can overflow a float.
        base = min(self.open_for * 2.0 ** min(opens - 1, 64), self.max_open)
        return max(base * (1.0 + self.jitter * (2.0 * dice - 1.0)), self.held(hint))

    def held(self, hint: float | None) -> float:
        """What counts of a server's hint, in seconds."""
        # Not ignored above the limit: a server that says an hour should not be asked sooner than one that
        # says four minutes.
        return min(hint, self.max_hint) if hint is not None else 0.0
