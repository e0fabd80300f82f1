"""What responses say about documents."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from functions.api.response_headers import digest_header, etag_header
from shared.documents.reading import DocumentVersion
from shared.documents.trash import Deletion


class DocumentView(BaseModel):
    """A version of a document.

    `etag` is for `If-Match`; `replicated` says whether a verified copy lies in the second region; `held`
    whether a legal hold on the document forbids deleting it. `trashed_at` and `erased_at` say since when
    it has been in the trash and when it will be erased; they are null elsewhere.
    """

    id: str
    version: int
    name: str
    media_type: str
    metadata: dict[str, str]
    size: int
    repr_digest: str
    etag: str
    created_at: datetime
    created_by: str
    replicated: bool
    held: bool
    trashed_at: datetime | None
    erased_at: datetime | None

    @classmethod
    def of(cls, found: DocumentVersion) -> DocumentView:
        """Return the view of a version."""
        return cls(
            id=found.document.id,
            version=found.version.number,
            name=found.names.name,
            media_type=found.names.media_type,
            metadata=found.names.metadata,
            size=found.version.size,
            repr_digest=digest_header(found.names.sha256),
            etag=etag_header(found.etag),
            created_at=found.version.created_at,
            created_by=found.version.created_by,
            replicated=found.version.replica is not None,
            held=found.document.held,
            trashed_at=found.document.trashed_at,
            erased_at=found.document.erase_at,
        )


class DeletionView(BaseModel):
    """What deleting did.

    A document that was `trashed` can be recovered until `erased_at`; one that was `erased` cannot.
    """

    id: str
    outcome: Literal["trashed", "erased"]
    erased_at: datetime

    @classmethod
    def of(cls, deletion: Deletion) -> DeletionView:
        """Return the view of a deletion."""
        return cls(id=deletion.document, outcome=deletion.outcome, erased_at=deletion.erased_at)
