"""Servers on 127.0.0.1 that take telemetry: a collector of OTLP, Application Insights, and bad ones."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Collector:
    """What came in.

    Attributes:
        url: The base URL.
        requests: Paths and bodies, in their order.
    """

    url: str
    requests: list[tuple[str, bytes]] = field(default_factory=list)

    def bodies(self, path: str) -> list[bytes]:
        return [body for found, body in self.requests if found == path]

    def otlp_spans(self) -> list[Any]:
        """The spans, as OTLP has them."""
        return [
            span
            for body in self.bodies("/v1/traces")
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def otlp_metrics(self) -> dict[str, Any]:
        """The last of each metric, by its name."""
        return {
            metric.name: metric
            for body in self.bodies("/v1/metrics")
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def envelopes(self) -> list[dict[str, Any]]:
        """What Application Insights would store."""
        return [each for body in self.bodies("/v2.1/track") for each in json.loads(body)]


@contextmanager
def collecting() -> Iterator[Collector]:
    """Take telemetry."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.requests.append((self.path, body))
            answer = b""
            if self.path == "/v2.1/track":
                count = len(json.loads(body))
                taken = {"itemsReceived": count, "itemsAccepted": count, "errors": []}
                answer = json.dumps(taken).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def hanging() -> Iterator[str]:
    """A server that takes connections and never responds; the value is its base URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def refusing() -> Iterator[str]:
    """A port that takes no connections; the value is its base URL."""
    with socket.socket() as bound:  # not listening, and nobody else can
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
