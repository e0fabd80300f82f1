"""Documents, versions and uploads, as they are kept."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from shared.base.models import Base64UrlBytes, Model, UtcDatetime
from shared.crypto.sealed_digests import SealedDigest
from shared.documents.media_types import MAX_LENGTH, QUOTED, TOKEN
from shared.ports.blobs import is_blob_name


def _no_folder(name: str) -> str:
    if name in {".", ".."}:
        raise ValueError("a name must not mean a folder")
    return name


Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f-\x9f/\\]+$"),
    AfterValidator(_no_folder),
]
"""A file name as it is kept: no path, no control characters. What is taken, ``texts`` says."""

MediaType = Annotated[
    str,
    StringConstraints(
        max_length=MAX_LENGTH, pattern=rf"^{TOKEN}/{TOKEN}(; ?{TOKEN}=({TOKEN}|{QUOTED}))*$"
    ),
]
"""As in ``Content-Type``, where it goes again: ASCII."""

Label = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[\w.-]+$")]
LabelValue = Annotated[str, StringConstraints(max_length=512)]
Labels = Annotated[dict[Label, LabelValue], Field(max_length=32)]
"""Custom metadata as it is kept: short texts by name."""


Place = Literal["primary", "replica"]
"""Where a copy of a sealed content lies: each place has one at most."""


class Description(Model):
    """What a client says about a content on its way in.

    Attributes:
        name: The file name.
        media_type: As in ``Content-Type``.
        metadata: The client's own.
    """

    name: Name
    media_type: MediaType = "application/octet-stream"
    metadata: Labels = Field(default_factory=dict)


class SealedNames(Description):
    """What is sealed under the epoch key in the record: the description and the content's hash.

    Attributes:
        sha256: Of the plaintext content.
    """

    sha256: Base64UrlBytes

    def description(self) -> Description:
        """What the client said."""
        return Description(**self.model_dump(include=set(Description.model_fields)))


def _object_name(name: str) -> str:
    if not is_blob_name(name):
        raise ValueError("no object has such a name")
    return name


ObjectName = Annotated[str, AfterValidator(_object_name)]
"""A record that names anything else was changed by somebody, and is damaged."""


def _is_absent(digest: object) -> bool:
    return digest is None


class Version(Model):
    """One immutable content of a document, as sealed.

    Attributes:
        number: 1 for the first.
        tag: 8 random bytes in hexadecimal, made with the content: its entity tag's last part. Empty as
            written by releases before 0.2.
        object: Its name in the primary store.
        replica: Its name in the second region; None until replication has verified one there.
        epoch: The epoch whose key wraps the data key and seals the names.
        wrapped_key: The data key under the epoch key (RFC 3394).
        names: ``SealedNames``, sealed.
        size: Of the content, bytes.
        sealed_blake3: BLAKE3 of the sealed content.
        sealed_sha256: In its place, SHA-256, as written by earlier releases. The one that is absent is
            not written at all: those releases refuse a record with a member that they do not know.
        created_at: When it was sealed.
        created_by: The user.
    """

    number: int
    tag: str = ""
    object: ObjectName
    replica: ObjectName | None = None
    epoch: str
    wrapped_key: Base64UrlBytes
    names: Base64UrlBytes
    size: int
    sealed_blake3: Base64UrlBytes | None = Field(default=None, exclude_if=_is_absent)
    sealed_sha256: Base64UrlBytes | None = Field(default=None, exclude_if=_is_absent)
    created_at: UtcDatetime
    created_by: str

    @model_validator(mode="after")
    def _has_one_digest(self) -> Version:
        if (self.sealed_blake3 is None) == (self.sealed_sha256 is None):
            raise ValueError("a version has one digest of its sealed content")
        return self

    @property
    def sealed_digest(self) -> SealedDigest:
        """What every copy of the sealed content must have."""
        if self.sealed_blake3 is not None:
            return SealedDigest("blake3", self.sealed_blake3)
        return SealedDigest("sha256", self.sealed_sha256 or b"")

    def at(self, place: Place) -> str | None:
        """The name of the object there."""
        return self.object if place == "primary" else self.replica


class Document(Model):
    """A named thing that a tenant stores. Earlier versions have records of their own.

    Attributes:
        id: Never changes, never used again.
        created_at: When it was first uploaded.
        current: The latest version; None once the document is erased.
        trashed_at: When it was moved to the trash; None: it is not there.
        erase_at: From when on the timer erases it from the trash; fixed when it was moved there.
        held: Whether a legal hold on the document forbids deleting and erasing it.
    """

    id: str
    created_at: UtcDatetime
    current: Version | None
    trashed_at: UtcDatetime | None = None
    erase_at: UtcDatetime | None = None
    held: bool = False


UPLOAD_KEPT: Final = timedelta(days=7)
"""How long a client can ask what became of an upload that has ended, from the end of its grant."""


class Upload(Model):
    """A staged upload.

    Attributes:
        id: Its own.
        document: The id of the document that it becomes.
        state: Where it is: *granted* until the client says complete, *completed* until it is sealed.
        object: Its name in the staging store.
        epoch: The epoch whose key seals ``description``.
        description: A ``Description`` and the expected digest, sealed; empty once the upload has ended.
        created_by: The user.
        created_at: When it was granted.
        expires_at: When the grant ends.
        failure: The slug of the error that ended it.
    """

    id: str
    document: str
    state: Literal["granted", "completed", "sealed", "failed"]
    object: ObjectName
    epoch: str
    description: Base64UrlBytes
    created_by: str
    created_at: UtcDatetime
    expires_at: UtcDatetime
    failure: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will become of it."""
        return self.state in {"sealed", "failed"}

    def end(self, state: Literal["sealed", "failed"], failure: str = "") -> Upload:
        """The upload as the client can ask for it, without what it described: that is the document's."""
        return self.model_copy(update={"state": state, "failure": failure, "description": b""})

    @property
    def forgotten_at(self) -> datetime | None:
        """When its record may go: a week after it has ended, so that the client can ask."""
        return self.expires_at + UPLOAD_KEPT if self.ended else None
