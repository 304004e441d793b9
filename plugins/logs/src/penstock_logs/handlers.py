"""Our handlers: the standard library's, but what goes wrong inside them shows no record."""

from __future__ import annotations

import contextlib
import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from penstock.errors import ConfigError


class _Quiet:
    """
    The standard library reports a failed write on stderr with the record's message and arguments, which
    nobody has masked; we report what failed and no more.
    """

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the name of logging
        error = sys.exc_info()[1]
        if logging.raiseExceptions and sys.stderr is not None:
            with contextlib.suppress(OSError):
                sys.stderr.write(f"penstock-logs: a record was lost: {type(error).__name__}\n")


class OwnHandler(_Quiet, logging.StreamHandler):  # type: ignore[type-arg]  # generic for checkers only
    """Writes to whatever `sys.stderr` is at the time."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> object:  # looked up each time, as logging.lastResort does
        return sys.stderr


class OwnFileHandler(_Quiet, RotatingFileHandler):
    """Writes to a file that is rotated by its size."""


def stderr_handler() -> logging.Handler:
    """A handler that writes to stderr."""
    return OwnHandler()


def file_handler(path: str, max_bytes: int, backups: int) -> logging.Handler:
    """
    A handler that writes to a file, opened now.

    Args:
        path: `~` is the home directory.
        max_bytes: a new file is begun before this one becomes larger; 0 never.
        backups: older files that are kept, as `path.1` and so on.

    Raises:
        ConfigError: it cannot be opened.
    """
    try:
        return OwnFileHandler(
            Path(path).expanduser(),
            maxBytes=max_bytes,
            backupCount=backups,
            encoding="utf-8",
            errors="backslashreplace",
        )
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"[logs] file: {path} cannot be written: {reason}") from None


def is_ours(handler: logging.Handler) -> bool:
    """Whether this module made it."""
    return isinstance(handler, _Quiet)
