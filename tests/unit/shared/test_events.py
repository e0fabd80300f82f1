"""Events: what is read back is what was written, and anything else is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.base.errors import InvalidInput
from shared.base.events import Event, EventType

EVENT = Event(
    id="evt_1",
    type=EventType.DOCUMENT_SEALED,
    environment="development",
    tenant="ten_a",
    subject="doc_1",
    time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    data={"version": 1},
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
        {"time": "yesterday"},
        {"time": 0},
        {"time": "2026-01-02T03:04:05"},
    ],
    ids=str,
)
def test_what_is_no_event_of_ours_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Event.from_json(json.dumps(json.loads(EVENT.to_json()) | changes).encode())
