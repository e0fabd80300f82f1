"""Checks of what sets name: it is there, is what was written, and is retained for as long as the set."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection as Container
from dataclasses import dataclass
from typing import Final, Literal

from shared.backup.models import Manifest, PartIndex, PartRef, SegmentRef, object_name
from shared.backup.reading import SetReader
from shared.base.errors import Damaged, NotFound
from shared.base.streams import run_in_thread
from shared.ports.write_once import RetainedInfo
from shared.verification.findings import Checked, Flawed
from shared.verification.manifest_checks import CHANGED, MISSING, extend


@dataclass(slots=True)
class Inventory:
    """What the backup store says of a tenant's objects, read in a few requests.

    Attributes:
        tenant: Whose.
        objects: By name; what came later is asked for one by one.
    """

    tenant: str
    objects: dict[str, RetainedInfo]


@dataclass(slots=True)
class SetChecks:
    """Checks what manifests name.

    Attributes:
        reader: Reads sets.
    """

    reader: SetReader

    async def inventory(self, tenant: str) -> Inventory:
        """What there is of a tenant's objects, but for manifests.

        Raises:
            Unavailable: The backup store does not respond.
        """
        objects: dict[str, RetainedInfo] = {}
        for folder in _FOLDERS.values():
            async for info in self.reader.store.list(object_name(tenant, folder, "")):
                objects[info.name] = info
        return Inventory(tenant, objects)

    async def part(
        self,
        inventory: Inventory,
        manifest: Manifest,
        ref: PartRef,
        after: Manifest | None,
        checked: Checked,
    ) -> None:
        """Check what a set has of a partition: the index, each segment, and that each pack is there.

        Args:
            inventory: What the store says of the objects.
            manifest: Of the set.
            ref: The partition.
            after: The set after, which was checked; what it shares with this one is not read again.
            checked: Learns what was found.

        Raises:
            Unavailable: The backup store does not respond.
        """
        same = None if after is None else after.part(ref.part)
        longer = after is None or manifest.retain_until > after.retain_until
        if same is not None and same.index == ref.index and not longer:
            return
        known = _Known() if after is None or same is None else await self._known(after, same)
        found = await self._index(inventory, manifest, ref, known, checked)
        if found is None:
            return
        for segment in found.segments:
            new = segment.id not in known.segments
            checked.objects += new
            looked_at = _LookedAt(manifest, ref.part, "segment", segment.id)
            whole = await self._is_there(inventory, looked_at, segment.size, checked)
            if new and whole:
                await self._segment(looked_at, segment, checked)
        for pack in found.packs:
            checked.objects += pack.id not in known.packs
            looked_at = _LookedAt(manifest, ref.part, "pack", pack.id)
            await self._is_there(inventory, looked_at, pack.size, checked)

    async def _known(self, after: Manifest, ref: PartRef) -> _Known:
        """What was checked of a partition with the set after, if that can be read."""
        try:
            index = await self.reader.index(after.tenant, ref)
        except (Damaged, NotFound):
            return _Known()
        segments = {each.id for each in index.segments}
        return _Known(ref.index, segments, {each.id for each in index.packs})

    async def _index(
        self,
        inventory: Inventory,
        manifest: Manifest,
        ref: PartRef,
        known: _Known,
        checked: Checked,
    ) -> PartIndex | None:
        checked.objects += ref.index != known.index
        looked_at = _LookedAt(manifest, ref.part, "index", ref.index)
        if not await self._is_there(inventory, looked_at, None, checked):
            return None
        checked.bytes += inventory.objects[looked_at.name].size
        try:
            return await self.reader.index(manifest.tenant, ref)
        except NotFound:
            await self._missing(looked_at, checked)
        except Damaged:
            looked_at.found(checked, CHANGED)
        return None

    async def _segment(self, looked_at: _LookedAt, segment: SegmentRef, checked: Checked) -> None:
        """Check that a segment is what was written."""
        digest = hashlib.sha256()
        try:
            async for piece in self.reader.store.get(looked_at.name):
                checked.bytes += len(piece)
                await run_in_thread(digest.update, piece)
        except NotFound:
            await self._missing(looked_at, checked)
            return
        except Damaged:
            looked_at.found(checked, CHANGED)
            return
        if not hmac.compare_digest(digest.digest(), segment.sha256):
            looked_at.found(checked, CHANGED)

    async def _is_there(
        self, inventory: Inventory, looked_at: _LookedAt, size: int | None, checked: Checked
    ) -> bool:
        """Whether an object is there in its size; it is retained for as long as the set from then on."""
        name = looked_at.name
        if name not in inventory.objects:
            try:
                inventory.objects[name] = await self.reader.store.head(name)
            except NotFound:
                await self._missing(looked_at, checked)
                return False
        info = inventory.objects[name]
        if info.retain_until < looked_at.manifest.retain_until:
            await extend(self.reader.store, name, looked_at.manifest.retain_until, checked)
        if size is not None and info.size != size:
            looked_at.found(checked, CHANGED)
            return False
        return True

    async def _missing(self, looked_at: _LookedAt, checked: Checked) -> None:
        """Note that an object is missing, unless its set was pruned since."""
        manifest = looked_at.manifest
        try:
            await self.reader.store.head(object_name(manifest.tenant, "sets", manifest.id))
        except NotFound:
            return
        looked_at.found(checked, MISSING)


@dataclass(frozen=True, slots=True)
class _Known:
    """What was checked with the set after.

    Attributes:
        index: The object with the index of the partition.
        segments: The ids of segments.
        packs: The ids of packs.
    """

    index: str = ""
    segments: Container[str] = ()
    packs: Container[str] = ()


@dataclass(frozen=True, slots=True)
class _LookedAt:
    """An object of a set.

    Attributes:
        manifest: Of the set.
        part: The partition that it is about.
        kind: What it is.
        id: Of the object.
    """

    manifest: Manifest
    part: str
    kind: Literal["index", "segment", "pack"]
    id: str

    @property
    def name(self) -> str:
        """Of the object."""
        return object_name(self.manifest.tenant, _FOLDERS[self.kind], self.id)

    def found(self, checked: Checked, detail: str) -> None:
        """Note that something is wrong with it."""
        checked.add(self.kind, self.name.partition("/")[2], detail)
        checked.flawed.append(Flawed(self.part, self.id))


_FOLDERS: Final = {"index": "parts", "segment": "segments", "pack": "packs"}
