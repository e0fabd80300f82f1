"""What is pushed: batches of audit entries, and events of documents, which follow from entries.

Events of documents come from the log and not from the bus: the log has every change in an order that stays,
so that nothing is passed over and anything can be sent again (decision 36).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.audit.sequence import ReadEntry
from shared.base.models import JsonObject
from shared.journal.entries import Action
from shared.webhooks.models import Kind

PROBE_TYPE: Final = "webhook.probe"
AUDIT_TYPE: Final = "audit.entries"

DOCUMENT_TYPES: Final[Mapping[Action, str]] = {
    Action.DOCUMENT_CREATE: "document.created",
    Action.DOCUMENT_UPDATE: "document.updated",
    Action.DOCUMENT_TRASH: "document.trashed",
    Action.DOCUMENT_RECOVER: "document.recovered",
    Action.DOCUMENT_DELETE: "document.deleted",
    Action.DOCUMENT_HOLD: "document.held",
    Action.DOCUMENT_RELEASE: "document.released",
    Action.DOCUMENT_RESTORE: "document.restored",
    Action.DOCUMENT_REPLICATE: "document.replicated",
    Action.DOCUMENT_DAMAGE: "document.damaged",
    Action.DOCUMENT_REPAIR: "document.repaired",
    Action.DOCUMENT_LOST: "document.lost",
    Action.DOCUMENT_ERASE: "document.erased",
}
"""The types of events by the actions that they follow from. Damage is an entry that says *failed*; others
say so of what did not happen."""

_FAILURES: Final = frozenset({Action.DOCUMENT_DAMAGE, Action.DOCUMENT_LOST})


@dataclass(frozen=True, slots=True)
class Message:
    """One message to a collector.

    Attributes:
        id: The same each time that it is sent.
        payload: JSON.
    """

    id: str
    payload: bytes


def messages_of(kinds: Sequence[Kind], entries: Sequence[ReadEntry]) -> list[Message]:
    """The messages of a batch: of equal batches the same, in the same order.

    Args:
        kinds: What is wanted.
        entries: One or more that follow each other in a log.
    """
    messages = []
    if "audit" in kinds:
        first, last = entries[0], entries[-1]
        data: JsonObject = {
            "start": first.position,
            "end": last.position + 1,
            "entries": [
                {"position": each.position, "entry": each.entry.model_dump(mode="json")}
                for each in entries
            ],
        }
        # An entry's id occurs once, and the batch begins with it.
        batch = f"msg_{_ulid(first)}_{len(entries)}"
        messages.append(message(batch, AUDIT_TYPE, last.entry.time, data))
    if "documents" in kinds:
        messages += [found for each in entries if (found := _document_message(each))]
    return messages


def message(id: str, type: str, time: datetime, data: JsonObject) -> Message:
    """A message.

    Args:
        id: See ``Message``.
        type: What it is about.
        time: When that happened.
        data: What happened.
    """
    body = {"type": type, "timestamp": time.isoformat(), "data": data}
    return Message(id, json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode())


def _document_message(read: ReadEntry) -> Message | None:
    entry = read.entry
    happened = (entry.outcome == "allowed") != (entry.action in _FAILURES)
    if not happened or entry.action not in DOCUMENT_TYPES or not entry.resource:
        return None
    data: JsonObject = {"document": entry.resource, "position": read.position, "entry": entry.id}
    if isinstance(entry.details.get("version"), int):
        data["version"] = entry.details["version"]
    return message(f"msg_{_ulid(read)}", DOCUMENT_TYPES[entry.action], entry.time, data)


def _ulid(read: ReadEntry) -> str:
    return read.entry.id.partition("_")[2]
