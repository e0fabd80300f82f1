"""Sets and their parts, as they are written to the backup store.

``docs/formats.md``, section "Backups", has the whole format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from shared.base.models import Base64UrlBytes, JsonObject, Model, UtcDatetime
from shared.ports.records import Record

FORMAT: Final = "strongroom-backup/1"

SetKind = Literal["recent", "hourly", "daily", "monthly", "yearly"]
"""What a set counts as for retention: the first of its year, month, day or hour, or none of these."""


class SealedUnder(Model):
    """An intermediate key as the key vault wrapped it, so that a set opens without the records.

    Attributes:
        id: Of the intermediate key.
        name: Of the tenant's key in the key vault.
        version: Of that key.
        wrapped_key: The intermediate key.
    """

    id: str
    name: str
    version: str
    wrapped_key: Base64UrlBytes


class SegmentRef(Model):
    """A segment: records that were changed after a position.

    Attributes:
        id: Names the object.
        under: The id of the intermediate key that wraps ``wrapped_key``.
        wrapped_key: The key of the segment (RFC 3394).
        after: The position in the store's feed after which its changes come; None: all of the partition.
        records: How many.
        size: Of the object, bytes.
        sha256: Of the object.
    """

    id: str
    under: str
    wrapped_key: Base64UrlBytes
    after: str | None
    records: int
    size: int
    sha256: Base64UrlBytes


class PackRef(Model):
    """A pack: the sealed content of versions, one after another.

    Attributes:
        id: Names the object.
        size: Of the object, bytes.
        live: How many of its versions belong to documents that are not erased.
    """

    id: str
    size: int
    live: int


class MissingContent(Model):
    """A version whose sealed content was good in no store when it was to be backed up."""

    document: str
    number: int


class Counts(Model):
    """What a partition, or a set, holds.

    Attributes:
        versions: Whose content is in the set.
        content_bytes: The size of these, sealed.
    """

    versions: int = 0
    content_bytes: int = 0

    def __add__(self, other: Counts) -> Counts:
        """The counts of both together."""
        return Counts(
            versions=self.versions + other.versions,
            content_bytes=self.content_bytes + other.content_bytes,
        )


class PartIndex(Model):
    """Everything that a set needs of one partition.

    Attributes:
        part: Of the tenant's records.
        position: Where the record store's feed goes on.
        segments: From the oldest to the newest; a later one replaces what an earlier one says.
        packs: The content of the partition's documents.
        missing: What could not be backed up yet.
        changed: How many records had changed since the set before.
        counts: What it holds.
    """

    part: str
    position: str | None = None
    segments: tuple[SegmentRef, ...] = ()
    packs: tuple[PackRef, ...] = ()
    missing: tuple[MissingContent, ...] = ()
    changed: int = 0
    counts: Counts = Counts()


class PartRef(Model):
    """A partition in a manifest.

    Attributes:
        part: Of the tenant's records.
        index: Names the object with its ``PartIndex``.
        sha256: Of that object.
        retained_until: Until when that object and all that it names are retained at least.
        under: The ids of the intermediate keys that its segments are sealed under.
        counts: The index's.
    """

    part: str
    index: str
    sha256: Base64UrlBytes
    retained_until: UtcDatetime
    under: tuple[str, ...]
    counts: Counts


class PrecedingSet(Model):
    """The set before, in the chain of a tenant's sets.

    Attributes:
        id: Of the set.
        sha256: Of its manifest, signature included.
    """

    id: str
    sha256: Base64UrlBytes


class Manifest(Model):
    """What a set is made of.

    Attributes:
        format: ``FORMAT``.
        environment: Whose.
        tenant: Whose.
        id: Of the set.
        sequence: 1 for the tenant's first set.
        made_at: The point in time: when the reading of changes began.
        kind: What it counts as.
        retain_until: Until when it is retained.
        previous: The set before; None: the first.
        keys: The intermediate keys under which its segments are sealed.
        parts: The partitions.
        new_bytes: What was written for this set, bytes.
    """

    format: Literal["strongroom-backup/1"] = FORMAT
    environment: str
    tenant: str
    id: str
    sequence: int
    made_at: UtcDatetime
    kind: SetKind
    retain_until: UtcDatetime
    previous: PrecedingSet | None
    keys: tuple[SealedUnder, ...]
    parts: tuple[PartRef, ...]
    new_bytes: int

    def part(self, name: str) -> PartRef | None:
        """What the set has of a partition; None: nothing."""
        return next((part for part in self.parts if part.part == name), None)

    @property
    def counts(self) -> Counts:
        """What the set holds."""
        total = Counts()
        for part in self.parts:
            total += part.counts
        return total


class Erasable(Model):
    """What a key page keeps of a version, because it must be possible to forget it.

    Attributes:
        wrapped_key: The data key under the epoch key.
        names: The names, sealed.
    """

    wrapped_key: Base64UrlBytes
    names: Base64UrlBytes


class KeyPage(Model):
    """What can be forgotten of the versions in one pack, by ``version_id``."""

    versions: dict[str, Erasable]


@dataclass(frozen=True, slots=True)
class SegmentLine:
    """One record in a segment; no model, because a restore reads very many.

    Attributes:
        kind: Of the record.
        id: Of the record.
        body: JSON; of a version, without what its key page keeps.
        index: Its index fields.
        expires_at: When the store may forget it.
    """

    kind: str
    id: str
    body: JsonObject
    index: Mapping[str, str]
    expires_at: datetime | None

    @classmethod
    def of(cls, record: Record, body: JsonObject) -> SegmentLine:
        """A record, with what of its body a segment may hold."""
        return cls(record.kind, record.id, body, record.index, record.expires_at)

    @classmethod
    def from_json(cls, text: bytes) -> SegmentLine:
        """The line that ``to_json`` wrote.

        Raises:
            ValueError: It is no such line.
        """
        match from_json(text, cache_strings="keys"):
            case {"kind": str(kind), "id": str(id), "body": dict(body), **rest}:
                index, expires_at = rest.get("index", {}), rest.get("expires_at")
                if isinstance(index, dict):
                    at = None if expires_at is None else _moments.validate_python(expires_at)
                    return cls(kind, id, body, index, at)
        raise ValueError("a line of a segment is a record")

    def to_json(self) -> bytes:
        """The record as one line."""
        line: JsonObject = {"kind": self.kind, "id": self.id, "body": self.body}
        if self.index:
            line["index"] = self.index
        if self.expires_at is not None:
            line["expires_at"] = self.expires_at
        return to_json(line)


_moments: Final = TypeAdapter[datetime](UtcDatetime)


def version_id(document: str, number: int) -> str:
    """Names a version of a document, in records and key pages."""
    return f"{document}.{number:06d}"


def object_name(tenant: str, folder: str, id: str) -> str:
    """The name of an object of a tenant's backups.

    Args:
        tenant: The tenant.
        folder: ``sets``, ``parts``, ``segments`` or ``packs``.
        id: Of the object.
    """
    return f"{tenant}/{folder}/{id}"
