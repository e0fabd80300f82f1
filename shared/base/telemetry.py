"""What is measured: every metric, every attribute, and how spans are made.

This is OpenTelemetry's API alone, which does nothing until ``shared.wiring.telemetry`` has started the SDK.
Names are those of the semantic conventions (https://opentelemetry.io/docs/specs/semconv/) where there is
one, and ``strongroom.*`` elsewhere. Units are UCUM's; times are in seconds.

Nothing here may tell of a customer. A metric or a span carries the attributes that are named below and
no others: the SDK's set-up drops the rest. Their values are words of the code: routes, slugs, names of
functions and of subscriptions; the one id is an event's, which is random. A tenant's id is not among
them: how much a customer works, and when, is the customer's business, and a metric a tenant would grow
without bound. Who needs the tenant finds it in the audit log, by the trace id.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import Counter, Histogram
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.base.errors import StrongroomError

SCOPE: Final = "strongroom"
"""The instrumentation scope of all of it. What a library measures of itself has another, and is dropped."""

ERROR_TYPE: Final = "error.type"
EVENT_TYPE: Final = "cloudevents.event_type"
FUNCTION: Final = "faas.name"
METHOD: Final = "http.request.method"
OPERATION: Final = "strongroom.operation"
OUTCOME: Final = "strongroom.outcome"
PLACE: Final = "strongroom.place"
FINDING: Final = "strongroom.finding"
RECORD: Final = "strongroom.record"
ROUTE: Final = "http.route"
SCHEME: Final = "url.scheme"
STATUS: Final = "http.response.status_code"
SUBSCRIPTION: Final = "messaging.destination.subscription.name"
TRIGGER: Final = "faas.trigger"

MESSAGING: Final = {
    # Functions are triggered by Service Bus, or by a host that stands in for it.
    "messaging.system": "servicebus",
    "messaging.destination.name": "events",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
}

SPAN_ONLY: Final = frozenset({"cloudevents.event_id", "messaging.message.id"})
"""Attributes of spans that no metric has."""

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""The conventions' boundaries for durations."""

AGES: Final = (1, 5, 15, 60, 300, 900, 3_600, 14_400, 86_400)
"""Boundaries for what may take hours: the alerts' 900 seconds are among them."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What a metric is.

    Attributes:
        kind: The instrument.
        unit: In UCUM's notation.
        description: What it counts or measures.
        attributes: The only ones that it has.
    """

    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    description: str
    attributes: tuple[str, ...]


METRICS: Final[dict[str, Metric]] = {}
"""Every metric, by its name."""

_meter = metrics.get_meter(SCOPE)
_tracer = trace.get_tracer(SCOPE)
_propagator = TraceContextTextMapPropagator()


def _counter(name: str, unit: str, description: str, *attributes: str) -> Counter:
    METRICS[name] = Metric("counter", unit, description, attributes)
    return _meter.create_counter(name, unit, description)


def _gauge(name: str, description: str) -> metrics._Gauge:
    METRICS[name] = Metric("gauge", "s", description, ())
    return _meter.create_gauge(name, "s", description)


def _histogram(
    name: str, description: str, *attributes: str, boundaries: Sequence[float] = SECONDS
) -> Histogram:
    METRICS[name] = Metric("histogram", "s", description, attributes)
    return _meter.create_histogram(
        name, "s", description, explicit_bucket_boundaries_advisory=boundaries
    )


REQUEST_DURATION: Final = _histogram(
    "http.server.request.duration",
    "How long requests took, until their response was sent.",
    *(METHOD, ROUTE, STATUS, SCHEME, ERROR_TYPE),
)
REFUSALS: Final = _counter(
    "strongroom.refusals",
    "{request}",
    "Requests that ended with a problem whose status is below 500, by its slug.",
    *(ERROR_TYPE, ROUTE),
)
PROCESS_DURATION: Final = _histogram(
    "messaging.process.duration",
    "How long events took to take effect, or to fail.",
    *(*MESSAGING, SUBSCRIPTION, EVENT_TYPE, ERROR_TYPE),
)
QUEUE_AGE: Final = _histogram(
    "strongroom.queue.age",
    "How old events were when a function took them, at each try.",
    *(SUBSCRIPTION, EVENT_TYPE),
    boundaries=AGES,
)
OUTBOX_AGE: Final = _gauge(
    "strongroom.outbox.age",
    "How old the oldest event or waiting entry was that the relay found; 0: it found none.",
)
DEAD_LETTERS: Final = _counter(
    "strongroom.dead_letters",
    "{message}",
    "Messages that were given up. Embedded: on Azure the bus counts them itself.",
    *(SUBSCRIPTION, ERROR_TYPE),
)
TIMER_DURATION: Final = _histogram(
    "faas.invoke_duration",
    "How long the runs of timers took.",
    *(TRIGGER, FUNCTION, ERROR_TYPE),
    boundaries=(*SECONDS, 30, 60, 300, 900, 1_800),
)
SEALED: Final = _counter("strongroom.sealed", "By", "Content that was sealed, before sealing.")
REPLICATION_LAG: Final = _histogram(
    "strongroom.replication.lag",
    "How long ago content was sealed when a try to copy it to the second region ended.",
    ERROR_TYPE,
    boundaries=AGES,
)
REPAIRS: Final = _counter(
    "strongroom.repairs",
    "{copy}",
    "Damaged copies that were repaired, or for which no good copy was left (lost).",
    *(PLACE, OUTCOME),
)
RECORDS_DAMAGED: Final = _counter(
    "strongroom.records.damaged",
    "{record}",
    "Records that could not be read, each time, by their kind.",
    RECORD,
)
EPOCH_KEYS: Final = _counter(
    "strongroom.epoch_keys",
    "{key}",
    "Epoch keys that were wrapped or unwrapped.",
    OPERATION,
)
KEY_VAULT_DURATION: Final = _histogram(
    "strongroom.key_vault.duration",
    "How long calls of the key vault took.",
    *(OPERATION, ERROR_TYPE),
)
BACKUP_AGE: Final = _gauge(
    "strongroom.backup.age",
    "For how long the oldest change has been in no backup set after a run of the timer; 0: all are.",
)
BACKUP_FAILURES: Final = _counter(
    "strongroom.backup.failures",
    "{failure}",
    "Backup sets, prunings and verifications that failed; each is tried again.",
)
FINDINGS: Final = _counter(
    "strongroom.findings",
    "{finding}",
    "What was found damaged or missing in the backups, by its kind.",
    FINDING,
)
TRASH_FAILURES: Final = _counter(
    "strongroom.trash.failures",
    "{document}",
    "Documents that could not be erased from the trash; each is tried again.",
)
CHECKPOINT_AGE: Final = _gauge(
    "strongroom.audit.checkpoint.age",
    "For how long the oldest audit entry has been under no checkpoint; 0: all are.",
)

SPAN_ATTRIBUTES: Final = SPAN_ONLY.union(*(metric.attributes for metric in METRICS.values()))
"""Every attribute that a span may have."""


def record_checkpoint_age(seconds: float) -> None:
    """Say for how long the oldest entry of any audit log has been under no checkpoint; 0: all are.

    For the timer that makes checkpoints, at the end of each run.
    """
    CHECKPOINT_AGE.set(max(0.0, seconds))


def error_type(error: BaseException) -> str:
    """What ``error.type`` says of an error: its slug, or the name of its class; never its message."""
    return error.slug if isinstance(error, StrongroomError) else type(error).__qualname__


def _is_off() -> bool:
    """Whether nobody has started the SDK, so that spans and metrics would be made for nothing."""
    return isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def context_of(traceparent: str | None) -> Context:
    """The context of a ``traceparent``; without one, or where it is malformed, that of a new trace."""
    if traceparent is None or _is_off():
        return Context()
    return _propagator.extract({"traceparent": traceparent}, Context())


def traceparent_of(span: Span) -> str | None:
    """The ``traceparent`` of a span; None: telemetry is off."""
    context = span.get_span_context()
    if context.is_remote or not context.is_valid:  # the API alone gives back the parent, or nothing
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def current_traceparent() -> str | None:
    """The ``traceparent`` of the work that is under way; None: telemetry is off, or nothing is."""
    return None if _is_off() else traceparent_of(trace.get_current_span())


def link_to(traceparent: str | None) -> None:
    """Link the current span to the trace on whose behalf it does a part of its work."""
    linked = trace.get_current_span(context_of(traceparent)).get_span_context()
    if linked.is_valid:
        trace.get_current_span().add_link(linked)


@contextmanager
def measured(duration: Histogram, attributes: Mapping[str, str | int]) -> Iterator[None]:
    """Record how long some work takes, with ``error.type`` where it raises.

    Args:
        duration: In seconds.
        attributes: Read when the work has ended, which may have added to them.
    """
    failed: dict[str, str] = {}
    began = time.perf_counter()
    try:
        yield
    except BaseException as error:
        failed = {ERROR_TYPE: error_type(error)}
        raise
    finally:
        duration.record(time.perf_counter() - began, {**attributes, **failed})


@contextmanager
def span(
    name: str, kind: SpanKind, attributes: Mapping[str, str | int], parent: Context
) -> Iterator[Span]:
    """A span around some work; what the work raises is in it as ``error.type`` alone.

    Args:
        name: Of a low cardinality, as the conventions ask.
        kind: Of the span.
        attributes: Those that are known from the start.
        parent: The context that it continues.
    """
    if _is_off():
        yield trace.INVALID_SPAN
        return
    with _tracer.start_as_current_span(
        name,
        parent,
        kind,
        dict(attributes),
        # Both would quote the message of the exception.
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except BaseException as error:
            current.set_attribute(ERROR_TYPE, error_type(error))
            current.set_status(Status(StatusCode.ERROR))
            raise


@contextmanager
def processing(
    subscription: str, event_type: str, event_id: str, traceparent: str | None, age: float
) -> Iterator[None]:
    """Measure how an event takes effect, in the trace of the request that caused it.

    Args:
        subscription: Where it was received.
        event_type: What happened.
        event_id: Of the event, which is the message's as well.
        traceparent: The event's.
        age: Seconds since it happened.
    """
    if _is_off():
        yield
        return
    about = {SUBSCRIPTION: subscription, EVENT_TYPE: event_type}
    QUEUE_AGE.record(max(0.0, age), about)
    common = {**MESSAGING, **about}
    # A function has the name of its subscription.
    in_span = dict.fromkeys(SPAN_ONLY, event_id) | {TRIGGER: "pubsub", FUNCTION: subscription}
    name = f"{common['messaging.operation.name']} {common['messaging.destination.name']}"
    with (
        measured(PROCESS_DURATION, common),
        span(name, SpanKind.CONSUMER, common | in_span, context_of(traceparent)),
    ):
        yield


@contextmanager
def timer_run(function: str) -> Iterator[None]:
    """Measure a run of a timer, in a trace of its own."""
    about = {TRIGGER: "timer", FUNCTION: function}
    with (
        measured(TIMER_DURATION, about),
        span(function, SpanKind.SERVER, about, Context()),
    ):
        yield
