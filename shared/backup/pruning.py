"""Pruning: sets whose date has come are removed, and then what no set needs any more.

It needs no lock and may end anywhere. The newest set always stays. What a set that stays names is never
removed, because that is looked up first; what a new set is about to name is either named by the newest one
or retained until a later date.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from shared.backup.models import Manifest, object_name
from shared.backup.reading import SetReader
from shared.base.errors import Retained
from shared.policy.service import Policies
from shared.ports.clock import Runtime

_log = logging.getLogger("strongroom.backup")


@dataclass(slots=True)
class Pruning:
    """Removes what no set needs.

    Attributes:
        reader: Reads the sets that stay.
        policies: Legal holds.
        runtime: Time.
    """

    reader: SetReader
    policies: Policies
    runtime: Runtime

    async def prune(self, tenant: str) -> int:
        """Remove a tenant's expired sets and what only they needed; return how many objects that was.

        Raises:
            Damaged: A set that stays cannot be read, so it is not known what it needs; nothing is removed.
            NotFound: The same.
            Unavailable: A store does not respond.
        """
        if (await self.policies.of(tenant)).legal_hold:
            return 0
        store, now = self.reader.store, self.runtime.now()
        sets = [info async for info in store.list(object_name(tenant, "sets", ""))]
        if not sets:
            return 0
        kept = [info.name for info in sets if info.retain_until > now]
        if sets[-1].name not in kept:
            kept.append(sets[-1].name)  # names sort by time
        needed = await self._needed(tenant, kept)
        removed = 0
        for info in sets:
            if info.name not in needed:
                removed += await self._delete(info.name)
        for folder in ("parts", "segments", "packs"):
            async for found in store.list(object_name(tenant, folder, "")):
                if found.retain_until <= now and found.name not in needed:
                    removed += await self._delete(found.name)
        if removed:
            _log.info("backup.pruned %s, %d objects", tenant, removed)
        return removed

    async def _needed(self, tenant: str, sets: list[str]) -> set[str]:
        """The names of all objects that some sets need."""
        needed = set(sets)
        indexes: set[str] = set()
        for name in sets:
            manifest = await self.reader.manifests.read(tenant, name.rpartition("/")[2])
            await self._add_needed(manifest, needed, indexes)
        return needed

    async def _add_needed(self, manifest: Manifest, needed: set[str], indexes: set[str]) -> None:
        for part in manifest.parts:
            if part.index in indexes:
                continue  # sets share what did not change
            indexes.add(part.index)
            index = await self.reader.index(manifest.tenant, part)
            needed.add(object_name(manifest.tenant, "parts", part.index))
            needed |= {object_name(manifest.tenant, "segments", each.id) for each in index.segments}
            needed |= {object_name(manifest.tenant, "packs", each.id) for each in index.packs}

    async def _delete(self, name: str) -> int:
        try:
            await self.reader.store.delete(name)
        except Retained:
            return 0  # its date was moved since it was listed
        return 1
