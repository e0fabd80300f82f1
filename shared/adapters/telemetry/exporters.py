"""The exporters: JSON lines on the console, OTLP to a collector, Azure Monitor."""

from __future__ import annotations

import logging
import os
import sys
from typing import Final

from opentelemetry.sdk.metrics import Counter, Histogram
from opentelemetry.sdk.metrics import _Gauge as Gauge
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ConsoleMetricExporter,
    MetricExporter,
)
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter

from shared.adapters.telemetry.pipeline import Exporters

EXPORT_SECONDS: Final = 5
"""How long one export may take, its retries included."""

# A gauge of ours is what a timer has just found: a process that no longer runs it must not repeat it.
_GAUGES: Final[dict[type, AggregationTemporality]] = {Gauge: AggregationTemporality.DELTA}
_SINCE_THE_LAST: Final[dict[type, AggregationTemporality]] = {
    **_GAUGES,
    Counter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
}

_SWITCHES: Final = (
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED",
    "APPLICATIONINSIGHTS_OPENTELEMETRY_RESOURCE_METRIC_DISABLED",
)
"""Switch off what Azure's exporter sends and asks besides: its own statistics go to Microsoft, its own
settings come from there, and the firewall lets neither through."""


def console() -> Exporters:
    """One JSON object a line, on standard output."""
    return Exporters(
        lambda: ConsoleSpanExporter(formatter=lambda span: f"{span.to_json(indent=None)}\n"),
        lambda: ConsoleMetricExporter(
            sys.stdout, formatter=lambda found: f"{found.to_json(indent=None)}\n"
        ),
        _SINCE_THE_LAST,
    )


def otlp(endpoint: str) -> Exporters:
    """OTLP over HTTP, in protobuf.

    Further settings, such as headers and certificates, are OpenTelemetry's own:
    https://opentelemetry.io/docs/specs/otel/protocol/exporter/

    Args:
        endpoint: The collector's base URL, without a trailing slash.
    """

    def spans() -> SpanExporter:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=EXPORT_SECONDS)

    def metrics() -> MetricExporter:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

        return OTLPMetricExporter(f"{endpoint}/v1/metrics", timeout=EXPORT_SECONDS)

    return Exporters(spans, metrics, _GAUGES)


def azure_monitor() -> Exporters:
    """Application Insights, which two settings of the Functions host name.

    Azure's exporter reads both: ``APPLICATIONINSIGHTS_CONNECTION_STRING`` says where it is,
    ``APPLICATIONINSIGHTS_AUTHENTICATION_STRING`` with which identity to send. Of Azure's distribution of
    OpenTelemetry only the exporter is used: the rest instruments libraries, whose spans name objects and
    keys.
    """
    options = {
        # Nothing is written to a disk: what cannot be sent is lost.
        "disable_offline_storage": True,
        "timeout": EXPORT_SECONDS,
        "read_timeout": EXPORT_SECONDS,
        "retry_total": 1,
    }

    def prepare() -> None:
        for switch in _SWITCHES:
            os.environ.setdefault(switch, "true")
        # At INFO it logs the URL of every request.
        logging.getLogger("azure").setLevel(logging.WARNING)

    def spans() -> SpanExporter:
        prepare()
        from azure.monitor.opentelemetry.exporter import AzureMonitorTraceExporter

        return AzureMonitorTraceExporter(**options)

    def metrics() -> MetricExporter:
        prepare()
        from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter

        return AzureMonitorMetricExporter(**options)

    return Exporters(spans, metrics, _SINCE_THE_LAST)
