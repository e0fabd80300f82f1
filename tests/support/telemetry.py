"""Telemetry as the code makes it, before the allow-list: kept in memory for a test to look at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics import _Gauge as Gauge
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

DELTA = AggregationTemporality.DELTA


@dataclass(frozen=True)
class Point:
    """One data point of a metric."""

    name: str
    attributes: dict[str, Any]
    value: float
    """Of a counter or gauge; of a histogram, the sum."""

    count: int
    json: str


@dataclass(frozen=True)
class Recorded:
    """What this process has measured."""

    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader

    def forget(self) -> None:
        """Begin anew."""
        self.exporter.clear()
        self.reader.get_metrics_data()

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        """The spans that have ended, oldest first."""
        return [
            span for span in self.exporter.get_finished_spans() if name is None or span.name == name
        ]

    def points(self, name: str | None = None) -> list[Point]:
        """The data points of what was recorded since the last call."""
        found = self.reader.get_metrics_data()
        if found is None:
            return []
        return [
            Point(
                metric.name,
                dict(point.attributes or {}),
                point.sum if hasattr(point, "sum") else point.value,
                getattr(point, "count", 1),
                metric.to_json(),
            )
            for resource in found.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
            if name is None or metric.name == name
        ]


@lru_cache(maxsize=1)
def recorded() -> Recorded:
    """Record what this process measures, from now on: a process can have one SDK."""
    exporter = InMemorySpanExporter()
    tracers = TracerProvider(ALWAYS_ON, shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(tracers)
    reader = InMemoryMetricReader({Counter: DELTA, Histogram: DELTA, Gauge: DELTA})
    metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
    return Recorded(exporter, reader)
