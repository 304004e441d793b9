"""
The book of one client: every number, by target, instrument and attributes.

Rules
1. Models come from outside, so only so many targets get a page of their own; all further models of a
   provider share one called `other`.
2. Whoever writes or reads holds `lock`; nothing is done under it but arithmetic.
3. A forked child begins an empty book: what its parent counted, its parent reports.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from penstock import semconv
from penstock.call import Target
from penstock.frozen import dataclass
from penstock_metrics.cells import Distribution, Tally, cell_of
from penstock_metrics.instruments import INSTRUMENTS, Instrument

if TYPE_CHECKING:
    from penstock.redaction import Redactor

OTHER = "other"
_LABEL_LENGTH = 200
_open_books: weakref.WeakSet[Book] = weakref.WeakSet()
_watched: list[int] = []


class Page:
    """
    The numbers of one target.

    Args:
        target: as it is shown.
        shared: whether it stands for all models beyond the cap.

    Attributes:
        cells: by instrument and the values of its attributes.
        generation: that of the breaker's state written last.
    """

    __slots__ = ("cells", "generation", "shared", "target")

    def __init__(self, target: Target, *, shared: bool = False) -> None:
        self.target = target
        self.shared = shared
        self.cells: dict[tuple[str, ...], Tally | Distribution] = {}
        self.generation = -1

    def add(self, instrument: Instrument, *values: str, amount: float = 1.0) -> None:
        """Add to a counter."""
        key = (instrument.name, *values)
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = Tally()
        cell.value += amount  # type: ignore[union-attr]  # the instrument decides the kind of cell

    def set(self, instrument: Instrument, *values: str, amount: float) -> None:
        """Set a gauge."""
        cell = self.cells.setdefault((instrument.name, *values), Tally())
        cell.value = amount  # type: ignore[union-attr]  # as above

    def record(self, instrument: Instrument, value: float, *values: str) -> None:
        """Add a value to a histogram."""
        key = (instrument.name, *values)
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = cell_of(instrument)
        cell.record(value)  # type: ignore[union-attr]  # as above


@dataclass(frozen=True, slots=True)
class Point:
    """
    One series of an instrument, as it is exported.

    Args:
        attributes: names and values; empty values are left out.
        value: a copy of the cell.
    """

    attributes: dict[str, str]
    value: Tally | Distribution


class Book:
    """
    All pages of one client.

    Args:
        max_targets: how many targets get a page of their own.
        redactor: masks what looks like a secret in the names of models.
        opened: called when the first page of a process is begun.
        wall: seconds since the epoch.

    Attributes:
        lock: held by whoever writes or reads pages.
        since: when it was begun, in seconds since the epoch.
    """

    def __init__(
        self,
        *,
        max_targets: int,
        redactor: Redactor,
        opened: Callable[[], None],
        wall: Callable[[], float],
    ) -> None:
        self._max_targets = max_targets
        self._redactor = redactor
        self._opened = opened
        self._wall = wall
        self.begin()
        _open_books.add(self)
        if not _watched:
            _watched.append(os.getpid())
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=_begin_all)

    def begin(self) -> None:
        """Begin anew, with a lock that nobody holds."""
        self.lock = threading.Lock()
        self.since = self._wall()
        self._pages: dict[Target, Page] = {}
        self._others: dict[str, Page] = {}

    def page(self, target: Target) -> Page:
        """The page of a target."""
        page = self._pages.get(target)
        return page if page is not None else self._page(target)

    def name(self, target: Target) -> str:
        """How a target is called in an attribute; within the same cap."""
        return str(self.page(target).target)

    def _page(self, target: Target) -> Page:
        with self.lock:
            page = self._pages.get(target)
            if page is not None:
                return page
            first = not self._pages
            if len(self._pages) < self._max_targets:
                page = self._pages[target] = Page(Target(self._label(target[0]), self._label(target[1])))
            else:
                provider = self._label(target[0])
                page = self._others.get(provider)
                if page is None:
                    page = self._others[provider] = Page(Target(provider, OTHER), shared=True)
        if first:
            self._opened()
        return page

    def _label(self, text: str) -> str:
        shown = self._redactor(text)[:_LABEL_LENGTH].encode("utf-8", "replace").decode()
        return shown if shown.isprintable() else "".join(c if c.isprintable() else "?" for c in shown)

    def pages(self) -> list[Page]:
        """Copies of all pages."""
        copies = []
        with self.lock:
            for page in (*self._pages.values(), *self._others.values()):
                copy = Page(page.target, shared=page.shared)
                copy.cells = {key: cell.copy() for key, cell in page.cells.items()}
                copies.append(copy)
        return copies

    def collect(self) -> list[tuple[Instrument, list[Point]]]:
        """Every instrument that has a value, in the order of the table."""
        found: dict[str, list[Point]] = {}
        for page in self.pages():
            target = {semconv.PROVIDER: page.target.provider, semconv.REQUEST_MODEL: page.target.model}
            for (name, *values), cell in page.cells.items():
                own = zip(_ATTRIBUTES[name], values, strict=True)
                attributes = {key: value for key, value in (*target.items(), *own) if value}
                found.setdefault(name, []).append(Point(attributes, cell))
        return [
            (instrument, found[instrument.name]) for instrument in INSTRUMENTS if instrument.name in found
        ]


_ATTRIBUTES = {instrument.name: instrument.attributes for instrument in INSTRUMENTS}


def _begin_all() -> None:
    for book in tuple(_open_books):
        book.begin()
