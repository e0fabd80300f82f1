"""The pipeline: exports what is allowed, in the background, and holds nobody up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags

from shared.adapters.telemetry import exporters
from shared.adapters.telemetry.pipeline import Exporters, Pipeline, allowed_metrics
from shared.base.telemetry import METRICS, SCOPE
from tests.support.collector import collecting, hanging, refusing

SECRET = "the merger is on Friday"


class Hung(SpanExporter):
    """An exporter that never comes back."""

    def __init__(self) -> None:
        self.called = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.called.set()
        threading.Event().wait()
        return SpanExportResult.SUCCESS


def no_metrics() -> MetricExporter:
    raise AssertionError("nothing was measured")


def pipeline(spans: Callable[[], SpanExporter], ratio: float = 1.0) -> Pipeline:
    return Pipeline(Exporters(spans, no_metrics, {}), {"service.name": "test"}, ratio)


@pytest.fixture
def kept() -> InMemorySpanExporter:
    return InMemorySpanExporter()


def test_only_what_is_allowed_is_exported(kept: InMemorySpanExporter) -> None:
    tested = pipeline(lambda: kept)
    other = tested.tracers.get_tracer("a library that measures itself")
    with other.start_as_current_span("GET https://store.example/paper.pdf"):
        pass
    tracer = tested.tracers.get_tracer(SCOPE)
    remote = SpanContext(7, 7, is_remote=True)
    with tracer.start_as_current_span("span", links=[trace.Link(remote, {"name": SECRET})]) as span:
        span.set_attribute("http.route", "/api/v1/documents")
        span.set_attribute("url.full", SECRET)
        span.record_exception(ValueError(SECRET))
        span.add_event(SECRET)
        span.set_status(Status(StatusCode.ERROR, SECRET))
    tested.shut_down()
    (exported,) = kept.get_finished_spans()
    assert dict(exported.attributes or {}) == {"http.route": "/api/v1/documents"}
    assert SECRET not in exported.to_json()
    assert exported.status.status_code is StatusCode.ERROR
    assert [link.context.trace_id for link in exported.links] == [7]


def test_only_metrics_and_attributes_that_are_listed_are_exported() -> None:
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False, views=allowed_metrics())
    name = "strongroom.findings"
    meters.get_meter(SCOPE).create_counter(name).add(
        1, {"strongroom.finding": "pack", "id": SECRET}
    )
    meters.get_meter(SCOPE).create_counter("strongroom.unlisted").add(1)
    meters.get_meter("another").create_counter(name).add(1)
    meters.get_meter("another").create_counter("http.client.duration").add(1)
    found = reader.get_metrics_data()
    assert found is not None
    points = [
        (metric.name, dict(point.attributes or {}))
        for resource in found.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]
    assert points == [(name, {"strongroom.finding": "pack"})]


def test_an_exporter_that_hangs_holds_up_neither_spans_nor_the_end() -> None:
    hung = Hung()
    tested = pipeline(lambda: hung)
    tracer = tested.tracers.get_tracer(SCOPE)
    began = time.perf_counter()
    for _ in range(20_000):  # ten times what the queue holds
        tracer.start_span("span").end()
    each = (time.perf_counter() - began) / 20_000
    assert hung.called.wait(10)
    assert each < 0.001
    began = time.perf_counter()
    tested.shut_down(0.5)
    assert time.perf_counter() - began < 1.5


def test_an_exporter_that_cannot_be_made_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> SpanExporter:
        raise ValueError(SECRET)

    tested = pipeline(fail)
    tracer = tested.tracers.get_tracer(SCOPE)
    for _ in range(3):
        tracer.start_span("span").end()
        tested.tracers.force_flush()
    tested.shut_down()
    logged = [
        record.getMessage() for record in caplog.records if record.name == "strongroom.telemetry"
    ]
    assert logged == ["no telemetry is exported: ValueError"]
    assert SECRET not in caplog.text


def test_exporters_are_made_when_the_first_batch_is_due(kept: InMemorySpanExporter) -> None:
    made: list[str] = []

    def make() -> SpanExporter:
        made.append(threading.current_thread().name)
        return kept

    tested = pipeline(make)
    tested.tracers.get_tracer(SCOPE).start_span("span").end()
    assert made == []
    tested.shut_down()
    (thread,) = made
    assert thread != threading.main_thread().name


@pytest.mark.parametrize(("ratio", "flags", "expected"), [(0.0, 1, 0), (1.0, 0, 100)])
def test_clients_do_not_choose_which_traces_are_kept(
    kept: InMemorySpanExporter, ratio: float, flags: int, expected: int
) -> None:
    tested = pipeline(lambda: kept, ratio)
    for number in range(1, 101):
        remote = SpanContext(number << 64 | number, number, True, TraceFlags(flags))
        parent = trace.set_span_in_context(NonRecordingSpan(remote))
        tested.tracers.get_tracer(SCOPE).start_span("span", parent).end()
    tested.shut_down()
    assert len(kept.get_finished_spans()) == expected


@pytest.mark.parametrize("kind", ["otlp", "azure-monitor"])
@pytest.mark.parametrize("broken", [hanging, refusing])
def test_a_server_that_does_not_respond_costs_nothing(
    kind: str, broken: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with broken() as url:
        tested = Pipeline(chosen(kind, url, monkeypatch), {"service.name": "test"}, 1.0)
        tracer = tested.tracers.get_tracer(SCOPE)
        counter = tested.meters.get_meter(SCOPE).create_counter("strongroom.findings")
        began = time.perf_counter()
        for _ in range(5_000):
            tracer.start_span("span").end()
            counter.add(1)
        assert (time.perf_counter() - began) / 5_000 < 0.002
        began = time.perf_counter()
        tested.shut_down(1)
        assert time.perf_counter() - began < 2


def chosen(kind: str, url: str, monkeypatch: pytest.MonkeyPatch) -> Exporters:
    if kind == "otlp":
        return exporters.otlp(url)
    key = "00000000-0000-4000-8000-000000000001"
    monkeypatch.delenv("APPLICATIONINSIGHTS_AUTHENTICATION_STRING", raising=False)
    monkeypatch.setenv(
        "APPLICATIONINSIGHTS_CONNECTION_STRING",
        f"InstrumentationKey={key};IngestionEndpoint={url}/",
    )
    for switch in exporters._SWITCHES:
        monkeypatch.setenv(switch, "true")
    return exporters.azure_monitor()


@pytest.fixture
def threads() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = {thread for thread in threading.enumerate() if not thread.daemon} - before
    assert left == set()


@pytest.mark.usefixtures("threads")
def test_otlp_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        tested = Pipeline(exporters.otlp(collector.url), {"service.name": "test"}, 1.0)
        measure(tested)
        (span,) = collector.otlp_spans()
        assert span.name == "POST /api/v1/documents"
        metrics = collector.otlp_metrics()
        assert set(metrics) == {"strongroom.sealed", "strongroom.backup.age"}
        (point,) = metrics["strongroom.sealed"].sum.data_points
        assert (point.as_int, metrics["strongroom.sealed"].unit) == (7, "By")


@pytest.mark.usefixtures("threads")
def test_application_insights_gets_rows_that_its_tables_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with collecting() as collector:
        options = chosen("azure-monitor", collector.url, monkeypatch)
        tested = Pipeline(options, {"service.name": "strongroom"}, 1.0)
        measure(tested)
        rows = [
            (envelope["tags"]["ai.cloud.role"], envelope["data"])
            for envelope in collector.envelopes()
        ]
        paths = {path for path, _ in collector.requests}
    assert paths == {"/v2.1/track"}
    assert {role for role, _ in rows} == {"strongroom"}
    (request,) = [data["baseData"] for _, data in rows if data["baseType"] == "RequestData"]
    assert (request["name"], request["url"], request["properties"]) == (
        "POST /api/v1/documents",
        "",
        {},
    )
    metrics = [
        metric
        for _, data in rows
        if data["baseType"] == "MetricData"
        for metric in data["baseData"]["metrics"]
    ]
    assert {metric["name"]: metric["value"] for metric in metrics} == {
        "strongroom.sealed": 7,
        "strongroom.backup.age": 3,
    }


def measure(tested: Pipeline) -> None:
    """A request, a counter and a gauge; then all of it is exported."""
    attributes = {"http.request.method": "POST", "http.route": "/api/v1/documents"}
    tracer = tested.tracers.get_tracer(SCOPE)
    tracer.start_span(
        "POST /api/v1/documents", kind=trace.SpanKind.SERVER, attributes=attributes
    ).end()
    meter = tested.meters.get_meter(SCOPE)
    meter.create_counter("strongroom.sealed", METRICS["strongroom.sealed"].unit).add(7)
    meter.create_gauge("strongroom.backup.age", "s").set(3)
    tested.shut_down(20)


def test_a_gauge_is_exported_where_it_was_set_and_not_repeated() -> None:
    """A process that no longer runs the timer would otherwise hide that another one is late."""
    for options in (exporters.console(), exporters.otlp(""), exporters.azure_monitor()):
        reader = InMemoryMetricReader(dict(options.temporality))
        meters = MeterProvider([reader], shutdown_on_exit=False, views=allowed_metrics())
        meters.get_meter(SCOPE).create_gauge("strongroom.backup.age", "s").set(3)
        assert reader.get_metrics_data() is not None
        again = reader.get_metrics_data()
        assert again is None or not again.resource_metrics[0].scope_metrics


def test_logging_of_failed_exports_names_no_data(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with refusing() as url:
        tested = Pipeline(exporters.otlp(url), {"service.name": "test"}, 1.0)
        tested.tracers.get_tracer(SCOPE).start_span(SECRET).end()
        tested.shut_down(1)
    assert SECRET not in caplog.text
