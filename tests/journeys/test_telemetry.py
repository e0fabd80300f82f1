"""Telemetry of the real server, over real sockets: it arrives, and nobody waits for it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from shared.adapters.telemetry.pipeline import SHUTDOWN_SECONDS
from tests.support.accounts import PASSWORD, bearer, bootstrap, create_tenant, create_user
from tests.support.collector import Collector, collecting, hanging, refusing
from tests.support.process import ServerProcess, wait_until

NAME = "Fusionsvertrag-Endfassung.pdf"
CONTENT = b"the merger is on Friday. " * 1_000
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Export often, by OpenTelemetry's own variables."""
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "300")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


def serve(folder: Path, endpoint: str) -> ServerProcess:
    return ServerProcess(
        folder / "data",
        telemetry="otlp",
        telemetry_endpoint=endpoint,
        outbox_relay_schedule="* * * * * *",
    )


def test_a_collector_sees_one_trace_and_every_age_and_nothing_of_a_customer(
    tmp_path: Path, collector: Collector
) -> None:
    server = serve(tmp_path, collector.url)
    server.start()
    try:
        server.wait_until_ready()
        with httpx.Client(base_url=server.api, timeout=60) as http:
            operator = bootstrap(http, server.data)
            administrator = create_tenant(http, operator, "zebrawerke")
            token = create_user(http, administrator, "zebrawerke", "ada", "administrator")
            answer = http.post(
                "documents",
                content=CONTENT,
                headers=bearer(token)
                | {
                    "Content-Disposition": f'attachment; filename="{NAME}"',
                    "User-Agent": "Zebra-Browser/7",
                    "traceparent": f"00-{TRACE}-00f067aa0ba902b7-00",
                },
            )
            assert answer.status_code == 201, answer.text

        def of_the_upload() -> set[str]:
            return {span.name for span in collector.otlp_spans() if span.trace_id.hex() == TRACE}

        wait_until(
            lambda: of_the_upload() == {"POST /api/v1/documents", "process events"}, "the trace"
        )
        expected = {
            *("http.server.request.duration", "messaging.process.duration", "faas.invoke_duration"),
            *("strongroom.queue.age", "strongroom.outbox.age", "strongroom.replication.lag"),
            *("strongroom.sealed", "strongroom.epoch_keys", "strongroom.key_vault.duration"),
        }
        wait_until(lambda: expected <= set(collector.otlp_metrics()), "the metrics")
    finally:
        server.discard()
    everything = b"".join(body for _, body in collector.requests)
    planted = [
        *(NAME, PASSWORD, token, administrator, operator, "zebrawerke", "ada", "Zebra-Browser"),
        *("the merger", "127.0.0.1", str(tmp_path)),
    ]
    found = [text for text in planted if re.search(rb"\b" + re.escape(text.encode()), everything)]
    assert found == []
    assert not re.search(rb"\b(ten|usr|doc)_[0-9a-z]{20}", everything)


@pytest.mark.parametrize("broken", [hanging, refusing])
def test_a_collector_that_does_not_respond_holds_nobody_up(
    tmp_path: Path, broken: Callable[[], AbstractContextManager[str]]
) -> None:
    least = seconds_to_stop(ServerProcess(tmp_path / "without" / "data"))
    with broken() as url:
        server = serve(tmp_path, url)
        server.start()
        try:
            server.wait_until_ready()
            times = []
            with httpx.Client(base_url=server.api, timeout=60) as http:
                for _ in range(100):
                    began = time.perf_counter()
                    assert http.get("health").status_code == 200
                    times.append(time.perf_counter() - began)
            assert sorted(times)[50] < 0.2
            assert max(times) < 3
            wait_until(lambda: complaints(server), "the first export to end")
            began = time.perf_counter()
            server.stop()
            # The two processes end one after the other.
            assert time.perf_counter() - began < 3 * least + 2 * SHUTDOWN_SECONDS
        finally:
            server.discard()
    assert len(complaints(server)) < 100


def seconds_to_stop(server: ServerProcess) -> float:
    """How long this machine takes now for the end of a server that exports nothing."""
    server.data.parent.mkdir()
    server.start()
    try:
        server.wait_until_ready()
        began = time.perf_counter()
        server.stop()
        return time.perf_counter() - began
    finally:
        server.discard()


def complaints(server: ServerProcess) -> list[str]:
    """What the server has logged of exports that failed."""
    return [line for line in server.log().splitlines() if '"logger":"opentelemetry' in line]


def test_on_the_console_each_line_is_an_object(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", telemetry="console")
    server.start()
    try:
        server.wait_until_ready()
        output = tmp_path / "data.out"
        wait_until(lambda: '{"name": "GET /api/v1/health"' in output.read_text(), "a span")
        server.stop()
    finally:
        server.discard()
    lines = [line for line in output.read_text().splitlines() if line.startswith("{")]
    assert all(line.endswith("}") for line in lines)
    assert any('"http.server.request.duration"' in line for line in lines), "exported at the end"
