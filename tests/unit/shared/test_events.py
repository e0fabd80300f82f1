"""Events: what is read back is what was written, and anything else is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.base.errors import InvalidEvent
from shared.base.events import DATA, Event, EventType, NoData, ReleasedData, VersionData
from shared.base.partitions import Partition

EVENT = Event(
    id="evt_1",
    type=EventType.DOCUMENT_SEALED,
    environment="development",
    partition=Partition("ten_a", "2026-11"),
    subject="doc_01kg20qb80a56t7pggg6wb3mef",
    time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    data=VersionData(version=1),
    traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01",
)


def test_an_event_is_read_as_it_was_written() -> None:
    assert Event.from_json(EVENT.to_json()) == EVENT


@pytest.mark.parametrize(
    "changes",
    [
        {"specversion": "0.3"},
        {"source": "/elsewhere/development"},
        {"source": "/strongroom/"},
        {"type": "unheard.of"},
        {"id": ""},
        {"tenant": 7},
        {"subject": None},
        {"data": []},
        {"data": {}},
        {"data": {"version": 1, "name": "a"}},
        {"partition": ""},
        {"partition": "a/b"},
        {"time": "yesterday"},
        {"time": 0},
        {"time": "2026-01-02T03:04:05"},
    ],
    ids=str,
)
def test_what_is_no_event_of_ours_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent):
        Event.from_json(json.dumps(json.loads(EVENT.to_json()) | changes).encode())


def test_every_type_has_its_data() -> None:
    assert set(DATA) == set(EventType)


def test_data_of_another_type_is_refused() -> None:
    assert EVENT.data_as(VersionData).version == 1
    for model in (NoData, ReleasedData):
        with pytest.raises(InvalidEvent):
            EVENT.data_as(model)


def test_a_message_of_an_earlier_release_is_read() -> None:
    body = json.loads(EVENT.to_json())
    del body["partition"]
    assert Event.from_json(json.dumps(body).encode()).partition == Partition("ten_a", "2026-01")
    body |= {"type": "document.healed", "data": {"objects": ["a"], "replicas": []}}
    event = Event.from_json(json.dumps(body).encode())
    assert event.type is EventType.DOCUMENT_REPAIRED
    assert event.data_as(ReleasedData).objects == ("a",)
