"""The format of a target: names of objects and what the small ones hold.

``docs/formats.md``, "Independent copy (targets)", is the specification: readers without a
server rely on it.
"""

from __future__ import annotations

from typing import Final, Literal

from shared.base.models import Base64UrlBytes, Model, UtcDatetime
from shared.crypto.streaming import SEGMENT_SIZE

MANIFEST_NAME: Final = "strongroom.json"
FORMAT: Final = "strongroom-target/1"
KEY_TEMPLATE: Final = "AES256_GCM_HKDF_1MB"
"""Tink's own name for the form of the content."""

NO_TAG: Final = "0" * 16
"""Stands for the tag of versions that were sealed before versions had tags."""


class TargetManifest(Model):
    """``strongroom.json``: what a target is, in clear; no secret.

    Attributes:
        recipient: With a quorum: what key files are encrypted to.
        recipients: Without: the same; empty for a target without recovery keys.
        quorum: How many holders open the key files together; 0 for a target without recovery keys.
        holders: How many there are.
        segment_size: Of sealed content, bytes.
    """

    format: Literal["strongroom-target/1"] = FORMAT
    environment: str
    tenant: str
    recipient: str | None = None
    recipients: tuple[str, ...] | None = None
    quorum: int
    holders: int
    segment_size: int = SEGMENT_SIZE
    key_template: str = KEY_TEMPLATE

    def to_json(self) -> bytes:
        """As it is stored: without what is absent."""
        return self.model_dump_json(exclude_none=True, indent=2).encode()


class KeyFile(Model):
    """What the age file beside sealed content holds: all that opens and describes it.

    Attributes:
        tag: Of the version; ``NO_TAG`` for one without.
        size: Of the content, bytes.
        sha256: Of the content, hexadecimal.
        sealed_size: Of the object, bytes.
        sealed_sha256: Of the object, hexadecimal.
        created_at: When the version was sealed.
        object: The name of the sealed content.
        data_key: 32 bytes.
        associated_data: What the content is bound to.
    """

    document: str
    version: int
    tag: str
    name: str
    media_type: str
    metadata: dict[str, str]
    size: int
    sha256: str
    sealed_size: int
    sealed_sha256: str
    created_at: UtcDatetime
    object: str
    data_key: Base64UrlBytes
    associated_data: str


class HolderFile(Model):
    """What the age file of one holder holds: their share of the identity that opens key files.

    Attributes:
        index: Of the share.
        threshold: How many shares it takes.
        share: Of the text ``AGE-SECRET-KEY-1...``.
    """

    index: int
    threshold: int
    share: Base64UrlBytes


def content_name(document: str, number: int, tag: str) -> str:
    """The name of a version's sealed content."""
    return f"{content_prefix(document)}{number}.{tag}"


def key_name(document: str, number: int, tag: str) -> str:
    """The name of a version's key file."""
    return f"{key_prefix(document)}{number}.{tag}.age"


def content_prefix(document: str) -> str:
    """What the names of a document's content objects begin with."""
    return f"content/{document}/"


def key_prefix(document: str) -> str:
    """What the names of a document's key files begin with."""
    return f"keys/{document}/"


def holder_name(index: int) -> str:
    """The name of a holder's file."""
    return f"holders/{index}.age"
