"""Entries on their way into a log: each waits in the partition of what it is about, with its events.

An event is durable with the entry of the change that causes it, in the same record. It is published right
after the commit; whoever moves the entry into the log makes sure of that first. So neither a record of its
own nor the removal of one is needed for an event.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import model_validator

from shared.base.errors import Damaged
from shared.base.events import Event
from shared.base.models import JsonObject, Model
from shared.base.partitions import Partition
from shared.journal.collections import Collection
from shared.journal.entries import Entry
from shared.ports.records import Create, Record, RecordStore

ENTRY_KIND: Final = "audit"


class WaitingEntry(Model):
    """An entry that waits.

    Attributes:
        entry: As it was committed.
        events: That the same change caused, as CloudEvents JSON.
    """

    entry: Entry
    events: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _without_events(cls, body: Any) -> Any:
        """An entry without events is a record by itself."""
        return body if not isinstance(body, dict) or "entry" in body else {"entry": body}


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a record says, without a model: an entry is the bytes that were committed.

    Attributes:
        entry: The entry.
        events: Its events, as CloudEvents JSON.
    """

    entry: JsonObject
    events: Sequence[str]


def create_waiting(partition: Partition, entry: Entry, events: Sequence[Event] = ()) -> Create:
    """The change that lets an entry wait, with its events."""
    body = entry.model_dump(mode="json")
    if events:
        body = {"entry": body, "events": [event.to_json().decode() for event in events]}
    return Create(Record(partition, ENTRY_KIND, entry.id, body))


def read_waiting(record: Record) -> Waiting:
    """What a record of an entry that waits says.

    Raises:
        Damaged: It is not one.
    """
    nested = "entry" in record.body
    entry = record.body["entry"] if nested else record.body
    events = record.body.get("events", []) if nested else []
    is_entry = isinstance(entry, dict) and entry.get("id") == record.id
    if not is_entry or not isinstance(events, list) or not all(isinstance(e, str) for e in events):
        raise Damaged("An audit entry that waits to be appended is damaged.")
    return Waiting(entry, events)


def entries_waiting(records: RecordStore) -> Collection[WaitingEntry]:
    """The entries of a partition that the audit function has yet to append to the tenant's log."""
    return Collection(records, WaitingEntry, ENTRY_KIND, lambda waiting: waiting.entry.id)
