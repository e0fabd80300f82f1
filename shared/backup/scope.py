"""What of the records belongs into a set.

Everything does but for what is named here, so that a new kind of records is in the backups unless someone
decides against it.
"""

from __future__ import annotations

from typing import Final

from shared.backup.state import LOCATION_KIND, STATE_KIND
from shared.base.models import JsonObject
from shared.documents.store import DOCUMENT_KIND, ERASURE_KIND, UPLOAD_KIND, VERSION_KIND
from shared.identity.lockout import ATTEMPTS_KIND
from shared.journal import idempotency, outbox
from shared.journal.waiting import ENTRY_KIND
from shared.ports.records import Record

LEFT_OUT: Final = frozenset(
    {
        # Work under way, which begins anew from the state that is restored.
        outbox.KIND,
        UPLOAD_KIND,
        ERASURE_KIND,
        STATE_KIND,
        # Found again in the store that has it from.
        "audit-checkpoint",
        # Had again from witnesses and the authority, who know better than a backup how far they are.
        "audit-witnessed",
        "audit-timestamp",
        # What the monitor knows of the log as it is, not as it was; it begins anew.
        "audit-monitor",
        "audit-seen",
        "audit-watch",
        # That every tenant is on the agenda of reviews: the agenda is in no set either.
        "review-timer",
        # Of use for hours at most.
        idempotency.KIND,
        idempotency.RESERVATION_KIND,
        ATTEMPTS_KIND,
    }
)
"""Kinds that are in no set."""

LEFT_OUT_PREFIXES: Final = ("agenda-", "backup-job-")
"""Kinds that begin so are in no set: timers find their work again from what is restored."""

OWN_ACTIONS: Final = "backup."
"""Audit entries about the making of sets; they alone are no reason to make another one."""

_SILENT: Final = frozenset(
    {LOCATION_KIND, "audit-head", "audit-log", "audit-span", "webhook-status"}
)
"""Kinds whose records follow from others, or say how far a timer is: from an older one it goes on."""

_ERASABLE: Final = ("wrapped_key", "names")


def is_kept(kind: str) -> bool:
    """Whether records of a kind belong into sets."""
    return kind not in LEFT_OUT and not kind.startswith(LEFT_OUT_PREFIXES)


def is_news(record: Record) -> bool:
    """Whether the change of a record is a reason to make a set."""
    if not is_kept(record.kind) or record.kind in _SILENT:
        return False
    if record.kind in {ENTRY_KIND, "audit-logged"}:
        entry = record.body.get("entry", record.body)
        return not str(entry["action"]).startswith(OWN_ACTIONS)
    return True


def without_erasable(record: Record) -> JsonObject:
    """The body of a record as a segment holds it: without what must be possible to forget."""
    match record.kind:
        case kind if kind == DOCUMENT_KIND and isinstance(record.body.get("current"), dict):
            return {**record.body, "current": _stripped(record.body["current"])}
        case kind if kind == VERSION_KIND:
            return _stripped(record.body)
        case kind if kind == ENTRY_KIND:
            # Its events are work under way.
            entry: JsonObject = record.body.get("entry", record.body)
            return entry
        case _:
            return record.body


def _stripped(version: JsonObject) -> JsonObject:
    return {name: value for name, value in version.items() if name not in _ERASABLE}
