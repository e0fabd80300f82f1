"""The list of what is measured: by the conventions, in the documentation, and nothing of a customer."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest
from opentelemetry import semconv
from opentelemetry.trace import NonRecordingSpan, SpanContext

from functions.api.telemetry import NO_TELEMETRY
from shared.base import telemetry
from shared.base.errors import NotFound
from shared.base.telemetry import METRICS, SPAN_ATTRIBUTES
from shared.base.topology import load_topology

ROOT = Path(__file__).parents[3]
OWN = re.compile(r"strongroom(\.[a-z]+(_[a-z]+)*)+")


def conventions(kind: str) -> set[str]:
    """Every name of the semantic conventions: of ``attributes`` or of ``metrics``."""
    names: set[str] = set()
    for place in ("", "_incubating."):
        package = importlib.import_module(f"{semconv.__name__}.{place}{kind}")
        for found in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{found.name}")
            names |= {value for value in vars(module).values() if isinstance(value, str)}
    return names


def test_names_are_those_of_the_conventions_or_our_own() -> None:
    metrics, attributes = conventions("metrics"), conventions("attributes")
    for name in METRICS:
        assert OWN.fullmatch(name) or name in metrics, name
    for name in SPAN_ATTRIBUTES:
        assert OWN.fullmatch(name) or name in attributes, name


@pytest.mark.parametrize(
    "name",
    [
        *("url.full", "url.path", "url.query", "server.address", "client.address", "enduser.id"),
        *(
            "user_agent.original",
            "network.peer.address",
            "exception.message",
            "http.request.header",
        ),
        *("messaging.message.body.size", "db.query.text", "strongroom.tenant", "tenant"),
    ],
)
def test_what_tells_of_a_customer_is_not_on_the_list(name: str) -> None:
    assert name not in SPAN_ATTRIBUTES


def test_units_are_seconds_bytes_or_what_is_counted() -> None:
    for name, metric in METRICS.items():
        assert re.fullmatch(r"s|By|\{[a-z]+\}", metric.unit), name
        assert metric.description.endswith("."), name
        assert len(set(metric.attributes)) == len(metric.attributes), name


def test_the_page_lists_every_metric_as_it_is() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    section = page.split("\n## What is measured\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if re.match(r"\| `[\w.]+` \| (counter|gauge|histogram) \|", line)
    ]
    shown = {
        row[0].strip("`"): (row[1], row[2], tuple(re.findall(r"`([^`]+)`", row[3])), row[4])
        for row in rows
    }
    assert shown == {
        name: (metric.kind, metric.unit, metric.attributes, metric.description)
        for name, metric in METRICS.items()
    }
    assert all(row[5] for row in rows)


def test_destinations_are_those_of_the_topology() -> None:
    (topic,) = load_topology().topics
    assert telemetry.MESSAGING["messaging.destination.name"] == topic.name


def test_alerts_limits_are_boundaries_of_the_ages() -> None:
    assert 900 in telemetry.AGES


def test_the_framework_measures_nothing_by_itself() -> None:
    """FastAPI would: hosts, paths, addresses, user agents, and errors with their messages."""
    assert set(NO_TELEMETRY) == {"tracing", "metrics", "logs", "auto_configure"}
    assert not any(NO_TELEMETRY.values())


def test_errors_are_named_by_slug_or_class() -> None:
    assert telemetry.error_type(NotFound("a paper")) == "not-found"
    assert telemetry.error_type(ValueError("a paper")) == "ValueError"


@pytest.mark.parametrize("given", [None, "", "nonsense", f"00-{'0' * 32}-{'1' * 16}-01"])
def test_a_malformed_traceparent_begins_a_new_trace(given: str | None) -> None:
    assert dict(telemetry.context_of(given)) == {}


def test_without_an_sdk_there_is_no_traceparent_but_the_clients() -> None:
    remote = SpanContext(1, 2, is_remote=True)
    assert telemetry.traceparent_of(NonRecordingSpan(remote)) is None
    assert telemetry.traceparent_of(NonRecordingSpan(SpanContext(0, 0, is_remote=False))) is None
    ours = NonRecordingSpan(SpanContext(1, 2, is_remote=False))
    assert telemetry.traceparent_of(ours) == f"00-{1:032x}-{2:016x}-00"
