"""
What is known of models, remembered: details by `/api/show`, and the window each was last asked to have.

Rules
1. One look at a time for each model: who comes meanwhile waits for it, within its own time.
2. A look that fails is remembered for a short while, so that a server that is down, or too old, is not
   asked again for every call.
3. Bounded: the model used longest ago is forgotten first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from penstock.errors import CallError

if TYPE_CHECKING:
    from penstock.runtime import Event, Runtime
    from penstock_ollama.details import ModelDetails

MAX_MODELS = 256
FAILURE_TTL = 30.0
"""Seconds a failed look is remembered."""

Look = Callable[[str], Awaitable["ModelDetails"]]


class _Known:
    """One model."""

    __slots__ = ("details", "expires", "looking", "window")

    def __init__(self) -> None:
        self.details: ModelDetails | None = None
        self.expires = float("-inf")
        self.looking: Event | None = None
        self.window: int | None = None


class Catalogue:
    """
    The models of one server; safe to share between threads.

    Args:
        ttl: seconds details are remembered.
        max_models: how many models are.
    """

    def __init__(self, *, ttl: float, max_models: int = MAX_MODELS) -> None:
        self._ttl = ttl
        self._max = max_models
        self._models: OrderedDict[str, _Known] = OrderedDict()
        self._lock = threading.Lock()

    def known(self, model: str) -> ModelDetails | None:
        """The details last seen, however old; None without any."""
        with self._lock:
            known = self._models.get(model)
            return known.details if known is not None else None

    def fresh(self, model: str, now: float) -> bool:
        """Whether the details need no look at clock reading `now`."""
        with self._lock:
            known = self._models.get(model)
            return known is not None and now < known.expires

    def window(self, model: str) -> int | None:
        """The window the model was last asked to have, in tokens."""
        with self._lock:
            known = self._models.get(model)
            return known.window if known is not None else None

    def enlarge(self, model: str, window: int) -> int:
        """Remember a window; the largest of those asked for meanwhile."""
        with self._lock:
            known = self._entry(model)
            known.window = max(window, known.window or 0)
            return known.window

    async def details(self, model: str, look: Look, runtime: Runtime, due: float) -> ModelDetails | None:
        """
        The details of a model, looked up when they are not remembered; None when that failed.

        Args:
            model: its name.
            look: asks the server; what it raises of ours is a failed look.
            runtime: clock and events.
            due: the clock's reading until which to wait for another call's look.
        """
        with self._lock:
            known = self._entry(model)
            if runtime.now() < known.expires:
                return known.details
            flight = known.looking
            if flight is None:
                mine = known.looking = runtime.event()
        if flight is not None:
            await flight.wait(due)
            return known.details
        found: ModelDetails | None = None
        ttl: float | None = None
        try:
            found = await look(model)
            ttl = self._ttl
        except CallError:
            ttl = FAILURE_TTL
        finally:
            # After a cancellation nothing is remembered: the others go on without, the next call looks again.
            with self._lock:
                known.looking = None
                if ttl is not None:
                    known.expires = runtime.now() + ttl
                    known.details = found if found is not None else known.details
            mine.set()
        return known.details

    def _entry(self, model: str) -> _Known:
        known = self._models.get(model)
        if known is None:
            if len(self._models) >= self._max:
                self._models.popitem(last=False)
            known = self._models[model] = _Known()
        else:
            self._models.move_to_end(model)
        return known
