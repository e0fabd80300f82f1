"""The event table: what the topology delivers is handled, by one handler, and nothing else is."""

from __future__ import annotations

from unittest.mock import AsyncMock, Mock

import pytest

from shared.audit.log import AuditLog
from shared.base.errors import InvalidEvent, Unavailable
from shared.base.events import (
    DATA,
    AlertData,
    DifferenceData,
    Event,
    EventData,
    EventType,
    NoData,
    ReleasedData,
    VersionData,
)
from shared.base.partitions import Partition
from shared.base.topology import load_topology
from shared.documents.staged import StagedContentSealer
from shared.handlers import AUDIT, ENCRYPTION, REPLICATION, TARGETS, Handlers, event_handlers
from shared.journal.outbox import Outbox
from shared.replication.service import Replication
from shared.targets.queue import TargetQueue
from tests.support.clock import FakeClock

pytestmark = pytest.mark.anyio

EXPECTED = {
    (ENCRYPTION, EventType.UPLOAD_COMPLETED): ["sealer.seal"],
    (REPLICATION, EventType.DOCUMENT_SEALED): ["replication.replicate", "targets.copy"],
    (REPLICATION, EventType.DOCUMENT_DAMAGED): ["replication.repair"],
    (REPLICATION, EventType.DOCUMENT_REPAIRED): ["replication.erase"],
    (REPLICATION, EventType.DOCUMENT_DELETED): ["replication.erase", "targets.erase"],
    (TARGETS, EventType.DOCUMENT_SEALED): ["targets.copy"],
    (TARGETS, EventType.DOCUMENT_DELETED): ["targets.erase"],
} | {(AUDIT, event_type): ["audit_log.append_pending"] for event_type in EventType}

FORMER_TYPES = {
    AUDIT: frozenset(EventType),
    TARGETS: frozenset({EventType.DOCUMENT_SEALED, EventType.DOCUMENT_DELETED}),
}


class Recorder:
    """Services whose every method notes what it was called with."""

    def __init__(self) -> None:
        self.parent = AsyncMock()
        for name, service in (
            ("sealer", StagedContentSealer),
            ("replication", Replication),
            ("targets", TargetQueue),
            ("audit_log", AuditLog),
        ):
            self.parent.attach_mock(AsyncMock(spec=service), name)
        self.outbox = Mock(spec=Outbox)
        self.handlers: Handlers = event_handlers(
            self.parent.sealer,
            self.parent.replication,
            self.parent.targets,
            self.parent.audit_log,
            self.outbox,
            FakeClock(),
        )

    @property
    def calls(self) -> list[tuple[str, object]]:
        return [(name, *arguments) for name, arguments, _ in self.parent.mock_calls]


def event(event_type: EventType) -> Event:
    data: dict[type[EventData], EventData] = {
        NoData: NoData(),
        VersionData: VersionData(version=1),
        ReleasedData: ReleasedData(),
        DifferenceData: DifferenceData(
            kind="tile", difference="changed", object="tile/0/000", position=7, count=1
        ),
        AlertData: AlertData(rule="refusals", severity="warning", count=50, seconds=600, user=""),
    }
    return Event(
        id="evt_1",
        type=event_type,
        environment="test",
        partition=Partition("ten_1", "2026-11"),
        subject="doc_1",
        time=FakeClock().now(),
        data=data[DATA[event_type]],
    )


def test_the_table_is_the_topology() -> None:
    table = Recorder().handlers.table
    assert {
        name: frozenset(handlers) for name, handlers in table.items() if name not in FORMER_TYPES
    } == {
        each.name: each.types
        for each in load_topology().subscriptions
        if each.name not in FORMER_TYPES
    }


@pytest.mark.parametrize("subscription", FORMER_TYPES)
def test_a_function_takes_what_earlier_releases_sent_it(subscription: str) -> None:
    [deployed] = [each for each in load_topology().subscriptions if each.name == subscription]
    taken = frozenset(Recorder().handlers.table[subscription])
    assert deployed.types < taken == FORMER_TYPES[subscription]


@pytest.mark.parametrize(("subscription", "event_type"), EXPECTED)
async def test_each_event_goes_to_its_handler(subscription: str, event_type: EventType) -> None:
    recorder = Recorder()
    sent = event(event_type)
    await recorder.handlers.handle(subscription, sent.to_json())
    argument = sent.partition if subscription == AUDIT else sent
    assert recorder.calls == [(name, argument) for name in EXPECTED[subscription, event_type]]
    recorder.outbox.record_published.assert_called_once_with(sent.id)


@pytest.mark.parametrize(
    ("subscription", "message"),
    [
        (AUDIT, b""),
        (AUDIT, b"{}"),
        (ENCRYPTION, event(EventType.DOCUMENT_SEALED).to_json()),
        (REPLICATION, event(EventType.UPLOAD_COMPLETED).to_json()),
    ],
)
async def test_what_a_subscription_does_not_take_is_not_an_event(
    subscription: str, message: bytes
) -> None:
    recorder = Recorder()
    with pytest.raises(InvalidEvent):
        await recorder.handlers.handle(subscription, message)
    assert recorder.calls == []


async def test_the_error_of_a_handler_comes_out() -> None:
    recorder = Recorder()
    recorder.parent.sealer.seal.side_effect = ValueError("a defect")
    with pytest.raises(ValueError, match="a defect"):
        await recorder.handlers.handle(ENCRYPTION, event(EventType.UPLOAD_COMPLETED).to_json())


@pytest.mark.parametrize(
    ("event_type", "names"),
    [(found, names) for (_, found), names in EXPECTED.items() if len(names) == 2],
)
@pytest.mark.parametrize("failing", [0, 1])
async def test_what_an_event_has_two_services_do_is_tried_by_both_and_again(
    event_type: EventType, names: list[str], failing: int
) -> None:
    recorder = Recorder()
    service, _, method = names[failing].partition(".")
    getattr(getattr(recorder.parent, service), method).side_effect = Unavailable("Later.")
    sent = event(event_type)
    with pytest.raises(Unavailable):
        await recorder.handlers.handle(REPLICATION, sent.to_json())
    assert recorder.calls == [(name, sent) for name in names]
