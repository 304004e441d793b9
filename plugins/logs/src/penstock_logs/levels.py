"""
Make loggers more talkative for a while, and remember how talkative they were.

Several clients may want different levels of one logger: the most talkative wins, and when the last of them
goes, the logger is as before.
"""

from __future__ import annotations

import logging
import threading


class Levels:
    """The levels that loggers were given by us."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: dict[str, list[int]] = {}
        self._original: dict[str, tuple[int, int]] = {}
        self._given: dict[str, int] = {}

    def demand(self, name: str, level: int) -> None:
        """Let a logger pass records of this level; never makes it less talkative."""
        logger = _logger(name)
        with self._lock:
            if name not in self._original:
                self._original[name] = (logger.level, logger.getEffectiveLevel())
            self._wanted.setdefault(name, []).append(level)
            self._apply(name, logger)

    def release(self, name: str, level: int) -> None:
        """Take a demand back."""
        logger = _logger(name)
        with self._lock:
            self._wanted[name].remove(level)
            if self._wanted[name]:
                self._apply(name, logger)
                return
            del self._wanted[name]
            original, _ = self._original.pop(name)
            # Whoever has set another level since then means it.
            if self._given.pop(name, None) == logger.level:
                logger.setLevel(original)

    def _apply(self, name: str, logger: logging.Logger) -> None:
        original, effective = self._original[name]
        wanted = min(self._wanted[name])
        level = wanted if wanted < effective else original
        logger.setLevel(level)
        self._given[name] = level

    def was_heard(self, record: logging.LogRecord) -> bool:
        """Whether the record would have been made without us."""
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None and logger.level == logging.NOTSET and logger.parent is not None:
            logger = logger.parent
        if logger is None:
            return True
        known = self._original.get(logger.name)
        return known is None or record.levelno >= known[1]


def _logger(name: str) -> logging.Logger:
    return logging.getLogger(None if name == "root" else name)


levels = Levels()
"""Those of this process."""
