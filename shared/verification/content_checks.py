"""Checks of content: what each version has in the backup, in the primary and in the replica store.

What looks wrong is looked at again with the records as they are by then, because documents are changed,
erased, repaired and packed again while they are checked.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection as Container
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shared.backup.contents import ContentBackup
from shared.backup.hashing import check_packed
from shared.backup.models import Erasable, Manifest, PartIndex, version_id
from shared.backup.page_repair import erasable
from shared.backup.plaintext import ContentReader
from shared.backup.snapshot import BackedUpVersion, Snapshot
from shared.backup.state import Location
from shared.base.concurrency import at_once
from shared.base.errors import Damaged, NotFound
from shared.base.partitions import Partition
from shared.base.streams import hashing
from shared.crypto.streaming import sealed_size
from shared.documents.models import Place, Version
from shared.documents.store import DocumentRecords, StoredVersion
from shared.ports.blobs import BlobStore
from shared.ports.clock import Runtime
from shared.replication.service import is_whole
from shared.verification.findings import BadCopy, Checked
from shared.verification.newest import NewestSets
from shared.verification.scanning import LocationScan

READ_AT_ONCE: Final = 8
"""Copies that are read at the same time."""

REPLICATED_WITHIN: Final = timedelta(days=1)
"""A version that has no replica for so long is a finding."""

PLACES: Final[tuple[Place, ...]] = ("primary", "replica")

PAGES_HELD: Final = 32
"""Key pages that are kept in memory."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What of each version is checked.

    Attributes:
        partition: Of the documents.
        packs: Only versions in these packs, and only in the backup; None: all versions, everywhere.
        manifest: Of the set that is verified; None: it cannot be read, so nothing is opened.
        opened: The ids of the versions that are opened with their keys.
        scan: Where the backup has the versions.
        pages: Key pages that were read, by their names.
    """

    partition: Partition
    packs: Container[str] | None
    manifest: Manifest | None
    opened: Container[str]
    scan: LocationScan
    pages: dict[str, Mapping[str, Erasable]]


@dataclass(slots=True)
class ContentChecks:
    """Checks the content of versions.

    Attributes:
        store: Finds documents and versions.
        contents: Where the backup has them, and the stores that have copies.
        newest: What the newest set has.
        plaintext: Opens the sample.
        runtime: Time.
    """

    store: DocumentRecords
    contents: ContentBackup
    newest: NewestSets
    plaintext: ContentReader
    runtime: Runtime

    async def check(
        self, scope: Scope, versions: Sequence[StoredVersion], checked: Checked
    ) -> None:
        """Check versions of documents of one partition.

        Raises:
            Unavailable: A store or the key vault does not respond.
        """
        by_id = {id_of(each): each for each in versions}
        located = await self._located(scope, by_id, checked)
        good = await self._check_packed(scope, by_id, located, checked)
        for name, location in located.items():
            has_key = await self._check_key(scope, by_id[name], location, checked)
            if has_key and name in good and name in scope.opened:
                await self._check_opening(scope, by_id[name], location, checked)
        if scope.packs is None:
            await self._check_copies(versions, checked)

    async def _located(
        self, scope: Scope, by_id: Mapping[str, StoredVersion], checked: Checked
    ) -> dict[str, Location]:
        """Where the backup has the versions; those that it should have and does not are findings."""
        found = await scope.scan.find(list(by_id))
        if scope.packs is not None:
            return {name: each for name, each in found.items() if each.pack in scope.packs}
        tenant, part = scope.partition.tenant, scope.partition.part
        index = await self.newest.index(tenant, part)
        if index is None or part in (await self.newest.state(tenant)).anew:
            return found  # the next set has everything of the partition
        packs = {pack.id for pack in index.packs}
        lost = [name for name in by_id if name not in found or found[name].pack not in packs]
        if lost:
            await self._check_lost(scope, by_id, lost, index, checked)
        return found

    async def _check_lost(
        self,
        scope: Scope,
        by_id: Mapping[str, StoredVersion],
        lost: Sequence[str],
        index: PartIndex,
        checked: Checked,
    ) -> None:
        """Note which versions the newest set lacks, though they did not change since."""
        changed = await self.newest.changed(scope.partition, index)
        known = {version_id(each.document, each.number) for each in index.missing}
        packs = {pack.id for pack in index.packs}
        for name in lost:
            each = by_id[name]
            if each.of.document.id in changed or await self._again(each) is None:
                continue
            try:
                now = await self.contents.find(scope.partition, [name])
            except Damaged:
                checked.add("record", name, "The record of where the backup has it cannot be read.")
                continue
            if now and now[0].pack in packs:
                continue  # it was located since
            if name in known:
                checked.add("missing", name, "No copy was good when it was to be backed up.")
            else:
                checked.add("missing", name, "No set has its content; the next one will.")
                checked.anew.add(scope.partition.part)

    async def _check_packed(
        self,
        scope: Scope,
        by_id: Mapping[str, StoredVersion],
        located: Mapping[str, Location],
        checked: Checked,
    ) -> set[str]:
        """Check that the packs hold what was sealed; the ids of the versions for which they do."""
        tenant, store = scope.partition.tenant, self.contents.packs.store
        sealed = {name: by_id[name].version.sealed_digest for name in located}
        sound = await check_packed(store, tenant, located.values(), sealed)
        good: set[str] = set()
        for name, location in located.items():
            checked.objects += 1
            checked.bytes += location.size
            if sound.get(name, False):
                good.add(name)
                continue
            again = await self._again(by_id[name])
            now = await self.contents.find(scope.partition, [name])
            if again is None or again.version.sealed_digest != sealed[name] or now != [location]:
                continue
            await self._note_packed(again, location, name in sound, checked)
        return good

    async def _note_packed(
        self, found: StoredVersion, location: Location, read: bool, checked: Checked
    ) -> None:
        what = "is not what was sealed" if read else "is missing"
        if any([await self._is_good(found.version, place) for place in PLACES]):
            detail = f"Its content in pack {location.pack} {what}; it is packed again."
            checked.unusable.append(location)
        else:
            detail = f"Its content in pack {location.pack} {what}, and no other copy is good."
        checked.add("content", id_of(found), detail)

    async def _check_key(
        self,
        scope: Scope,
        found: StoredVersion,
        location: Location,
        checked: Checked,
    ) -> bool:
        """Whether the key page has what the record has; if it lacks it, that is a finding."""
        wanted = erasable(found.version)
        if await self._entry(scope, location) == wanted:
            return True
        scope.pages.pop(location.page)
        if await self._entry(scope, location) == wanted:
            return True
        again = await self._again(found)
        now = await self.contents.find(scope.partition, [location.id])
        if again is not None and erasable(again.version) == wanted and now == [location]:
            checked.add("key-page", location.id, "The page lacks its keys; it is made anew.")
            checked.pages.add(location.page)
        return False

    async def _check_opening(
        self, scope: Scope, found: StoredVersion, location: Location, checked: Checked
    ) -> None:
        """Check that the keys of a version open its content."""
        if scope.manifest is None:
            return
        snapshot = Snapshot(self.newest.reader, self.contents.pages, scope.manifest)
        checked.bytes += location.size
        if not await self._opens(snapshot, found, location) and await self._again(found):
            checked.add("opening", location.id, "Its keys do not open its content in the backup.")

    async def _opens(self, snapshot: Snapshot, found: StoredVersion, location: Location) -> bool:
        """Whether a version's keys open all of what the backup has, and that is what was uploaded."""
        document = found.of.document.id
        digest = hashlib.sha256()
        try:
            names = await self.plaintext.names(found.of.tenant, document, found.version)
            backed_up = BackedUpVersion(found.version, location)
            opened = self.plaintext.plaintext(snapshot, document, backed_up)
            async for _ in hashing(opened, digest.update):
                pass
        except (Damaged, NotFound):
            return False
        return hmac.compare_digest(digest.digest(), names.sha256)

    async def _entry(self, scope: Scope, location: Location) -> Erasable | None:
        """What the key page of a location has of the version."""
        pages, name = scope.pages, location.page
        if name not in pages:
            if len(pages) >= PAGES_HELD:
                del pages[next(iter(pages))]
            try:
                pages[name] = await self.contents.pages.read(scope.partition.tenant, name)
            except Damaged:
                pages[name] = {}
        return pages[name].get(location.id)

    async def _check_copies(self, versions: Sequence[StoredVersion], checked: Checked) -> None:
        """Check that the primary and the replica store have what was sealed."""

        async def check(copy: tuple[StoredVersion, Place]) -> bool:
            found, place = copy
            return await self._is_good(found.version, place)

        copies = [(found, place) for found in versions for place in PLACES]
        for (found, place), good in zip(
            copies, await at_once(check, copies, READ_AT_ONCE), strict=True
        ):
            checked.objects += 1
            if found.version.at(place) is not None:
                checked.bytes += sealed_size(found.version.size)
            if not good:
                await self._note_copy(found, place, checked)

    async def _note_copy(self, found: StoredVersion, place: Place, checked: Checked) -> None:
        again = await self._again(found)
        if again is None:
            return
        version = again.version
        made = version.at(place) is not None
        if not made and version.created_at > self.runtime.now() - REPLICATED_WITHIN:
            return  # it is about to be made
        if version.at(place) != found.version.at(place) and await self._is_good(version, place):
            return  # it was repaired
        detail = "The copy is not what was sealed." if made else "There is no copy."
        checked.add(place, id_of(found), f"{detail} It is made again from one that is good.")
        checked.copies.append(BadCopy(found.of.document.id, version.number, place, made))

    async def _is_good(self, version: Version, place: Place) -> bool:
        stores: Mapping[Place, BlobStore] = {
            "primary": self.contents.packs.primary,
            "replica": self.contents.packs.replica,
        }
        name = version.at(place)
        return name is not None and await is_whole(stores[place], name, version)

    async def _again(self, found: StoredVersion) -> StoredVersion | None:
        """The version as it is now; None: it is erased."""
        document = found.of.document.id
        return await self.store.find_version(found.of.tenant, document, found.version.number)


def id_of(found: StoredVersion) -> str:
    """Names a version, as records and key pages do."""
    return version_id(found.of.document.id, found.version.number)
