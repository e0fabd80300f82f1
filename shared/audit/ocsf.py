"""Audit entries as events of the Open Cybersecurity Schema Framework, version 1.3.0.

Spec: https://schema.ocsf.io/1.3.0. ``MAPPING`` says which class and activity each action is. Files, users
and entities are named by their ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from shared.audit.sequence import ReadEntry
from shared.base.models import JsonObject
from shared.journal.entries import Action, Actor, Entry

VERSION: Final = "1.3.0"

_PRODUCT: Final = {"name": "Strongroom", "vendor_name": "Strongroom"}


class EventClass(IntEnum):
    """Classes of events, by their ``class_uid``; the thousands are the category."""

    ACCOUNT_CHANGE = 3001
    AUTHENTICATION = 3002
    ENTITY_MANAGEMENT = 3004
    API_ACTIVITY = 6003
    FILE_HOSTING_ACTIVITY = 6006


OTHER: Final = 99
"""The activity, in every class, that none of its numbers is for; ``activity_name`` then says which."""


@dataclass(frozen=True, slots=True)
class EventType:
    """What kind of event an action is.

    Attributes:
        event_class: The class.
        activity: The ``activity_id`` within the class.
    """

    event_class: EventClass
    activity: int


def _account(activity: int) -> EventType:
    return EventType(EventClass.ACCOUNT_CHANGE, activity)


def _entity(activity: int) -> EventType:
    return EventType(EventClass.ENTITY_MANAGEMENT, activity)


def _api(activity: int) -> EventType:
    return EventType(EventClass.API_ACTIVITY, activity)


def _file(activity: int) -> EventType:
    return EventType(EventClass.FILE_HOSTING_ACTIVITY, activity)


# The activities of Entity Management and of API Activity, under the same numbers.
_CREATE, _READ, _UPDATE, _DELETE = 1, 2, 3, 4

MAPPING: Final[Mapping[Action, EventType]] = {
    Action.SIGN_IN: EventType(EventClass.AUTHENTICATION, 1),  # Logon
    Action.SIGN_OUT: EventType(EventClass.AUTHENTICATION, 2),  # Logoff
    Action.PASSWORD_CHANGE: _account(3),  # Password Change
    Action.ACCOUNT_READ: _entity(_READ),
    Action.TENANT_CREATE: _entity(_CREATE),
    Action.TENANT_READ: _entity(_READ),
    Action.TENANT_LIST: _api(_READ),
    Action.USER_CREATE: _account(1),  # Create
    Action.USER_READ: _entity(_READ),
    Action.USER_LIST: _api(_READ),
    Action.USER_CHANGE: _account(OTHER),
    Action.USER_TEMPORARY_PASSWORD: _account(4),  # Password Reset
    Action.UPLOAD_CREATE: _api(_CREATE),
    Action.UPLOAD_RECEIVE: _api(_UPDATE),
    Action.UPLOAD_COMPLETE: _api(_UPDATE),
    Action.UPLOAD_READ: _api(_READ),
    Action.UPLOAD_CANCEL: _api(_DELETE),
    Action.UPLOAD_FAIL: _api(OTHER),
    Action.UPLOAD_EXPIRE: _api(_DELETE),
    Action.DOCUMENT_CREATE: _file(1),  # Upload
    Action.DOCUMENT_UPDATE: _file(3),  # Update
    Action.DOCUMENT_LIST: _api(_READ),
    Action.DOCUMENT_READ: _file(9),  # Preview: the description, without the content
    Action.DOCUMENT_OPEN: _file(2),  # Download
    Action.DOCUMENT_DELETE: _file(4),  # Delete
    Action.DOCUMENT_TRASH: _file(7),  # Move: into the trash
    Action.DOCUMENT_RECOVER: _file(8),  # Restore
    Action.DOCUMENT_HOLD: _file(10),  # Lock
    Action.DOCUMENT_RELEASE: _file(11),  # Unlock
    Action.DOCUMENT_REPLICATE: _file(6),  # Copy
    Action.DOCUMENT_DAMAGE: _file(OTHER),
    Action.DOCUMENT_REPAIR: _file(OTHER),
    Action.DOCUMENT_LOST: _file(OTHER),
    Action.DOCUMENT_ERASE: _file(4),  # Delete: its objects, after its keys
    Action.POLICY_READ: _api(_READ),
    Action.POLICY_CHANGE: _api(_UPDATE),
    Action.KEY_CREATE: _entity(_CREATE),
    Action.KEY_ROTATE: _entity(_UPDATE),
    Action.AUDIT_READ: _api(_READ),
    Action.AUDIT_EXPORT: _api(_READ),
    Action.AUDIT_DIFFERENCE: _api(OTHER),
    Action.AUDIT_ALERT: _api(OTHER),
    Action.AUDIT_REBUILD: _api(_UPDATE),
    Action.BACKUP_CREATE: _entity(_CREATE),
    Action.BACKUP_LIST: _api(_READ),
    Action.BACKUP_READ: _entity(_READ),
    Action.BACKUP_REPORT: _api(_READ),
    Action.BACKUP_VERIFY: _entity(_READ),
    Action.BACKUP_VERIFICATION_CREATE: _entity(_CREATE),
    Action.BACKUP_VERIFICATION_READ: _entity(_READ),
    Action.BACKUP_FINDING: _entity(OTHER),
    Action.DOCUMENT_RESTORE: _file(8),  # Restore
    Action.RESTORE_PLAN: _entity(_CREATE),
    Action.RESTORE_READ: _entity(_READ),
    Action.RESTORE_START: _entity(_UPDATE),
    Action.RESTORE_PAUSE: _entity(_UPDATE),
    Action.RESTORE_CANCEL: _entity(_UPDATE),
    Action.RESTORE_END: _entity(_UPDATE),
    Action.RESTORE_DRILL: _entity(OTHER),
    Action.TARGET_CREATE: _entity(_CREATE),
    Action.TARGET_READ: _entity(_READ),
    Action.TARGET_LIST: _api(_READ),
    Action.TARGET_CHANGE: _entity(_UPDATE),
    Action.TARGET_PROBE: _entity(OTHER),
    Action.TARGET_DELETE: _entity(_DELETE),
    Action.TARGET_COPY: _file(6),  # Copy
    Action.TARGET_ERASE: _file(4),  # Delete
    Action.TARGET_FAIL: _entity(OTHER),
    Action.WEBHOOK_CREATE: _entity(_CREATE),
    Action.WEBHOOK_READ: _entity(_READ),
    Action.WEBHOOK_LIST: _api(_READ),
    Action.WEBHOOK_CHANGE: _entity(_UPDATE),
    Action.WEBHOOK_ROTATE: _entity(_UPDATE),
    Action.WEBHOOK_PROBE: _entity(OTHER),
    Action.WEBHOOK_REPLAY: _entity(_UPDATE),
    Action.WEBHOOK_DELETE: _entity(_DELETE),
    Action.WEBHOOK_FAIL: _entity(OTHER),
    Action.GRANT_REVIEW: _entity(_UPDATE),
    Action.REVIEW_OPEN: _entity(_CREATE),
    Action.REVIEW_DECIDE: _entity(_UPDATE),
    Action.REVIEW_SUSPEND: _entity(_UPDATE),
    Action.REVIEW_LAPSE: _entity(_UPDATE),
    Action.REVIEW_FINISH: _entity(_UPDATE),
    Action.REVIEW_READ: _entity(_READ),
    Action.REVIEW_LIST: _api(_READ),
    Action.REVIEW_REPORT: _api(_READ),
    Action.EVENTS_READ: _api(_READ),
    Action.EVENTS_REPLAY: _api(OTHER),
    Action.GRANT_REQUEST: _entity(_CREATE),
    Action.GRANT_BREAK_GLASS: _entity(_CREATE),
    Action.GRANT_APPROVE: _entity(_UPDATE),
    Action.GRANT_CONSENT: _entity(_UPDATE),
    Action.GRANT_DECLINE: _entity(_UPDATE),
    Action.GRANT_NARROW: _entity(_UPDATE),
    Action.GRANT_RETURN: _entity(_UPDATE),
    Action.GRANT_REVOKE: _entity(_UPDATE),
    Action.GRANT_CASE_CLOSE: _entity(_UPDATE),
    Action.GRANT_EXPIRE: _entity(_UPDATE),
    Action.GRANT_USE: _entity(OTHER),
    Action.GRANT_READ: _entity(_READ),
    Action.GRANT_LIST: _api(_READ),
    Action.GRANT_REPORT: _api(_READ),
    Action.KEY_REWRAP: _entity(_UPDATE),
    Action.KEY_DELETE: _entity(_DELETE),
    Action.REQUEST: _api(OTHER),
    Action.REQUESTS_REFUSED: _api(OTHER),
    Action.FORMER_REPAIR: _file(OTHER),
}
"""The class and the activity of every action."""

_SEVERITIES: Final = {"allowed": 1, "refused": 2, "failed": 3}
"""Informational, low, medium."""

_USER_TYPES: Final = {"user": 1, "employee": 2, "system": 3, "anonymous": 0}
"""``type_id`` of a user: User, Admin, System, Unknown."""

_REGULAR_FILE: Final = 1


def ocsf_event(read: ReadEntry) -> JsonObject:
    """An entry as an event; ``raw_data`` holds the leaf, which the proofs are about."""
    entry = read.entry
    kind = MAPPING[entry.action]
    event: JsonObject = {
        "activity_id": kind.activity,
        "activity_name": entry.action.value,
        "category_uid": kind.event_class // 1_000,
        "class_uid": kind.event_class.value,
        "type_uid": kind.event_class * 100 + kind.activity,
        "severity_id": _SEVERITIES[entry.outcome],
        "status_id": 1 if entry.outcome == "allowed" else 2,
        "time": int(entry.time.timestamp()) * 1_000 + entry.time.microsecond // 1_000,
        "metadata": _metadata(read, kind),
        "actor": {"user": _user(entry.actor)},
        "src_endpoint": _source(entry),
        "unmapped": _unmapped(entry, kind),
        "raw_data": read.leaf.decode(),
    }
    if entry.reason:
        event["status_detail"] = entry.reason
    if entry.user_agent and kind.event_class is not EventClass.FILE_HOSTING_ACTIVITY:
        event["http_request"] = {"user_agent": entry.user_agent}
    return event | _subject(entry, kind)


def _metadata(read: ReadEntry, kind: EventType) -> JsonObject:
    metadata: JsonObject = {
        "version": VERSION,
        "product": _PRODUCT,
        "sequence": read.position,
        "uid": read.entry.id,
        "tenant_uid": read.entry.tenant,
    }
    if read.entry.request:
        metadata["correlation_uid"] = read.entry.request
    if kind.event_class is EventClass.ENTITY_MANAGEMENT:
        metadata["profiles"] = ["host"]  # which gives this class its actor
    return metadata


def _user(actor: Actor) -> JsonObject:
    user: JsonObject = {"type_id": _USER_TYPES[actor.kind]}
    return user | ({"uid": actor.id} if actor.id else {"name": actor.kind})


def _source(entry: Entry) -> JsonObject:
    if entry.address:
        return {"ip": entry.address}
    # Without an address, it is unknown or sealed for good, unless nobody but the service did it.
    return {"svc_name": "strongroom"} if entry.actor.kind == "system" else {"name": "unknown"}


def _subject(entry: Entry, kind: EventType) -> JsonObject:
    """What it was done to, as the class has it."""
    named = entry.resource or entry.action.value.partition(".")[0]
    match kind.event_class:
        case EventClass.AUTHENTICATION:
            return {"user": _user(entry.actor), "service": {"name": _PRODUCT["name"]}}
        case EventClass.ACCOUNT_CHANGE:
            return {"user": {"uid": named, "type_id": _USER_TYPES["user"]}}
        case EventClass.ENTITY_MANAGEMENT:
            return {"entity": {"uid": named, "type": entry.action.value.partition(".")[0]}}
        case EventClass.FILE_HOSTING_ACTIVITY:
            return {"file": {"uid": named, "name": named, "type_id": _REGULAR_FILE}}
        case EventClass.API_ACTIVITY:
            api = {"operation": entry.action.value, "service": {"name": _PRODUCT["name"]}}
            return {"api": api} | ({"resources": [{"uid": named}]} if entry.resource else {})


def _unmapped(entry: Entry, kind: EventType) -> JsonObject:
    """What the class has no place for."""
    unmapped: JsonObject = dict(entry.details)
    if entry.grant:
        unmapped["grant"] = entry.grant
    if entry.source:
        unmapped["source"] = entry.source
    if entry.trace:
        unmapped["trace"] = entry.trace
    if entry.user_agent and kind.event_class is EventClass.FILE_HOSTING_ACTIVITY:
        unmapped["user_agent"] = entry.user_agent
    return unmapped
