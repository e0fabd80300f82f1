"""Audit entries: the facts that the audit log keeps."""

from __future__ import annotations

from enum import StrEnum
from operator import not_
from typing import Final, Literal

from pydantic import Field

from shared.base.models import Base64UrlBytes, Model, UtcDatetime

MAX_ENTRY_BYTES: Final = 65_535
"""Of an entry in its canonical form, sealed fields included: C2SP tlog-tiles counts them in 16 bits."""

MAX_DETAILS_BYTES: Final = 16_384
"""Of an entry's details in canonical form; its other fields are ids, slugs and bounded texts."""

MAX_USER_AGENT: Final = 256
"""Characters; a client may send any."""

Outcome = Literal["allowed", "refused", "failed"]

Details = dict[str, str | int | list[str]]


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
    AUDIT_EXPORT = "audit.export"
    AUDIT_DIFFERENCE = "audit.difference"
    AUDIT_ALERT = "audit.alert"
    AUDIT_REBUILD = "audit.rebuild"
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
    WEBHOOK_CREATE = "webhook.create"
    WEBHOOK_READ = "webhook.read"
    WEBHOOK_LIST = "webhook.list"
    WEBHOOK_CHANGE = "webhook.change"
    WEBHOOK_ROTATE = "webhook.rotate"
    WEBHOOK_PROBE = "webhook.probe"
    WEBHOOK_REPLAY = "webhook.replay"
    WEBHOOK_DELETE = "webhook.delete"
    WEBHOOK_FAIL = "webhook.fail"
    GRANT_REQUEST = "grant.request"
    GRANT_BREAK_GLASS = "grant.break-glass"
    GRANT_APPROVE = "grant.approve"
    GRANT_CONSENT = "grant.consent"
    GRANT_DECLINE = "grant.decline"
    GRANT_NARROW = "grant.narrow"
    GRANT_RETURN = "grant.return"
    GRANT_REVOKE = "grant.revoke"
    GRANT_CASE_CLOSE = "grant.case-close"
    GRANT_EXPIRE = "grant.expire"
    GRANT_USE = "grant.use"
    GRANT_READ = "grant.read"
    GRANT_LIST = "grant.list"
    GRANT_REPORT = "grant.report"
    GRANT_REVIEW = "grant.review"
    REVIEW_OPEN = "review.open"
    REVIEW_DECIDE = "review.decide"
    REVIEW_SUSPEND = "review.suspend"
    REVIEW_LAPSE = "review.lapse"
    REVIEW_FINISH = "review.finish"
    REVIEW_READ = "review.read"
    REVIEW_LIST = "review.list"
    REVIEW_REPORT = "review.report"
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


class SealedFacts(Model):
    """The personal data of an entry as the log holds it.

    Attributes:
        epoch: The id of the epoch whose key seals it.
        data: A JSON object with the fields of the entry that are empty for it: sealed metadata.
    """

    epoch: str
    data: Base64UrlBytes


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
        address: The network address that it came from; in the log it is sealed.
        user_agent: What the client said it was: any text, cut after ``MAX_USER_AGENT`` characters; in the
            log it is sealed.
        request: The id of the request, which its response carried; empty where no request did it.
        trace: The trace id of the request.
        grant: The id of the staff grant under which it was done; empty: none was needed.
        source: Of a copy: whose log has the same entry, a tenant's id or ``operator``; empty: this is it.
        details: Facts that are not secret, such as sizes, versions and roles; never a name.
        sealed: In the log: address and user agent; None where there is neither.
    """

    id: str
    time: UtcDatetime
    tenant: str
    actor: Actor
    action: Action
    resource: str = ""
    outcome: Outcome = "allowed"
    reason: str = ""
    address: str = ""
    # Entries of releases before 0.2 do not have these, and must keep their bytes: empty is left out.
    user_agent: str = Field("", exclude_if=not_)
    request: str = Field("", exclude_if=not_)
    grant: str = Field("", exclude_if=not_)
    source: str = Field("", exclude_if=not_)
    trace: str = ""
    details: Details = Field(default_factory=dict)
    sealed: SealedFacts | None = Field(None, exclude_if=not_)
