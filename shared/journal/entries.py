"""Audit entries: the facts that the audit log keeps."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Literal

from pydantic import Field

from shared.base.models import JsonObject, Model, UtcDatetime


class Action(StrEnum):
    """What was done, or tried."""

    SIGN_IN = "account.sign-in"
    SIGN_OUT = "account.sign-out"
    PASSWORD_CHANGE = "account.password-change"
    ACCOUNT_READ = "account.read"
    TENANT_CREATE = "tenant.create"
    TENANT_READ = "tenant.read"
    TENANT_LIST = "tenant.list"
    USER_CREATE = "user.create"
    USER_READ = "user.read"
    USER_LIST = "user.list"
    USER_CHANGE = "user.change"
    USER_TEMPORARY_PASSWORD = "user.temporary-password"
    UPLOAD_CREATE = "upload.create"
    UPLOAD_RECEIVE = "upload.receive"
    UPLOAD_COMPLETE = "upload.complete"
    UPLOAD_READ = "upload.read"
    UPLOAD_CANCEL = "upload.cancel"
    UPLOAD_FAIL = "upload.fail"
    UPLOAD_EXPIRE = "upload.expire"
    DOCUMENT_CREATE = "document.create"
    DOCUMENT_UPDATE = "document.update"
    DOCUMENT_LIST = "document.list"
    DOCUMENT_READ = "document.read"
    DOCUMENT_OPEN = "document.open"
    DOCUMENT_DELETE = "document.delete"
    DOCUMENT_TRASH = "document.trash"
    DOCUMENT_RECOVER = "document.recover"
    DOCUMENT_HOLD = "document.hold"
    DOCUMENT_RELEASE = "document.release"
    DOCUMENT_REPLICATE = "document.replicate"
    DOCUMENT_DAMAGE = "document.damage"
    DOCUMENT_REPAIR = "document.repair"
    DOCUMENT_LOST = "document.lost"
    DOCUMENT_ERASE = "document.erase"
    POLICY_READ = "policy.read"
    POLICY_CHANGE = "policy.change"
    KEY_CREATE = "key.create"
    KEY_ROTATE = "key.rotate"
    AUDIT_READ = "audit.read"
    BACKUP_CREATE = "backup.create"
    BACKUP_LIST = "backup.list"
    BACKUP_READ = "backup.read"
    BACKUP_REPORT = "backup.report"
    BACKUP_VERIFY = "backup.verify"
    BACKUP_VERIFICATION_CREATE = "backup.verification-create"
    BACKUP_VERIFICATION_READ = "backup.verification-read"
    BACKUP_FINDING = "backup.finding"
    DOCUMENT_RESTORE = "document.restore"
    RESTORE_PLAN = "restore.plan"
    RESTORE_READ = "restore.read"
    RESTORE_START = "restore.start"
    RESTORE_PAUSE = "restore.pause"
    RESTORE_CANCEL = "restore.cancel"
    RESTORE_END = "restore.end"
    RESTORE_DRILL = "restore.drill"
    TARGET_CREATE = "target.create"
    TARGET_READ = "target.read"
    TARGET_LIST = "target.list"
    TARGET_CHANGE = "target.change"
    TARGET_PROBE = "target.probe"
    TARGET_DELETE = "target.delete"
    TARGET_COPY = "target.copy"
    TARGET_ERASE = "target.erase"
    TARGET_FAIL = "target.fail"
    EVENTS_READ = "events.read"
    EVENTS_REPLAY = "events.replay"
    KEY_REWRAP = "key.rewrap"
    KEY_DELETE = "key.delete"
    REQUEST = "request"
    REQUESTS_REFUSED = "requests.refused"
    FORMER_REPAIR = "document.heal"  # in logs of releases before 0.2


class Actor(Model):
    """Who did it: a user, an employee, the system itself, or somebody who was not recognised."""

    kind: Literal["user", "employee", "system", "anonymous"]
    id: str = ""


SYSTEM = Actor(kind="system")
ANONYMOUS = Actor(kind="anonymous")


class Entry(Model):
    """One fact.

    Attributes:
        id: Sorts by time.
        time: When.
        tenant: Whose log it is in.
        actor: Who.
        action: What.
        resource: The id of what it was done to; empty where there is no single thing.
        outcome: Whether it was allowed.
        reason: For a refusal or a failure, the error's slug.
        address: The network address that it came from.
        trace: The trace id of the request.
        details: Facts that are not secret, such as sizes, versions and roles; never a name.
    """

    id: str
    time: UtcDatetime
    tenant: str
    actor: Actor
    action: Action
    resource: str = ""
    outcome: Literal["allowed", "refused", "failed"] = "allowed"
    reason: str = ""
    address: str = ""
    trace: str = ""
    details: dict[str, str | int | list[str]] = Field(default_factory=dict)


def canonical(fields: JsonObject) -> bytes:
    """The bytes of an entry that the log's tree hashes: JSON, sorted keys, no spaces, UTF-8.

    Args:
        fields: The entry as JSON, which is how records hold it.
    """
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
