"""A set as a state: what a tenant had at one point in time, partition by partition."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pydantic import ValidationError

from shared.audit.index import LOGGED_KIND
from shared.backup.models import (
    Erasable,
    Manifest,
    PartIndex,
    SegmentLine,
    object_name,
    version_id,
)
from shared.backup.pages import KeyPages
from shared.backup.reading import SetReader
from shared.backup.state import LOCATION_KIND, Location
from shared.base.buffers import Buffer
from shared.base.errors import Damaged, NotFound
from shared.base.streams import hashing
from shared.documents.models import Document, Version
from shared.documents.store import DOCUMENT_KIND, VERSION_KIND
from shared.keys.models import IntermediateKey

LOG_PART: Final = "log-"
"""What the names of an audit log's parts begin with; they are read as a stream."""

_NO_OBJECT: Final = "restored"
"""In place of an object's name, until a restore has made the object."""


@dataclass(frozen=True, slots=True)
class BackedUpVersion:
    """A version as a set has it.

    Attributes:
        version: It; its object's name is that of the time of the set.
        location: Where its sealed content is.
    """

    version: Version
    location: Location


@dataclass(frozen=True, slots=True)
class BackedUpDocument:
    """A document as a set has it.

    Attributes:
        document: It; ``current`` is the newest version whose content is in the set.
        versions: Those whose content is in the set and whose keys were not forgotten, oldest first.
        forgotten: The numbers of versions whose keys were: the document was erased after the set.
    """

    document: Document
    versions: Sequence[BackedUpVersion]
    forgotten: Sequence[int]


@dataclass(slots=True)
class PartState:
    """What one partition held, but for the entries of an audit log.

    Attributes:
        part: Of the tenant's records.
        lines: The records, by kind and id.
    """

    part: str
    lines: dict[tuple[str, str], SegmentLine] = field(default_factory=dict)

    def documents(self) -> list[str]:
        """The ids of its documents, erased ones included, in their order."""
        return sorted(name for kind, name in self.lines if kind == DOCUMENT_KIND)

    def others(self) -> list[SegmentLine]:
        """The records that are no documents, no versions and no locations, in the order of their names."""
        apart = {DOCUMENT_KIND, VERSION_KIND, LOCATION_KIND}
        return [line for key, line in sorted(self.lines.items()) if key[0] not in apart]


@dataclass(slots=True)
class Snapshots:
    """Opens sets.

    Attributes:
        reader: Reads sets.
        pages: Have what segments leave out.
    """

    reader: SetReader
    pages: KeyPages

    async def open(self, tenant: str, name: str) -> Snapshot:
        """One set of a tenant, by its id.

        Raises:
            NotFound: There is no such set.
            Damaged: Its manifest is not what was signed.
            Unavailable: The backup store or the key vault does not respond.
        """
        return Snapshot(self.reader, self.pages, await self.reader.manifests.read(tenant, name))


@dataclass(slots=True)
class Snapshot:
    """One set, opened.

    Attributes:
        reader: Reads sets.
        pages: Have what segments leave out.
        manifest: Of the set.
    """

    reader: SetReader
    pages: KeyPages
    manifest: Manifest
    _keys: dict[str, IntermediateKey] = field(init=False, default_factory=dict, repr=False)
    _held: dict[str, Mapping[str, Erasable]] = field(init=False, default_factory=dict, repr=False)

    async def index(self, part: str) -> PartIndex:
        """What the set has of a partition.

        Raises:
            NotFound: It has nothing of it, or the object is missing.
            Damaged: It is not what was written.
        """
        ref = self.manifest.part(part)
        if ref is None:
            raise NotFound("The set has no such partition.")
        return await self.reader.index(self.manifest.tenant, ref)

    async def part(self, part: str) -> PartState:
        """The records of a partition as they were; without the entries of an audit log.

        Raises:
            NotFound: The set has nothing of it, or an object is missing.
            Damaged: An object is not what was written.
            Unavailable: A store or the key vault does not respond.
        """
        state = PartState(part)
        async for lines in self._lines(part):
            state.lines |= {
                (each.kind, each.id): each for each in lines if each.kind != LOGGED_KIND
            }
        return state

    async def logged(self, part: str) -> AsyncIterator[Sequence[SegmentLine]]:
        """The entries of a part of an audit log, many at a time, some of them perhaps twice.

        Raises:
            NotFound: As for ``part``, and so are the others.
            Damaged: See ``part``.
            Unavailable: See ``part``.
        """
        async for lines in self._lines(part):
            yield [each for each in lines if each.kind == LOGGED_KIND]

    async def document(self, state: PartState, document: str) -> BackedUpDocument:
        """A document of a partition, with its keys.

        Raises:
            NotFound: The partition has no such document.
            Damaged: A record or a key page is not what was written.
            Unavailable: The store of key pages does not respond.
        """
        line = state.lines.get((DOCUMENT_KIND, document))
        if line is None:
            raise NotFound("The set has no such document.")
        try:
            return await self._document(state, document, line)
        except (AttributeError, KeyError, TypeError, ValidationError):
            # The record was damaged before it was backed up.
            raise Damaged("A document in a backup is not what was written.") from None

    async def _document(
        self, state: PartState, document: str, line: SegmentLine
    ) -> BackedUpDocument:
        bodies = [] if line.body["current"] is None else [line.body["current"]]
        count = bodies[0]["number"] if bodies else 0
        for number in range(count - 1, 0, -1):
            earlier = state.lines.get((VERSION_KIND, version_id(document, number)))
            if earlier is not None:
                bodies.insert(0, earlier.body)
        versions: list[BackedUpVersion] = []
        forgotten: list[int] = []
        for body in bodies:
            name = version_id(document, body["number"])
            found = state.lines.get((LOCATION_KIND, name))
            if found is None:
                continue  # committed while the set was made: it is in the next one
            location = Location.model_validate(found.body)
            erasable = (await self._page(location.page)).get(name)
            if erasable is None:
                forgotten.append(body["number"])
                continue
            # Python values, not JSON's: bytes stay bytes.
            whole = {**body, "wrapped_key": erasable.wrapped_key, "names": erasable.names}
            versions.append(BackedUpVersion(Version.model_validate(whole), location))
        current = versions[-1].version if versions else None
        kept = Document.model_validate({**line.body, "current": current})
        return BackedUpDocument(kept, versions, forgotten)

    async def sealed(self, backed_up: BackedUpVersion) -> AsyncIterator[Buffer]:
        """The sealed content of a version; it ends without an error only if it is what was sealed.

        Raises:
            NotFound: The pack is missing.
            Damaged: The content is not what was sealed.
            Unavailable: The backup store does not respond.
        """
        location = backed_up.location
        check = backed_up.version.sealed_digest.check()
        name = object_name(self.manifest.tenant, "packs", location.pack)
        end = location.offset + location.size
        content = self.reader.store.get(name, start=location.offset, end=end)
        async for piece in hashing(content, check.update):
            yield piece
        if not check.passed:
            raise Damaged("A content in the backup is not what was sealed.")

    async def _lines(self, part: str) -> AsyncIterator[Sequence[SegmentLine]]:
        if not self._keys:
            self._keys = await self.reader.keys(self.manifest)
        async for lines in self.reader.lines(self.manifest, await self.index(part), self._keys):
            yield lines

    async def _page(self, page: str) -> Mapping[str, Erasable]:
        if page not in self._held:
            if len(self._held) >= PAGES_HELD:
                self._held.clear()
            self._held[page] = await self.pages.read(self.manifest.tenant, page)
        return self._held[page]


PAGES_HELD: Final = 16
"""Key pages that a snapshot keeps in memory."""
