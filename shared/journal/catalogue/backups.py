"""The catalogue's part about backups, verifications, drills and restores."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from shared.journal.catalogue.description import CALLER, SYSTEM, Description
from shared.journal.entries import Action

_RESTORED: Final = dict.fromkeys(("documents", "restored", "versions", "records"), int)
_DRILLED: Final = (
    *("versions", "differences", "problems", "recovery_seconds", "recovery_point_seconds"),
)

BACKUPS: Final[Mapping[Action, Description]] = MappingProxyType(
    {
        Action.DOCUMENT_RESTORE: Description(
            "A document was restored from a backup set",
            by=(*CALLER, *SYSTEM),
            resource=("doc",),
            details={"set": str, "versions": int},
        ),
        Action.BACKUP_CREATE: Description(
            "A backup set was made; the hash is its manifest's",
            by=SYSTEM,
            resource=("set",),
            details={"sequence": int, "kind": str, "sha256": str, "versions": int},
        ),
        Action.BACKUP_LIST: Description("Backup sets were listed", details={"sets": int}),
        Action.BACKUP_READ: Description("A backup set was read", resource=("set",)),
        Action.BACKUP_REPORT: Description("The report on backups was read"),
        Action.BACKUP_VERIFY: Description(
            "A verification ended; `set` is empty where it was of everything",
            by=SYSTEM,
            resource=("ver",),
            details={"set": str}
            | dict.fromkeys(("objects", "bytes", "versions", "opened", "findings"), int),
        ),
        Action.BACKUP_VERIFICATION_CREATE: Description(
            "A verification was asked for", resource=("ver",), details={"set": str}
        ),
        Action.BACKUP_VERIFICATION_READ: Description(
            "A verification was read, or a request for it was repeated", resource=("ver",)
        ),
        Action.BACKUP_FINDING: Description(
            "A verification found an object that is not as it was written",
            by=SYSTEM,
            resource=("ver",),
            details={"kind": str, "object": str},
            outcomes=("failed",),
            reasons=("damaged",),
        ),
        Action.RESTORE_PLAN: Description(
            "A restore was planned",
            resource=("rst",),
            details={"set": str, "tenant": str, "versions": int},
        ),
        Action.RESTORE_READ: Description(
            "Restores were listed, or one was read, or a request was repeated that had started, paused"
            " or cancelled it",
            resource=("rst", ""),
        ),
        Action.RESTORE_START: Description("A restore was started, or continued", resource=("rst",)),
        Action.RESTORE_PAUSE: Description("A restore was paused", resource=("rst",)),
        Action.RESTORE_CANCEL: Description("A restore was cancelled", resource=("rst",)),
        Action.RESTORE_END: Description(
            "A restore ended: of a tenant or a document, or (without resource, in the operator's log) of"
            " the whole service",
            by=(*CALLER, *SYSTEM),
            resource=("rst", ""),
            details={"set": str, **_RESTORED, "tenants": int, "problems": int},
            optional=frozenset({"set", *_RESTORED, "tenants"}),
        ),
        Action.RESTORE_DRILL: Description(
            "A restore drill ended",
            by=SYSTEM,
            resource=("drl",),
            details={"set": str} | dict.fromkeys(_DRILLED, int),
            outcomes=("allowed", "failed"),
            reasons=("damaged",),
        ),
    }
)
