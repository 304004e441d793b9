"""Set logging up, for a client or for a whole application, and undo it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Literal, Self

from penstock.redaction import Redactor
from penstock_logs.formats import JsonFormatter, TextFormatter
from penstock_logs.guard import foreign_handlers, guard, unguard
from penstock_logs.handlers import file_handler, stderr_handler
from penstock_logs.levels import levels
from penstock_logs.redacting import redactors

Existing = Literal["redact", "keep", "replace"]
_Key = tuple[object, ...]


class LoggingSetup:
    """
    Handlers, levels and guards that were put in place; `close` takes them away.

    Equal settings share one setup, so that two clients do not write each line twice.
    """

    def __init__(
        self,
        *,
        level: int,
        handlers: Sequence[logging.Handler],
        loggers: Sequence[str],
        existing: Existing,
    ) -> None:
        self.holders = 1
        self._level = level
        self._handlers = tuple(handlers)
        self._loggers = tuple(dict.fromkeys(loggers))
        self._guarded: list[logging.Handler] = []
        self._replaced: list[tuple[logging.Logger, logging.Handler]] = []
        # Both lists before anything changes: our own handlers are not to be found.
        found = list(dict.fromkeys(pair for name in self._loggers for pair in foreign_handlers(name)))
        for logger, handler in found:
            if existing == "replace":
                logger.removeHandler(handler)
                self._replaced.append((logger, handler))
        if existing != "replace":
            self._guarded = list(dict.fromkeys(handler for _, handler in found))
            for handler in self._guarded:
                guard(handler, redact=existing == "redact")
        for name in self._loggers:
            levels.demand(name, level)
            if not self._is_below_another(name):
                for handler in self._handlers:
                    logging.getLogger(None if name == "root" else name).addHandler(handler)

    def undo(self) -> None:
        """Leave everything as it was."""
        for name in self._loggers:
            levels.release(name, self._level)
            for handler in self._handlers:
                logging.getLogger(None if name == "root" else name).removeHandler(handler)
        for handler in self._guarded:
            unguard(handler)
        for logger, handler in self._replaced:
            logger.addHandler(handler)
        for handler in self._handlers:
            handler.close()

    def _is_below_another(self, name: str) -> bool:
        """Whether its records reach our handlers anyway, at a logger above it."""
        above = [other for other in self._loggers if other != name]
        return name != "root" and any(other == "root" or name.startswith(f"{other}.") for other in above)


class LoggingHandle:
    """
    One holder's share of a setup.

    Args:
        key: of the setup.
        redactor: the holder's secrets.
    """

    def __init__(self, key: _Key, redactor: Redactor) -> None:
        self._key = key
        self._redactor = redactor
        self._open = True

    def close(self) -> None:
        """Take away what was set up, unless somebody else has set up the same; may be called twice."""
        with _lock:
            if not self._open:
                return
            self._open = False
            redactors.remove(self._redactor)
            setup = _setups[self._key]
            setup.holders -= 1
            if not setup.holders:
                del _setups[self._key]
                setup.undo()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


_setups: dict[_Key, LoggingSetup] = {}
_lock = threading.Lock()


def setup_logging(
    *,
    level: str = "INFO",
    json: bool = False,
    file: str | None = None,
    max_bytes: int = 10_000_000,
    backups: int = 5,
    stderr: bool | None = None,
    loggers: Sequence[str] = ("root",),
    existing: Existing = "redact",
    redactor: Redactor | None = None,
) -> LoggingHandle:
    """
    Write records to stderr or a file, with the fields of the call they belong to and without secrets.

    For an application: once, at its start; everything is undone by `close` of what it returns. The secrets of
    every client with the logs plugin are masked, whenever it is built.

    Args:
        level: the least severe records, such as `DEBUG`.
        json: an object in each line, instead of text.
        file: write there, rotated.
        max_bytes: a new file is begun before this one becomes larger; 0 never.
        backups: older files that are kept.
        stderr: write to stderr; None: where there is no file.
        loggers: whose records, those below them included; `root` is all.
        existing: handlers that are there already: `redact` what they write, `keep` them as they are, or
            `replace` them until `close`. With the first two they see no more records than before.
        redactor: further secrets.

    Raises:
        ConfigError: the file cannot be opened.
        ValueError: the level is none.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"level must be one of logging's names, not {level!r}")
    own = redactor or Redactor()
    to_stderr = stderr if stderr is not None else file is None
    key = (number, json, file, max_bytes, backups, to_stderr, tuple(loggers), existing)
    with _lock:
        setup = _setups.get(key)
        if setup is not None:
            setup.holders += 1
        else:
            handlers = [file_handler(file, max_bytes, backups)] if file is not None else []
            if to_stderr:
                handlers.append(stderr_handler())
            formatter = JsonFormatter(redactors) if json else TextFormatter(redactors)
            for handler in handlers:
                handler.setFormatter(formatter)
                handler.setLevel(number)
            _setups[key] = LoggingSetup(level=number, handlers=handlers, loggers=loggers, existing=existing)
        redactors.add(own)
    return LoggingHandle(key, own)
