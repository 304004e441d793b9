"""Logs for Penstock: what happens to calls, correlated and without secrets."""

from penstock_logs.config import LogsConfig
from penstock_logs.context import CallFilter
from penstock_logs.formats import JsonFormatter, TextFormatter
from penstock_logs.listener import Logs
from penstock_logs.redacting import redactors
from penstock_logs.setup import LoggingHandle, setup_logging

__all__ = [
    "CallFilter",
    "JsonFormatter",
    "LoggingHandle",
    "Logs",
    "LogsConfig",
    "TextFormatter",
    "redactors",
    "setup_logging",
]
