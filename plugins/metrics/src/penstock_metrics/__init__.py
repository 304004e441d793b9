"""Metrics for Penstock: counts and times of every call, for Prometheus, OpenTelemetry and people."""

from penstock_metrics.commands import shipped
from penstock_metrics.config import MetricsConfig
from penstock_metrics.exposition import CONTENT_TYPE
from penstock_metrics.listener import Metrics
from penstock_metrics.snapshot import Snapshot, Summary

__all__ = ["CONTENT_TYPE", "Metrics", "MetricsConfig", "Snapshot", "Summary", "shipped"]
