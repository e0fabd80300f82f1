"""Telemetry: from a request to its events and timers in one trace, by the conventions, of no customer."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest
from azure.functions.timer import TimerRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from functions import schedules
from shared.base import telemetry
from shared.base.errors import Unavailable
from shared.handlers import REPLICATION
from standalone.logs import JsonFormatter
from tests.api.test_damaged_records import damage
from tests.api.test_secrets import DIRECT, STAGED, forms, story
from tests.support.app import App, problem
from tests.support.telemetry import Recorded, recorded

pytestmark = pytest.mark.anyio

CLIENT_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CLIENT_SPAN = "00f067aa0ba902b7"
TRACEPARENT = f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-00"
UNKNOWN = "doc_01kdvdna00rmk4j2xznrjat384"
ROUTE = "/api/v1/documents/{document}"


@pytest.fixture
def measured(app: App) -> Iterator[Recorded]:
    found = recorded()
    found.forget()
    yield found
    found.forget()


def trace_of(span: ReadableSpan) -> str:
    return f"{span.context.trace_id:032x}"


def span_id(span: ReadableSpan) -> str:
    return f"{span.context.span_id:016x}"


def parent_id(span: ReadableSpan) -> str | None:
    return None if span.parent is None else f"{span.parent.span_id:016x}"


async def run_timer(app: App, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a timer's function, as its host does."""

    async def ready_services() -> object:
        return app.services

    monkeypatch.setattr(schedules, "ready_services", ready_services)
    await getattr(schedules, name)._function.get_user_function()(timer=TimerRequest())


async def test_a_request_and_its_events_share_the_clients_trace(
    app: App, auth: dict[str, str], measured: Recorded
) -> None:
    answer = await app.upload(auth, b"paper", traceparent=TRACEPARENT)
    assert answer.status_code == 201
    await app.settle()
    (request,) = measured.spans("POST /api/v1/documents")
    assert (trace_of(request), parent_id(request)) == (CLIENT_TRACE, CLIENT_SPAN)
    assert answer.headers["traceparent"] == f"00-{CLIENT_TRACE}-{span_id(request)}-01"
    handled = measured.spans("process events")
    sealed = [
        span for span in handled if attribute(span, telemetry.EVENT_TYPE) == "document.sealed"
    ]
    # What an event causes hangs from its span, not from the request's.
    (replicated,) = sealed
    assert attribute(replicated, telemetry.SUBSCRIPTION) == REPLICATION
    assert parent_id(replicated) == span_id(request)
    later = [span for span in handled if parent_id(span) == span_id(replicated)]
    assert [attribute(span, telemetry.EVENT_TYPE) for span in later] == ["audit.recorded"]
    assert {trace_of(span) for span in (*sealed, *later)} == {CLIENT_TRACE}


def attribute(span: ReadableSpan, name: str) -> object:
    return (span.attributes or {}).get(name)


async def test_a_timer_is_linked_to_the_requests_whose_work_it_does(
    app: App, auth: dict[str, str], measured: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as silent:

        async def publish(events: object) -> None:
            raise Unavailable("The bus does not respond.")

        silent.setattr(app.services.outbox._bus, "publish", publish)
        await app.upload(auth, b"paper", traceparent=TRACEPARENT)
        await app.services.outbox.close()
    app.clock.advance(600)
    await run_timer(app, "outbox_relay", monkeypatch)
    (run,) = measured.spans("outbox_relay")
    (request,) = measured.spans("POST /api/v1/documents")
    assert span_id(request) in {f"{link.context.span_id:016x}" for link in run.links}
    assert [point.value for point in measured.points("strongroom.outbox.age")] == [600]
    measured.forget()
    await app.settle()
    sealed = [
        span
        for span in measured.spans("process events")
        if attribute(span, telemetry.EVENT_TYPE) == "document.sealed"
    ]
    assert sealed
    assert {trace_of(span) for span in sealed} == {CLIENT_TRACE}
    ages = [
        point
        for point in measured.points("strongroom.queue.age")
        if point.attributes[telemetry.EVENT_TYPE] == "document.sealed"
    ]
    assert [point.value / point.count for point in ages] == [600]


async def test_what_a_timer_causes_is_in_the_timers_trace(
    app: App, auth: dict[str, str], measured: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = (await app.upload(auth, b"paper")).json()["id"]
    await app.settle()
    await app.http.delete(f"documents/{document}", headers=auth)
    await app.settle()
    measured.forget()
    app.clock.advance(400 * 86_400)
    await run_timer(app, "trash", monkeypatch)
    await app.settle()
    (run,) = measured.spans("trash")
    deleted = [
        span
        for span in measured.spans("process events")
        if attribute(span, telemetry.EVENT_TYPE) == "document.deleted"
    ]
    assert deleted
    assert {(trace_of(span), parent_id(span)) for span in deleted} == {
        (trace_of(run), span_id(run))
    }


async def test_request_spans_and_metrics_follow_the_conventions(
    app: App, auth: dict[str, str], measured: Recorded
) -> None:
    await app.http.get(f"documents/{UNKNOWN}?name=private", headers=auth)
    (span,) = measured.spans()
    about = {
        "http.request.method": "GET",
        "http.route": ROUTE,
        "http.response.status_code": 404,
        "url.scheme": "http",
    }
    assert span.name == f"GET {ROUTE}"
    assert span.kind is SpanKind.SERVER
    assert dict(span.attributes or {}) == about
    assert span.status.status_code is StatusCode.UNSET
    points = {point.name: point for point in measured.points()}
    assert points["http.server.request.duration"].attributes == about
    assert points["strongroom.refusals"].attributes == {
        "error.type": "not-found",
        "http.route": ROUTE,
    }


@pytest.mark.parametrize(
    ("method", "path", "name", "expected"),
    [
        ("HEAD", f"documents/{UNKNOWN}", f"HEAD {ROUTE}", {"http.request.method": "HEAD"}),
        ("GET", "private/../private", "GET", {"http.route": None}),
        ("PRIVATE", "documents", "HTTP", {"http.request.method": "_OTHER", "http.route": None}),
    ],
)
async def test_what_the_client_wrote_is_in_no_name(
    app: App, measured: Recorded, method: str, path: str, name: str, expected: dict[str, object]
) -> None:
    await app.http.request(method, path)
    (span,) = measured.spans()
    assert span.name == name
    assert {key: attribute(span, key) for key in expected} == expected


async def test_an_unexpected_error_is_named_without_its_message(
    app: App, auth: dict[str, str], measured: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the merger is on Friday")

    monkeypatch.setattr(type(app.services.replication.store), "find_version", fail)
    document = (await app.upload(auth, b"paper")).json()["id"]
    with pytest.raises(RuntimeError):
        await app.settle()
    (failed,) = [span for span in measured.spans() if attribute(span, telemetry.ERROR_TYPE)]
    assert attribute(failed, telemetry.ERROR_TYPE) == "RuntimeError"
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.status.description is None
    assert not failed.events
    assert document not in failed.to_json()


async def test_responses_of_500_say_their_problem(
    app: App, auth: dict[str, str], measured: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise Unavailable("The disk is full of the merger.")

    object.__setattr__(app.services.adapters, "check_room", fail)
    answer = await app.http.get("health")
    assert (answer.status_code, problem(answer)) == (503, "unavailable")
    (span,) = measured.spans()
    assert attribute(span, telemetry.ERROR_TYPE) == "unavailable"
    assert span.status.status_code is StatusCode.ERROR
    (point,) = measured.points("http.server.request.duration")
    assert point.attributes["error.type"] == "unavailable"
    assert measured.points("strongroom.refusals") == []


async def test_nothing_of_a_customer_is_measured(
    app: App, alpha: str, measured: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy story, with everything that a client can send: none of it comes out."""
    sent = {
        "User-Agent": "Zebra-Browser/7",
        "X-Forwarded-For": "198.51.100.77",
        "Referer": "https://zebra.example/fusion",
        "tracestate": "zebra=fusion",
        "baggage": "mandant=zebra",
        "traceparent": TRACEPARENT,
    }
    app.http.headers.update(sent)
    secrets, _ = await story(app, alpha)
    for name in schedules_of():
        await run_timer(app, name, monkeypatch)
    await app.settle()
    secrets |= {
        "user agent": b"Zebra-Browser",
        "address": b"203.0.113.7",
        "forwarded address": b"198.51.100.77",
        "referrer": b"zebra.example",
        "trace state": b"zebra",
        "host": b"app.test",
        "tenant": alpha.encode(),
        "slug": b"alpha",
        "user name": b"anna",
        "query": b"cursor",
        "data folder": str(app.data).encode(),
    }
    spans, points = measured.spans(), measured.points()
    assert len(spans) > 60
    assert len({point.name for point in points}) > 12
    exported = "\n".join([*(each.to_json() for each in spans), *(each.json for each in points)])
    found = [
        name
        for name, secret in secrets.items()
        for form in forms(secret)
        if form.decode("latin-1").lower() in exported.lower()
    ]
    assert found == []
    # Of all ids that there are, only events' are there, which are random.
    ids = set(re.findall(r"\b([a-z]{3})_[0-9a-z]{20,}", exported))
    assert ids == {"evt"}
    assert all(not span.events for span in spans)
    assert all(span.status.description is None for span in spans)


def schedules_of() -> list[str]:
    return [
        str(builder._function.get_function_name())
        for builder in schedules.blueprint._function_builders
    ]


async def test_every_attribute_is_on_the_list(
    app: App, alpha: str, measured: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the export drops what is not: so nothing that is meant to be seen is dropped."""
    await story(app, alpha)
    for name in schedules_of():
        await run_timer(app, name, monkeypatch)
    for span in measured.spans():
        assert set(span.attributes or {}) <= telemetry.SPAN_ATTRIBUTES, span.name
    for point in measured.points():
        assert set(point.attributes) <= set(telemetry.METRICS[point.name].attributes), point.name
        # Words of the code, and never what grows with the customers.
        for value in map(str, point.attributes.values()):
            assert re.fullmatch(r"[A-Za-z0-9_./{}:-]{1,80}", value), value


async def test_the_story_of_a_damaged_document_is_counted(
    app: App, alpha: str, measured: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    await story(app, alpha)
    await run_timer(app, "backup", monkeypatch)
    points = measured.points()

    def total(name: str, **attributes: str) -> float:
        wanted = {f"strongroom.{key}": value for key, value in attributes.items()}
        return sum(
            point.value
            for point in points
            if point.name == name and wanted.items() <= point.attributes.items()
        )

    def count(name: str) -> int:
        return sum(point.count for point in points if point.name == name)

    assert total("strongroom.sealed") >= len(DIRECT) + len(STAGED)
    assert total("strongroom.repairs", outcome="repaired", place="primary") == 1
    assert total("strongroom.repairs", outcome="lost") >= 1
    assert total("strongroom.epoch_keys", operation="wrap") == 1
    assert count("strongroom.replication.lag") == 2
    assert count("strongroom.key_vault.duration") > 0
    assert [point.value for point in points if point.name == "strongroom.backup.age"] == [0]
    assert total("strongroom.backup.failures") == 1, "no good copy of a document"
    refused = {
        (point.attributes["error.type"], point.attributes.get("http.route"))
        for point in points
        if point.name == "strongroom.refusals"
    }
    assert ("sign-in-refused", "/api/v1/auth/sign-in") in refused
    assert ("token-revoked", "/api/v1/documents") in refused


async def test_a_change_that_no_set_takes_ages(
    app: App, auth: dict[str, str], measured: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise Unavailable("The store of the backups does not respond.")

    await app.upload(auth, b"paper")
    await app.settle()
    app.clock.advance(300)
    await app.services.outbox.relay()
    monkeypatch.setattr(type(app.services.backups.sets), "make", fail)
    await run_timer(app, "backup", monkeypatch)
    measured.points()
    app.clock.advance(3_600)
    await run_timer(app, "backup", monkeypatch)
    points = measured.points()
    (age,) = [point.value for point in points if point.name == "strongroom.backup.age"]
    assert age >= 3_600
    assert sum(p.value for p in points if p.name == "strongroom.backup.failures") > 0


async def test_a_copy_that_fails_again_and_again_ages(
    app: App, auth: dict[str, str], measured: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise Unavailable("The second region does not respond.")

    await app.upload(auth, b"paper")
    await app.services.outbox.close()
    monkeypatch.setattr(type(app.services.adapters.replica), "copy_from", fail)
    app.clock.advance(1_200)
    for delivery in await app.services.adapters.source.receive(REPLICATION, limit=1):
        with pytest.raises(Unavailable):
            await app.services.handlers.handle(REPLICATION, delivery.body)
    (point,) = measured.points("strongroom.replication.lag")
    assert (point.value, point.attributes) == (1_200, {"error.type": "unavailable"})


async def test_the_age_of_checkpoints_is_never_negative(measured: Recorded) -> None:
    telemetry.record_checkpoint_age(-1)
    (point,) = measured.points("strongroom.audit.checkpoint.age")
    assert json.loads(point.json)["unit"] == "s"
    assert point.value == 0


async def test_lines_of_the_log_name_the_trace_that_they_belong_to(
    app: App, measured: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = logging.makeLogRecord({"msg": "backup.failed", "levelname": "ERROR"})
    assert "trace" not in json.loads(JsonFormatter().format(record))
    with telemetry.timer_run("backup"):
        line = json.loads(JsonFormatter().format(record))
    (run,) = measured.spans("backup")
    assert line["trace"] == trace_of(run)


async def test_messages_that_are_given_up_are_counted(
    app: App, auth: dict[str, str], measured: Recorded
) -> None:
    await app.upload(auth, b"paper")
    await app.services.outbox.close()
    source = app.services.adapters.source
    (delivery,) = await source.receive(REPLICATION, limit=1)
    await source.dead_letter(delivery, "invalid-event")
    (point,) = measured.points("strongroom.dead_letters")
    assert (point.value, point.attributes) == (
        1,
        {"messaging.destination.subscription.name": "replication", "error.type": "invalid-event"},
    )


async def test_records_that_cannot_be_read_are_counted_by_their_kind(
    app: App, auth: dict[str, str], measured: Recorded
) -> None:
    document = (await app.upload(auth, b"paper")).json()["id"]
    damage(app, "document", document, b"{")
    await app.http.get("documents", headers=auth)
    (point,) = measured.points("strongroom.records.damaged")
    assert (point.value, point.attributes) == (1, {"strongroom.record": "document"})
