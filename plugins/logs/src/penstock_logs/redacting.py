"""
One redactor for the process, made of those of its clients.

A handler gets the records of every client and of the application, so it must know the secrets of all.
"""

from __future__ import annotations

import threading
from collections import deque

from penstock.redaction import Redactor

KEPT = 32
"""Closed clients whose secrets are still masked: an exception may be logged long after its client is gone."""


class Redactors:
    """Masks what any of several redactors knows, and the shapes keys usually have."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[Redactor] = []
        self._closed: deque[Redactor] = deque(maxlen=KEPT)
        self._all: tuple[Redactor, ...] = (Redactor(),)

    def add(self, redactor: Redactor) -> None:
        """Mask what it knows, also what it learns later; once for each `remove`."""
        with self._lock:
            self._open.append(redactor)
            self._refresh()

    def remove(self, redactor: Redactor) -> None:
        """Its client is closed."""
        with self._lock:
            self._open.remove(redactor)
            self._closed.append(redactor)
            self._refresh()

    def _refresh(self) -> None:
        distinct = {id(each): each for each in (*self._closed, *self._open)}
        self._all = tuple(distinct.values()) or (Redactor(),)

    def __call__(self, text: str) -> str:
        for redactor in self._all:
            text = redactor(text)
        return text


redactors = Redactors()
"""Those of this process."""
