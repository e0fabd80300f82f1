"""Replication: sealed content gets a verified copy in the second region, and damage is repaired.

A copy is verified by reading it back and comparing its SHA-256 with the record's, which needs no key. Only
where no copy is whole are keys used: each segment tells by its tag in which copy it is good.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from shared.base import telemetry
from shared.base.errors import Conflict, Damaged, NotFound, Unavailable
from shared.base.events import Event, EventType, ReleasedData, VersionData
from shared.base.streams import run_in_thread
from shared.documents.models import Place, Version
from shared.documents.naming import object_name
from shared.documents.opening import ContentOpener
from shared.documents.store import DocumentRecords, StoredVersion
from shared.journal.contention import retry_conflicts
from shared.journal.entries import Action, Details
from shared.journal.journal import Journal
from shared.ports.blobs import BlobStore
from shared.ports.clock import Runtime

# Longer than every retry of a healthy system; the operators' alert has the same limit.
LATE: Final = timedelta(minutes=15)

_log = logging.getLogger("strongroom.replication")


@dataclass(slots=True)
class Replication:
    """Makes, verifies, repairs and removes copies.

    Attributes:
        store: Finds and changes documents and versions.
        journal: Commits changes with their audit entries.
        opener: Tells which segments are good where no copy is.
        primary: Sealed objects.
        replica: The second region.
        runtime: Time, and randomness for object names.
    """

    store: DocumentRecords
    journal: Journal
    opener: ContentOpener
    primary: BlobStore
    replica: BlobStore
    runtime: Runtime
    _places: Mapping[Place, BlobStore] = field(init=False)

    def __post_init__(self) -> None:
        self._places = {"primary": self.primary, "replica": self.replica}

    async def replicate(self, event: Event) -> None:
        """Copy sealed content to the second region and verify it; the effect of ``document.sealed``.

        It takes effect once, however often the event comes.

        Raises:
            Unavailable: A store does not respond, or the record keeps changing; try again.
        """
        found = await self._version(event)
        if found is not None and found.version.replica is None:
            tried: dict[str, str] = {}
            try:
                await self._copy(event, found, "primary", "replica", Action.DOCUMENT_REPLICATE)
            except Exception as error:
                tried = {telemetry.ERROR_TYPE: telemetry.error_type(error)}
                raise
            finally:
                age = self.runtime.now() - event.time
                telemetry.REPLICATION_LAG.record(max(0.0, age.total_seconds()), tried)
            if age > LATE:
                _log.warning("replication.late %s, %d s old", event.subject, age.total_seconds())

    async def repair(self, event: Event) -> None:
        """Repair every copy of a version's content; the effect of ``document.damaged``.

        A bad copy is replaced from a good one. Where none is good, the segments that are good in one or the
        other become a new one; where a segment is good in neither, that is audited and logged.

        Raises:
            Unavailable: A store does not respond, a copy did not arrive whole, or the record keeps
                changing; try again.
        """
        found = await self._version(event)
        if found is None:
            return
        good = [place for place in self._places if await self._is_good(found.version, place)]
        if not good:
            if not await self._reassemble(event, found):
                return
            found = await self._version(event)
            if found is None:
                return
            good = ["primary"]
        for place in self._places:
            if place not in good and found.version.at(place) is not None:
                await self._copy(event, found, good[0], place, Action.DOCUMENT_REPAIR)

    async def erase(self, event: Event) -> None:
        """Remove objects that no record names any more, wherever they are, and put that into the log.

        The effect of ``document.repaired`` and ``document.deleted``; the entry is made once, however often
        the event comes.

        Raises:
            Unavailable: A store does not respond; try again.
        """
        released = event.data_as(ReleasedData)
        for name in released.objects:
            await self.primary.delete(name)
        for name in released.replicas:
            await self.replica.delete(name)
        erased: Details = {
            "objects": len(released.objects),
            "replicas": len(released.replicas),
        }
        entry = self.journal.entry(
            Action.DOCUMENT_ERASE, event.subject, tenant=event.tenant, details=erased
        )
        with suppress(Conflict):  # an earlier delivery of the event
            await self.journal.commit(entry, [self.store.create_erasure(event)])

    async def _copy(
        self, event: Event, found: StoredVersion, source: Place, target: Place, action: Action
    ) -> None:
        """Make a copy in ``target`` of the one in ``source``."""
        version = found.version

        async def copy(store: BlobStore, name: str) -> None:
            await store.copy_from(self._places[source], version.at(source) or "", name)

        try:
            arrived = await self._make(event, found, target, copy, action)
        except (Damaged, NotFound):
            arrived = False
        if not arrived:
            if await self._is_good(version, source):
                raise Unavailable(_NOT_WHOLE)
            await self._lost(event, version)

    async def _reassemble(self, event: Event, found: StoredVersion) -> bool:
        """Reassemble a good primary copy from the good segments of all; False if that is not enough."""
        version = found.version

        async def reassemble(store: BlobStore, name: str) -> None:
            sealed = self.opener.reassembled(event.tenant, event.subject, version)
            async with aclosing(sealed):
                await store.put(name, sealed)

        try:
            arrived = await self._make(event, found, "primary", reassemble, Action.DOCUMENT_REPAIR)
        except Damaged:
            await self._lost(event, version)
            return False
        if not arrived:
            raise Unavailable(_NOT_WHOLE)
        return True

    async def _make(
        self,
        event: Event,
        found: StoredVersion,
        target: Place,
        write: Callable[[BlobStore, str], Awaitable[None]],
        action: Action,
    ) -> bool:
        """Write a new object, verify it by reading it back, and let the record name it.

        Returns:
            Whether it arrived as it was sealed; if not, it was removed again.
        """
        version, now = found.version, self.runtime.now()
        name = object_name(event.tenant, event.subject, version.number, now, self.runtime)
        await self.store.prepare_object(event.partition, now)
        store = self._places[target]
        await write(store, name)
        arrived = await is_whole(store, name, version)
        if not arrived or not await self._adopt(event, found, target, name, action):
            await store.delete(name)
        elif action is Action.DOCUMENT_REPAIR:
            telemetry.REPAIRS.add(1, {telemetry.PLACE: target, telemetry.OUTCOME: "repaired"})
        return arrived

    async def _adopt(
        self, event: Event, copied: StoredVersion, place: Place, name: str, action: Action
    ) -> bool:
        """Let the version's record name the object; False if that is no longer wanted."""
        version = copied.version
        former = version.at(place)
        known: StoredVersion | None = copied

        async def attempt() -> bool:
            nonlocal known
            # The commit holds only if the record is still as it was read before the copy was made.
            found, known = known or await self._version(event), None
            # A restore may have given the number to another content.
            if (
                found is None
                or found.version.at(place) != former
                or found.version.sealed_digest != version.sealed_digest
            ):
                return False
            adopted = found.version.model_copy(update={_FIELDS[place]: name})
            entry = self.journal.entry(
                action,
                event.subject,
                tenant=event.tenant,
                details={"version": version.number, "copy": place, "size": version.size},
            )
            events = [] if former is None else [self._repaired(event, place, former)]
            await self.journal.commit(entry, [self.store.replace_version(found, adopted)], events)
            return True

        return await retry_conflicts(attempt, self.runtime)

    def _repaired(self, cause: Event, place: Place, former: str) -> Event:
        released = (
            ReleasedData(objects=(former,))
            if place == "primary"
            else ReleasedData(replicas=(former,))
        )
        return self.journal.event(
            EventType.DOCUMENT_REPAIRED, cause.tenant, cause.subject, released, cause.traceparent
        )

    async def _version(self, event: Event) -> StoredVersion | None:
        number = event.data_as(VersionData).version
        return await self.store.find_version(event.tenant, event.subject, number)

    async def _is_good(self, version: Version, place: Place) -> bool:
        name = version.at(place)
        if name is None:
            return False
        return await is_whole(self._places[place], name, version)

    async def _lost(self, event: Event, version: Version) -> None:
        """Put into the audit log and before the operators that no copy is good.

        Raises:
            Unavailable: The copies were concurrently replaced; try again with the new ones.
        """
        found = await self._version(event)
        if found is None:
            return  # it was concurrently deleted
        if found.version != version:
            raise Unavailable("The copies were concurrently replaced; try again.")
        _log.error("document.lost %s, version %d", event.subject, version.number)
        telemetry.REPAIRS.add(1, {telemetry.PLACE: "primary", telemetry.OUTCOME: "lost"})
        entry = self.journal.entry(
            Action.DOCUMENT_LOST,
            event.subject,
            tenant=event.tenant,
            failed=Damaged.slug,
            details={"version": version.number},
        )
        await self.journal.commit(entry)


_NOT_WHOLE: Final = "The copy did not arrive as it left; try again."
_FIELDS: Final[Mapping[Place, str]] = {"primary": "object", "replica": "replica"}


async def is_whole(store: BlobStore, name: str, version: Version) -> bool:
    """Whether an object is the version's content as it was sealed.

    Raises:
        Unavailable: The store does not respond.
    """
    check = version.sealed_digest.check()
    try:
        async for piece in store.get(name):
            await run_in_thread(check.update, piece)
    except (Damaged, NotFound):
        return False
    return check.passed
