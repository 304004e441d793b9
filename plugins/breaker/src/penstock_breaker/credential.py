"""
The rest of a credential that was refused or has no quota left: every call with it would fail the same way.

Apart from the circuits, because it concerns all models of a provider instance and says nothing about
whether the provider works. It ends by time, or by hand; a call that was under way when it was ended by
hand cannot begin it again.
"""

from __future__ import annotations

import threading

from penstock_breaker.permit import Refusal


class Credential:
    """
    Whether the credential of one provider instance may be used.

    Attributes:
        resting: False is certain; True may be over, `refusal` knows.
        epoch: rests ended by hand so far; read before the call, handed to `rest` after it.
        cause: the name of the error that began the latest rest.
    """

    __slots__ = ("_lock", "_until", "cause", "epoch", "resting")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0
        self.resting = False
        self.epoch = 0
        self.cause = ""

    def rest(self, now: float, seconds: float, cause: str, epoch: int) -> bool:
        """
        Begin a rest.

        Args:
            now: the clock's reading in seconds.
            seconds: how long.
            cause: the name of the error.
            epoch: what `epoch` was when the call began.

        Returns:
            False when it rests already, or the call is from before it was ended by hand.
        """
        with self._lock:
            if epoch != self.epoch or seconds <= 0 or (self.resting and now < self._until):
                return False
            self._until = now + seconds
            self.resting = True
            self.cause = cause
            return True

    def refusal(self, now: float) -> Refusal | None:
        """Why it may not be used at clock reading `now`, or None."""
        with self._lock:
            if self.resting and now < self._until:
                return Refusal("credential_rests", self._until - now)
            return None

    def wake(self, now: float) -> bool:
        """End a rest whose time is over at clock reading `now`; whether there was one to end."""
        with self._lock:
            over = self.resting and now >= self._until
            if over:
                self.resting = False
            return over

    def reset(self) -> bool:
        """End the rest by hand; whether there was one."""
        with self._lock:
            self.epoch += 1
            ended, self.resting = self.resting, False
            return ended
