"""The exporters: a collector over a real socket, and stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry import metrics as api
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View

from penstock.call import Target
from penstock.errors import ConfigError
from penstock.redaction import Redactor
from penstock_metrics import instruments
from penstock_metrics.book import Book
from penstock_metrics.config import MetricsConfig
from penstock_metrics.exporting import metrics_data
from penstock_metrics.publishing import Publisher


class Collector(HTTPServer):
    """Takes OTLP over HTTP and remembers what it was sent."""

    received: list[ExportMetricsServiceRequest]
    arrived: threading.Event


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        request = ExportMetricsServiceRequest()
        request.ParseFromString(body)
        collector: Any = self.server
        collector.received.append(request)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
        collector.arrived.set()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector(("127.0.0.1", 0), Handler) as server:
        server.received, server.arrived = [], threading.Event()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def points(request: ExportMetricsServiceRequest) -> dict[str, Any]:
    (resource,) = request.resource_metrics
    (scope,) = resource.scope_metrics
    return {metric.name: metric for metric in scope.metrics}


@pytest.mark.parametrize("colour", ["blocking", "async", "simulated"])
def test_a_collector_gets_everything_when_the_client_is_closed(
    colour: str, collector: Collector, make_world: Callable[..., Any]
) -> None:
    endpoint = f"http://127.0.0.1:{collector.server_port}/v1/metrics"
    world = make_world(colour, metrics={"exporters": ["otlp"], "endpoint": endpoint, "interval": "1h"})
    world.chat()
    world.chat()
    world.run(world.client.close())
    (request,) = collector.received
    found = points(request)
    duration = found["gen_ai.client.operation.duration"]
    (point,) = duration.histogram.data_points
    assert (duration.unit, point.count, len(point.bucket_counts)) == ("s", 2, 15)
    attributes = {each.key: each.value.string_value for each in point.attributes}
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
    }
    assert point.time_unix_nano > point.start_time_unix_nano > 1e18
    assert {each.count for each in found["gen_ai.client.token.usage"].histogram.data_points} == {2}


def test_a_collector_is_told_from_time_to_time(collector: Collector, make_world: Callable[..., Any]) -> None:
    endpoint = f"http://127.0.0.1:{collector.server_port}/v1/metrics"
    world = make_world(metrics={"exporters": ["otlp"], "endpoint": endpoint, "interval": "10ms"})
    world.chat()
    for _ in range(2):
        collector.arrived.clear()
        assert collector.arrived.wait(10.0)


def test_the_data_equals_what_the_sdk_itself_would_give() -> None:
    reader = InMemoryMetricReader()
    views = [
        View(
            instrument_name=each.name, aggregation=ExplicitBucketHistogramAggregation(boundaries=each.bounds)
        )
        for each in instruments.INSTRUMENTS
        if each.kind == "histogram"
    ]
    provider = MeterProvider(metric_readers=[reader], views=views)
    meter = provider.get_meter("penstock")
    book = Book(max_targets=9, redactor=Redactor(), opened=lambda: None, wall=lambda: 5.0)
    page = book.page(Target("openai", "gpt"))
    common = {"gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt"}
    tokens, errors = instruments.TOKEN_USAGE, instruments.ATTEMPT_ERRORS
    histogram = meter.create_histogram(tokens.name, tokens.unit, tokens.description)
    counter = meter.create_counter(errors.name, errors.unit, errors.description)
    for value in (1, 4, 5, 1000, 99_999_999):
        histogram.record(value, {**common, "gen_ai.token.type": "input"})
        page.record(tokens, value, "input")
        counter.add(1, {**common, "error.type": "503"})
        page.add(errors, "503")

    def plain(data: Any) -> Any:
        (scope,) = json.loads(data.to_json())["resource_metrics"][0]["scope_metrics"]
        for metric in scope["metrics"]:
            for point in metric["data"]["data_points"]:
                del point["start_time_unix_nano"], point["time_unix_nano"]
        return sorted(scope["metrics"], key=lambda metric: metric["name"])

    assert plain(metrics_data(book.collect(), 5.0, 6.0)) == plain(reader.get_metrics_data())
    provider.shutdown()


def test_the_console_writes_json_to_stderr(
    make_world: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    world = make_world(metrics={"exporters": ["console"]})
    world.chat()
    world.client.close()
    captured = capsys.readouterr()
    names = [
        metric["name"]
        for metric in json.loads(captured.err)["resource_metrics"][0]["scope_metrics"][0]["metrics"]
    ]
    assert "gen_ai.client.operation.duration" in names
    assert captured.out == ""


def test_no_meter_provider_is_set_for_the_process(make_world: Callable[..., Any]) -> None:
    before = api.get_meter_provider()
    world = make_world(metrics={"exporters": ["console"]})
    world.chat()
    assert api.get_meter_provider() is before
    assert not isinstance(before, MeterProvider)


def test_metrics_import_the_sdk_only_for_an_exporter() -> None:
    script = (
        "import sys; from penstock import Client; from penstock_testkit import Simulator;"
        "c = Client(config=False, transport=Simulator().transport(), metrics={}, logs=False,"
        "providers={'openai': {'api_key': 'sk-test-0123'}}, pipeline=[]); c.metrics(); c.close();"
        "print([name for name in sys.modules if '.sdk' in name or '.exporter' in name])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert done.stdout.strip() == "[]"


def test_prometheus_needs_no_thread(make_world: Callable[..., Any]) -> None:
    before = threading.active_count()
    world = make_world(metrics={"exporters": ["prometheus"]})
    world.chat()
    assert threading.active_count() == before
    assert "penstock_attempt_duration_seconds_count" in world.client.listener("metrics").exposition()


def test_an_exporter_that_is_not_installed_is_named_when_the_client_is_built(
    make_world: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.metric_exporter", None)
    with pytest.raises(ConfigError, match=r"pip install 'penstock-metrics\[otlp\]'"):
        make_world(metrics={"exporters": ["otlp"]})


class Broken:
    """An exporter whose collector is gone, and comes back."""

    def __init__(self) -> None:
        self.fails = True
        self.closed = 0

    def export(self, data: Any) -> Any:
        if self.fails:
            raise ConnectionError("http://ada:tulip@collector:4318 is gone")
        return type("Result", (), {"name": "SUCCESS"})

    def shutdown(self) -> None:
        self.closed += 1
        raise OSError("already gone")


def test_a_collector_that_is_gone_is_logged_once_without_its_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    book = Book(max_targets=9, redactor=Redactor(), opened=lambda: None, wall=lambda: 5.0)
    book.page(Target("openai", "gpt")).add(instruments.COST, "reported")
    publisher = Publisher(MetricsConfig(), lambda: (book.collect(), 1.0, 2.0), Redactor())
    broken = Broken()
    publisher._exporters = {"otlp": broken}  # type: ignore[dict-item]
    for fails in (True, True, False, True):
        broken.fails = fails
        publisher.publish()
    publisher.close()
    publisher.close()
    assert broken.closed == 1
    assert [record.message for record in caplog.records] == [
        "metrics could not be sent to otlp: ConnectionError; still trying",
        "metrics could not be sent to otlp: ConnectionError; still trying",
        "closing the exporter otlp raised OSError",
    ]
