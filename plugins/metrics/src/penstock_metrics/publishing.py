"""Send the numbers from time to time, from a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.redaction import Redactor
    from penstock_metrics.config import MetricsConfig

logger = logging.getLogger("penstock")
LAST_EXPORT = 10.0
"""Seconds that closing waits for the last export; a collector that hangs must not hold a program."""


class Publisher:
    """
    Hands the numbers to OpenTelemetry's exporters.

    Args:
        config: which exporters, and how often.
        collect: gives the numbers, the time counting began and the present one.
        redactor: masks secrets in what goes to stderr.

    Raises:
        ConfigError: an exporter is not installed.
    """

    def __init__(
        self, config: MetricsConfig, collect: Callable[[], tuple[Any, float, float]], redactor: Redactor
    ) -> None:
        from penstock_metrics.exporting import make_exporter

        self._interval = config.interval
        self._collect = collect
        self._exporters = {name: make_exporter(name, config, redactor) for name in config.pushed}
        self._failed: set[str] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to send; called when there is something to send, in a forked child once more."""
        if self._closed:
            return
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._stop,), name="penstock-metrics", daemon=True
        )
        self._thread.start()

    def publish(self) -> None:
        """Send everything now; an exporter that fails is logged once until it works again."""
        from penstock_metrics.exporting import metrics_data

        collected, since, now = self._collect()
        if not collected:
            return
        data = metrics_data(collected, since, now)
        for name, exporter in self._exporters.items():
            try:
                sent = exporter.export(data).name == "SUCCESS"
                reason = "" if sent else ": it reported a failure"
            except Exception as error:
                # The type only: the message could quote a URL with credentials.
                sent, reason = False, f": {type(error).__name__}"
            if sent:
                self._failed.discard(name)
            elif name not in self._failed:
                self._failed.add(name)
                logger.warning("metrics could not be sent to %s%s; still trying", name, reason)

    def close(self) -> None:
        """Send a last time and stop; never raises, a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._stop.set()
        if self._thread is not None:
            self._thread.join(LAST_EXPORT)
        for name, exporter in self._exporters.items():
            try:
                exporter.shutdown()
            except Exception as error:
                logger.warning("closing the exporter %s raised %s", name, type(error).__name__)

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(self._interval):
            self.publish()
        self.publish()
