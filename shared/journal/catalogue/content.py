"""The catalogue's part about uploads and documents."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from shared.journal.catalogue.description import ANONYMOUS, CALLER, SYSTEM, Description
from shared.journal.entries import Action

_SIZED: Final = {"version": int, "size": int}
_COPY: Final = {"version": int, "copy": str, "size": int}

CONTENT: Final[Mapping[Action, Description]] = MappingProxyType(
    {
        Action.UPLOAD_CREATE: Description(
            "A staged upload was granted, of so many bytes",
            resource=("upl",),
            details={"size": int},
        ),
        Action.UPLOAD_RECEIVE: Description(
            "Content came, or was refused, at the URL of a grant; embedded profile alone. The grant"
            " says whose upload it is, and not who sends",
            by=ANONYMOUS,
            resource=("upl", ""),
            details={"size": int},
            outcomes=("allowed", "refused", "failed"),
        ),
        Action.UPLOAD_COMPLETE: Description("A staged upload was completed", resource=("upl",)),
        Action.UPLOAD_READ: Description(
            "The state of an upload was read, or a request was repeated that had begun, completed or"
            " cancelled it",
            resource=("upl",),
        ),
        Action.UPLOAD_CANCEL: Description("A staged upload was cancelled", resource=("upl",)),
        Action.UPLOAD_FAIL: Description(
            "The content of a completed upload could not be sealed",
            by=("user",),
            resource=("upl",),
            outcomes=("failed",),
            reasons=("damaged", "digest-mismatch", "not-found", "too-large"),
        ),
        Action.UPLOAD_EXPIRE: Description(
            "A grant expired before its upload was completed", by=SYSTEM, resource=("upl",)
        ),
        Action.DOCUMENT_CREATE: Description(
            "A document was created, by a direct upload or from a staged one",
            by=("user",),
            resource=("doc",),
            details=_SIZED,
        ),
        Action.DOCUMENT_UPDATE: Description(
            "A document got a new version", by=CALLER, resource=("doc",), details=_SIZED
        ),
        Action.DOCUMENT_LIST: Description(
            "Documents were listed, so many", by=CALLER, details={"documents": int}
        ),
        Action.DOCUMENT_READ: Description(
            "A description was read (with its version), or all versions were listed, or a request was"
            " repeated that had created or recovered the document",
            by=CALLER,
            resource=("doc",),
            details=_SIZED,
            optional=frozenset(_SIZED),
        ),
        Action.DOCUMENT_OPEN: Description(
            "Content was opened, before its first byte was sent: from byte `start` to before byte"
            " `end`. What of it arrived is not known",
            by=CALLER,
            resource=("doc",),
            details={"version": int, "start": int, "end": int},
        ),
        Action.DOCUMENT_DELETE: Description(
            "A document was erased: the keys of its versions were destroyed",
            by=(*CALLER, *SYSTEM),
            resource=("doc",),
            details={"versions": int},
        ),
        Action.DOCUMENT_TRASH: Description(
            "A document was moved to the trash",
            by=CALLER,
            resource=("doc",),
            details={"versions": int, "erase_at": str},
        ),
        Action.DOCUMENT_RECOVER: Description(
            "A document was taken out of the trash", by=("user",), resource=("doc",)
        ),
        Action.DOCUMENT_HOLD: Description(
            "A legal hold was put on a document", by=("user",), resource=("doc",)
        ),
        Action.DOCUMENT_RELEASE: Description(
            "The legal hold on a document was ended", by=("user",), resource=("doc",)
        ),
        Action.DOCUMENT_REPLICATE: Description(
            "A version was copied to the second region and read back",
            by=SYSTEM,
            resource=("doc",),
            details=_COPY,
        ),
        Action.DOCUMENT_DAMAGE: Description(
            "A copy was found damaged or missing, by a reader or a verification",
            by=SYSTEM,
            resource=("doc",),
            details={"version": int, "copy": str},
            outcomes=("failed",),
            reasons=("damaged", "not-found"),
        ),
        Action.DOCUMENT_REPAIR: Description(
            "A copy was made anew from good ones", by=SYSTEM, resource=("doc",), details=_COPY
        ),
        Action.DOCUMENT_LOST: Description(
            "No copies are left from which a version can be repaired",
            by=SYSTEM,
            resource=("doc",),
            details={"version": int},
            outcomes=("failed",),
            reasons=("damaged",),
        ),
        Action.DOCUMENT_ERASE: Description(
            "Objects that no record names any more were deleted",
            by=SYSTEM,
            resource=("doc",),
            details={"objects": int, "replicas": int},
        ),
        Action.FORMER_REPAIR: Description(
            "What is `document.repair` now",
            by=SYSTEM,
            resource=("doc",),
            details=_COPY,
            former=True,
        ),
    }
)
