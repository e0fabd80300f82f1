"""Replication: every sealed content gets a verified copy in the second region, and damage is healed.

Both work on sealed bytes alone: a copy is verified by reading it back and comparing its SHA-256 with the
record's, so replication needs no key.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Final, Literal

from shared.audit.models import Action
from shared.documents.models import Version
from shared.documents.sealing import object_name
from shared.documents.store import DocumentRecords, StoredVersion
from shared.errors import Conflict, Damaged, NotFound, Unavailable
from shared.events import Event, EventType
from shared.journal import Journal
from shared.ports.blobs import BlobStore
from shared.ports.clock import Clock, Entropy
from shared.streams import off_loop

Place = Literal["vault", "replica"]

ATTEMPTS: Final = 5

# Longer than every retry of a healthy system; the operators' alert looks for the log line.
LATE: Final = timedelta(minutes=15)

_log = logging.getLogger("strongroom.replication")


class Replication:
    """Makes, verifies, heals and removes copies.

    Args:
        store: Finds documents and versions.
        journal: Commits changes with their audit entries.
        vault: Sealed objects.
        replica: The second region.
        clock: Time.
        entropy: Randomness for object names.
    """

    def __init__(
        self,
        store: DocumentRecords,
        journal: Journal,
        vault: BlobStore,
        replica: BlobStore,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._store = store
        self._journal = journal
        self._places: Mapping[Place, BlobStore] = {"vault": vault, "replica": replica}
        self._clock = clock
        self._entropy = entropy

    async def replicate(self, event: Event) -> None:
        """Copy a sealed content to the second region and verify it; the effect of ``document.sealed``.

        It takes effect once, however often the event comes.

        Raises:
            Unavailable: A store does not answer, or the record keeps changing; try again.
        """
        found = await self._version(event)
        if found is not None and found.version.replica is None:
            await self._copy(event, found, "vault", "replica", Action.DOCUMENT_REPLICATE)
            age = self._clock.now() - event.time
            if age > LATE:
                _log.warning("replication.late %s, %d s old", event.subject, age.total_seconds())

    async def heal(self, event: Event) -> None:
        """Replace the bad copies of a content from a good one; the effect of ``document.damaged``.

        Where every copy is good, there is nothing to do; where none is, that is audited and logged.

        Raises:
            Unavailable: A store does not answer, or the record keeps changing; try again.
        """
        found = await self._version(event)
        if found is None:
            return
        good = [place for place in self._places if await self._is_good(found.version, place)]
        bad = [
            place
            for place in self._places
            if place not in good and _name(found.version, place) is not None
        ]
        if not good:
            await self._lost(event, found.version)
            return
        for place in bad:
            await self._copy(event, found, good[0], place, Action.DOCUMENT_HEAL)

    async def erase(self, event: Event) -> None:
        """Remove objects that no record names any more, wherever they are."""
        for place, store in self._places.items():
            for name in event.data[_RELEASED[place]]:
                await store.delete(name)

    async def _copy(
        self,
        event: Event,
        found: StoredVersion,
        source: Place,
        target: Place,
        action: Action,
    ) -> None:
        """Make a new object in ``target``, verify it, and let the record name it."""
        version = found.version
        name = object_name(
            event.tenant,
            f"{self._clock.now():%Y-%m-%d}",
            event.subject,
            version.number,
            self._entropy,
        )
        store = self._places[target]
        try:
            await store.copy_from(self._places[source], _name(version, source) or "", name)
            intact = await _sha256(store, name) == version.sealed_sha256
        except NotFound:
            intact = False
        if not intact:
            await store.delete(name)
            await self._lost(event, version)
            return
        if not await self._adopt(event, version, target, name, action):
            await store.delete(name)

    async def _adopt(
        self, event: Event, version: Version, place: Place, name: str, action: Action
    ) -> bool:
        """Let the version's record name the object; False if that is no longer wanted."""
        former = _name(version, place)
        for _ in range(ATTEMPTS):
            found = await self._version(event)
            if found is None or _name(found.version, place) != former:
                return False
            adopted = found.version.model_copy(update={_FIELDS[place]: name})
            entry = self._journal.entry(
                action,
                event.subject,
                tenant=event.tenant,
                details={"version": version.number, "copy": place, "size": version.size},
            )
            healed = self._journal.event(
                EventType.DOCUMENT_HEALED,
                event.tenant,
                event.subject,
                {"objects": [], "replicas": []} | {_RELEASED[place]: [former]},
                event.traceparent,
            )
            try:
                await self._journal.commit(
                    entry, [found.replaced_by(adopted)], [healed] if former is not None else []
                )
            except Conflict:
                continue
            return True
        raise Unavailable("The document is being changed from elsewhere; try again.")

    async def _version(self, event: Event) -> StoredVersion | None:
        try:
            stored = await self._store.document(event.tenant, event.subject)
            return await self._store.version(stored, int(event.data["version"]))
        except NotFound:
            return None

    async def _is_good(self, version: Version, place: Place) -> bool:
        name = _name(version, place)
        if name is None:
            return False
        try:
            return await _sha256(self._places[place], name) == version.sealed_sha256
        except NotFound:
            return False

    async def _lost(self, event: Event, version: Version) -> None:
        _log.error("no good copy of %s, version %d", event.subject, version.number)
        entry = self._journal.entry(
            Action.DOCUMENT_LOST,
            event.subject,
            tenant=event.tenant,
            failed=Damaged.slug,
            details={"version": version.number},
        )
        await self._journal.commit(entry)


_FIELDS: Final[Mapping[Place, str]] = {"vault": "object", "replica": "replica"}
_RELEASED: Final[Mapping[Place, str]] = {"vault": "objects", "replica": "replicas"}


def _name(version: Version, place: Place) -> str | None:
    return version.object if place == "vault" else version.replica


async def _sha256(store: BlobStore, name: str) -> bytes:
    digest = hashlib.sha256()
    async for piece in store.get(name):
        await off_loop(digest.update, piece)
    return digest.digest()
