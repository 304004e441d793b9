"""
The bridge to OpenTelemetry's SDK: our numbers as its data, and its exporters.

The SDK is imported when an exporter is configured. No meter provider is set up, global or otherwise: the
numbers are added up here, and its exporters take finished data.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ConsoleMetricExporter,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from penstock.errors import ConfigError
from penstock_metrics.cells import Distribution

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter

    from penstock.redaction import Redactor
    from penstock_metrics.book import Point
    from penstock_metrics.config import MetricsConfig
    from penstock_metrics.instruments import Instrument

_CUMULATIVE = AggregationTemporality.CUMULATIVE


def make_exporter(name: str, config: MetricsConfig, redactor: Redactor) -> MetricExporter:
    """
    An exporter of the SDK.

    Raises:
        ConfigError: it is not installed.
    """
    if name == "console":
        return ConsoleMetricExporter(
            out=sys.stderr, formatter=lambda data: redactor(data.to_json(indent=None)) + "\n"
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    except ImportError:
        raise ConfigError(
            "[metrics] exporters: 'otlp' is not installed; pip install 'penstock-metrics[otlp]'"
        ) from None
    made: MetricExporter = OTLPMetricExporter(endpoint=config.endpoint)
    return made


def metrics_data(
    collected: Sequence[tuple[Instrument, Sequence[Point]]], since: float, now: float
) -> MetricsData:
    """
    The numbers as the SDK's data, cumulative.

    Args:
        collected: instruments and their points.
        since, now: seconds since the epoch: when counting began, and the present.
    """
    begun, read = int(since * 1e9), int(now * 1e9)
    metrics = [
        Metric(
            instrument.name, instrument.description, instrument.unit, _data(instrument, points, begun, read)
        )
        for instrument, points in collected
    ]
    from importlib.metadata import version

    scope = InstrumentationScope("penstock", version("penstock-metrics"))
    return MetricsData([ResourceMetrics(_resource(), [ScopeMetrics(scope, metrics, "")], "")])


def _resource() -> Resource:
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES count, as everywhere.
    return Resource.create()


def _data(instrument: Instrument, points: Sequence[Point], begun: int, read: int) -> Any:
    if instrument.kind == "histogram":
        return Histogram([_histogram(instrument, point, begun, read) for point in points], _CUMULATIVE)
    numbers = [NumberDataPoint(point.attributes, begun, read, _value(point)) for point in points]
    return Gauge(numbers) if instrument.kind == "gauge" else Sum(numbers, _CUMULATIVE, is_monotonic=True)


def _value(point: Point) -> float:
    assert not isinstance(point.value, Distribution)  # noqa: S101  # only histograms have those
    return point.value.value


def _histogram(instrument: Instrument, point: Point, begun: int, read: int) -> HistogramDataPoint:
    value = point.value
    assert isinstance(value, Distribution)  # noqa: S101  # the instrument is a histogram
    below = value.cumulated(instrument.bounds)
    counts = [after - before for before, after in zip((0, *below), (*below, value.count), strict=True)]
    return HistogramDataPoint(
        attributes=point.attributes,
        start_time_unix_nano=begun,
        time_unix_nano=read,
        count=value.count,
        sum=value.total,
        bucket_counts=counts,
        explicit_bounds=instrument.bounds,
        min=value.lowest,
        max=value.highest,
    )
