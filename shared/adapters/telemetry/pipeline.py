"""The SDK: from what ``shared.base.telemetry`` measures to an exporter, in the background.

Nobody waits for it. Spans wait in a queue of a fixed length, and the oldest are dropped when it is full;
metrics are sums, however often they are recorded. Threads of their own export both: an exporter that is
slow, hangs or refuses costs a request nothing. The exporters, most of whose time to start is importing,
are made by these threads when the first batch is due.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import DropAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import Link, Status

from shared.base.telemetry import METRICS, SCOPE, SPAN_ATTRIBUTES

SHUTDOWN_SECONDS: Final = 3.0
"""How long the end of the process waits for what is still to be exported."""

_log = logging.getLogger("strongroom.telemetry")

E = TypeVar("E", SpanExporter, MetricExporter)


@dataclass(frozen=True, slots=True)
class Exporters:
    """Where spans and metrics go.

    Attributes:
        spans: Makes the exporter of spans.
        metrics: Makes the exporter of metrics.
        temporality: How it wants its metrics, by the class of the instrument.
    """

    spans: Callable[[], SpanExporter]
    metrics: Callable[[], MetricExporter]
    temporality: Mapping[type, AggregationTemporality]


class Pipeline:
    """One process's telemetry.

    Args:
        exporters: Where it goes.
        resource: What the process is: attributes that all of it carries.
        trace_ratio: The share of traces that is kept, 0 to 1. It is decided by the trace id, so a trace is
            kept with all of its spans or not at all.
    """

    def __init__(
        self, exporters: Exporters, resource: Mapping[str, str], trace_ratio: float
    ) -> None:
        about = Resource.create(dict(resource))
        self.tracers = TracerProvider(
            # Not the usual sampler, which would do as the client's traceparent says.
            sampler=TraceIdRatioBased(trace_ratio),
            resource=about,
            shutdown_on_exit=False,
        )
        self.tracers.add_span_processor(BatchSpanProcessor(_Spans(exporters.spans)))
        self.meters = MeterProvider(
            [PeriodicExportingMetricReader(_Metrics(exporters.metrics, exporters.temporality))],
            resource=about,
            shutdown_on_exit=False,
            # Exemplars would carry the attributes that the views leave out.
            exemplar_filter=AlwaysOffExemplarFilter(),
            views=allowed_metrics(),
        )

    def install(self) -> None:
        """Let everything that was and will be measured go here; once a process."""
        trace.set_tracer_provider(self.tracers)
        metrics.set_meter_provider(self.meters)

    def shut_down(self, seconds: float = SHUTDOWN_SECONDS) -> None:
        """Export what is left, for so long at most. What then still hangs ends with the process."""
        ends = [
            threading.Thread(target=end, daemon=True)
            for end in (self.tracers.shutdown, self.meters.shutdown)
        ]
        for end in ends:
            end.start()
        deadline = time.monotonic() + seconds
        for end in ends:
            end.join(max(0.0, deadline - time.monotonic()))


def allowed_metrics() -> list[View]:
    """The views that let through our own metrics, with their attributes, and nothing else."""
    named = [
        View(instrument_name=name, meter_name=SCOPE, attribute_keys=set(metric.attributes))
        for name, metric in METRICS.items()
    ]
    return [*named, View(instrument_name="*", aggregation=DropAggregation())]


def allowed_span(span: ReadableSpan) -> ReadableSpan:
    """A span with what it may have: no events, which hold exceptions, and no description of its status."""
    return ReadableSpan(
        span.name,
        span.context,
        span.parent,
        span.resource,
        {key: value for key, value in (span.attributes or {}).items() if key in SPAN_ATTRIBUTES},
        (),
        tuple(Link(link.context) for link in span.links),
        span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


class _Made(Generic[E]):
    """An exporter, made when it is first needed; one that cannot be made is logged once."""

    def __init__(self, make: Callable[[], E]) -> None:
        self._make: Callable[[], E] = make
        self._made: E | None = None
        self._failed = False

    def get(self) -> E | None:
        if self._made is None and not self._failed:
            try:
                self._made = self._make()
            except Exception as error:
                # The text of the error may quote a connection string.
                _log.error("no telemetry is exported: %s", type(error).__qualname__)
                self._failed = True
        return self._made

    def shut_down(self) -> None:
        if self._made is not None:
            self._made.shutdown()


class _Spans(SpanExporter):
    def __init__(self, make: Callable[[], SpanExporter]) -> None:
        self._exporter = _Made(make)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        exporter = self._exporter.get()
        ours = [
            allowed_span(span)
            for span in spans
            if span.instrumentation_scope is not None and span.instrumentation_scope.name == SCOPE
        ]
        if exporter is None:
            return SpanExportResult.FAILURE
        return exporter.export(ours) if ours else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._exporter.shut_down()


class _Metrics(MetricExporter):
    def __init__(
        self,
        make: Callable[[], MetricExporter],
        temporality: Mapping[type, AggregationTemporality],
    ) -> None:
        super().__init__(preferred_temporality=dict(temporality))
        self._exporter = _Made(make)

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object
    ) -> MetricExportResult:
        exporter = self._exporter.get()
        if exporter is None:
            return MetricExportResult.FAILURE
        return exporter.export(metrics_data, timeout_millis)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:
        self._exporter.shut_down()
