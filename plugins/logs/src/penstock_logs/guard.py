"""
What is done to the application's own handlers while ours are there: they see no more records than before, and
what they write is masked.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

from penstock_logs.context import stamp
from penstock_logs.handlers import is_ours
from penstock_logs.levels import levels
from penstock_logs.redacting import redactors


class _Guard(logging.Filter):
    """Around one handler: a filter, and a formatter around the one it had."""

    def __init__(self, handler: logging.Handler, *, redact: bool) -> None:
        super().__init__()
        self.holders = 1
        self._handler = handler
        self._formatter: _Masking | None = None
        handler.addFilter(self)
        if redact:
            self.redact()

    def redact(self) -> None:
        """Mask what the handler writes."""
        if self._formatter is None:
            self._formatter = _Masking(self._handler.formatter)
            self._handler.setFormatter(self._formatter)

    def filter(self, record: logging.LogRecord) -> bool:
        return levels.was_heard(record)

    def undo(self) -> None:
        """Leave the handler as it was; a formatter it got since then stays."""
        self._handler.removeFilter(self)
        if self._formatter is not None and self._handler.formatter is self._formatter:
            self._handler.setFormatter(self._formatter.inner)


class _Masking(logging.Formatter):
    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self.inner = inner
        self._format = (inner or logging.Formatter()).format

    def format(self, record: logging.LogRecord) -> str:
        stamp(record)
        return redactors(self._format(record))


_guards: dict[logging.Handler, _Guard] = {}
_lock = threading.Lock()


def guard(handler: logging.Handler, *, redact: bool) -> None:
    """Guard a handler, once for each `unguard`."""
    with _lock:
        known = _guards.get(handler)
        if known is None:
            _guards[handler] = _Guard(handler, redact=redact)
            return
        known.holders += 1
        if redact:
            known.redact()


def unguard(handler: logging.Handler) -> None:
    """Undo one `guard`."""
    with _lock:
        known = _guards[handler]
        known.holders -= 1
        if not known.holders:
            del _guards[handler]
            known.undo()


def foreign_handlers(name: str) -> Iterator[tuple[logging.Logger, logging.Handler]]:
    """The handlers not of ours that get the records of a logger, with the loggers they are on."""
    logger: logging.Logger | None = logging.getLogger(None if name == "root" else name)
    while logger is not None:
        for handler in tuple(logger.handlers):
            if not is_ours(handler) and not isinstance(handler, logging.NullHandler):
                yield logger, handler
        logger = logger.parent if logger.propagate else None
