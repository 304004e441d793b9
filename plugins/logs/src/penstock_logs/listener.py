"""The listener: from events to records of the loggers below `penstock`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from penstock_logs.calls import CALL_KINDS
from penstock_logs.config import LogsConfig
from penstock_logs.redacting import redactors
from penstock_logs.setup import LoggingHandle, setup_logging
from penstock_logs.stages import STAGE_KINDS

if TYPE_CHECKING:
    from penstock.events import Event
    from penstock.redaction import Redactor
    from penstock.specs import Services


class Logs:
    """
    Tells what happens to the calls of one client, and sets logging up when the configuration says so.

    Args:
        config: the values in force.
        services: brings the redactor.

    Raises:
        ConfigError: the file cannot be opened.
    """

    def __init__(self, config: LogsConfig, services: Services) -> None:
        self._redactor: Redactor | None = services.redactor
        self._kinds = {}
        for event, (name, level, tell) in (*CALL_KINDS.items(), *STAGE_KINDS.items()):
            logger = logging.getLogger(f"penstock.{name}")
            if not logger.handlers:
                # Where nobody has set logging up, warnings about single calls are not for stderr.
                logger.addHandler(logging.NullHandler())
            self._kinds[event] = (logger, level, tell)
        self._handle: LoggingHandle | None = None
        if config.active:
            self._handle = setup_logging(
                level=config.level or "INFO",
                json=config.format == "json",
                file=config.file,
                max_bytes=config.max_bytes,
                backups=config.backups,
                stderr=config.stderr,
                loggers=config.loggers,
                existing=config.existing,
                redactor=services.redactor,
            )
        else:
            redactors.add(services.redactor)

    def __call__(self, event: Event) -> None:
        kind = self._kinds.get(type(event))
        if kind is None:
            return
        logger, level, tell = kind
        if not isinstance(level, int):
            level = level(event)
        if logger.isEnabledFor(level):
            message, fields = tell(event)
            logger.log(level, message, extra=fields)

    def close(self) -> None:
        """Undo what was set up; a second call does nothing."""
        handle, self._handle = self._handle, None
        redactor, self._redactor = self._redactor, None
        if handle is not None:
            handle.close()
        elif redactor is not None:
            redactors.remove(redactor)
