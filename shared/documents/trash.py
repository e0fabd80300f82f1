"""The trash, where a deleted document waits before its keys are destroyed, and the holds that forbid both.

A document in the trash keeps its keys and its copies, and is in no list but the trash's own. The timer
erases it when its time is over: which documents that concerns, the agenda and the index say, so that
its cost follows the trash.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from shared.access.permissions import Permission, check
from shared.access.principal import Principal
from shared.base import telemetry
from shared.base.errors import LegalHold, NotFound, PreconditionFailed, StrongroomError
from shared.base.events import EventType, ReleasedData
from shared.base.partitions import Partition
from shared.documents.reading import content_etag
from shared.documents.store import DocumentRecords, StoredDocument
from shared.journal.agenda import AgendaItem, Task, end_of_window
from shared.journal.collections import Stored
from shared.journal.contention import retry_conflicts
from shared.journal.entries import SYSTEM, Action, Actor
from shared.journal.journal import Journal
from shared.policy.service import Policies
from shared.ports.clock import Runtime

AT_ONCE: Final = 16
"""Documents that the timer erases at the same time."""

HELD_WINDOW: Final = timedelta(days=1)
"""How often the timer looks at what a legal hold keeps in the trash beyond its time."""

_log = logging.getLogger("strongroom.trash")


@dataclass(frozen=True, slots=True)
class Deletion:
    """What deleting a document did.

    Attributes:
        document: Its id.
        outcome: Whether it can still be recovered.
        erased_at: When its keys will be destroyed; for an erased one, when they were.
    """

    document: str
    outcome: Literal["trashed", "erased"]
    erased_at: datetime


@dataclass(slots=True)
class Trash:
    """Deletes, recovers, erases and holds the documents of the tenants.

    Attributes:
        store: Finds and changes the records.
        journal: Commits changes with their audit entries.
        policies: Say how long the trash is kept, and which tenants are held.
        runtime: Time.
    """

    store: DocumentRecords
    journal: Journal
    policies: Policies
    runtime: Runtime

    async def delete(
        self, principal: Principal, document: str, if_match: str | None, *, erase: bool = False
    ) -> Deletion:
        """Move a document with all of its versions to the trash, or erase it.

        Where the tenant's policy has no trash, it is erased at once. Its wrapped data keys are then
        destroyed in the commit, so no copy of its content can be opened from then on; the objects
        themselves are removed by the replication function.

        Args:
            principal: The caller.
            document: Its id; with ``erase`` also of one in the trash.
            if_match: The current version's etag must be this one.
            erase: Erase it whatever the policy says.

        Raises:
            Forbidden: Erasing needs a permission of its own.
            LegalHold: The document or its tenant is held.
            NotFound: There is no such document.
            PreconditionFailed: The current version's etag is not ``if_match``.
            Unavailable: The document was concurrently modified all the time; nothing was done.
        """
        if erase:
            check(principal.roles, Permission.DOCUMENTS_ERASE)
        now = self.runtime.now()

        async def attempt() -> Deletion:
            find = self.store.kept if erase else self.store.document
            stored = await find(principal.tenant, document)
            if if_match is not None and if_match != content_etag(document, stored.current):
                raise PreconditionFailed("The document has another version now; read it first.")
            policy = await self.policies.of(principal.tenant)
            if stored.document.held or policy.legal_hold:
                raise LegalHold("The document is under a legal hold, which must be released first.")
            if erase or policy.trash_days == 0:
                await self._erase(stored, principal)
                return Deletion(document, "erased", now)
            erase_at = now + timedelta(days=policy.trash_days)
            await self._move(stored, principal, now, erase_at)
            return Deletion(document, "trashed", erase_at)

        return await retry_conflicts(attempt, self.runtime)

    async def recover(self, principal: Principal, document: str) -> None:
        """Take a document out of the trash; one that is not there stays as it is.

        Raises:
            NotFound: There is no such document, or it has been erased.
            Unavailable: The document was concurrently modified all the time; nothing was done.
        """

        async def attempt() -> None:
            stored = await self.store.kept(principal.tenant, document)
            if stored.document.trashed_at is None:
                await self.journal.commit(
                    self.journal.entry(Action.DOCUMENT_READ, document, by=principal)
                )
                return
            recovered = stored.document.model_copy(update={"trashed_at": None, "erase_at": None})
            await self.journal.commit(
                self.journal.entry(Action.DOCUMENT_RECOVER, document, by=principal),
                [self.store.replace_document(stored, recovered)],
            )

        await retry_conflicts(attempt, self.runtime)

    async def hold(self, principal: Principal, document: str) -> None:
        """Forbid deleting and erasing a document, in the trash or not, until it is released.

        Raises:
            NotFound: There is no such document.
            Unavailable: The document was concurrently modified all the time; nothing was done.
        """
        await self._set_hold(principal, document, Action.DOCUMENT_HOLD, held=True)

    async def release(self, principal: Principal, document: str) -> None:
        """End the legal hold on a document; a hold on its whole tenant stays.

        Raises:
            NotFound: There is no such document.
            Unavailable: The document was concurrently modified all the time; nothing was done.
        """
        await self._set_hold(principal, document, Action.DOCUMENT_RELEASE, held=False)

    async def empty(self) -> int:
        """Erase every document whose time in the trash is over; return how many that were.

        What is held is left, and looked at again within a day. What cannot be erased now stays on the
        agenda.
        """
        erased = 0
        for task in (Task.EMPTY_TRASH, Task.HELD_TRASH):
            async for item in self.store.agenda.due(task):
                outcomes = await self._empty(task, item)
                erased += outcomes.count("erased")
                partition = Partition.parse(item.value.partition)
                if "held" in outcomes:
                    again = end_of_window(self.runtime.now(), HELD_WINDOW)
                    await self.store.agenda.add(Task.HELD_TRASH, partition, again)
                if "failed" not in outcomes:
                    await self.store.agenda.remove(task, [item])
        if erased:
            _log.info("erased %d documents from the trash", erased)
        return erased

    async def _move(
        self, stored: StoredDocument, principal: Principal, now: datetime, erase_at: datetime
    ) -> None:
        await self.store.prepare_trash(stored.stored.partition, erase_at)
        trashed = stored.document.model_copy(update={"trashed_at": now, "erase_at": erase_at})
        entry = self.journal.entry(
            Action.DOCUMENT_TRASH,
            trashed.id,
            by=principal,
            details={"versions": stored.current.number, "erase_at": erase_at.isoformat()},
        )
        await self.journal.commit(entry, [self.store.replace_document(stored, trashed)])

    async def _erase(self, stored: StoredDocument, by: Principal | Actor) -> None:
        """Destroy the keys of every version, and announce that the objects can go."""
        document = stored.document.id
        kept = await self.store.versions(stored)
        versions, earlier = [each.version for each in kept], kept[1:]
        event = self.journal.event(
            EventType.DOCUMENT_DELETED,
            stored.tenant,
            document,
            ReleasedData(
                objects=tuple(version.object for version in versions),
                replicas=tuple(version.replica for version in versions if version.replica),
            ),
            by.origin.traceparent if isinstance(by, Principal) else None,
        )
        entry = self.journal.entry(
            Action.DOCUMENT_DELETE,
            document,
            by=by,
            tenant=stored.tenant,
            details={"versions": len(versions)},
        )
        erased = stored.document.model_copy(
            update={"current": None, "trashed_at": None, "erase_at": None}
        )
        await self.journal.commit(
            entry,
            [
                self.store.replace_document(stored, erased),
                *(self.store.delete_version(each) for each in earlier),
            ],
            [event],
        )

    async def _set_hold(
        self, principal: Principal, document: str, action: Action, *, held: bool
    ) -> None:
        async def attempt() -> None:
            stored = await self.store.kept(principal.tenant, document)
            changed = stored.document.model_copy(update={"held": held})
            await self.journal.commit(
                self.journal.entry(action, document, by=principal),
                [self.store.replace_document(stored, changed)],
            )

        await retry_conflicts(attempt, self.runtime)

    async def _empty(self, task: Task, item: Stored[AgendaItem]) -> list[_Outcome]:
        partition = Partition.parse(item.value.partition)
        if (await self.policies.of(partition.tenant)).legal_hold:
            return ["held"]
        now = self.runtime.now()
        due = item.value.due if task is Task.EMPTY_TRASH else None
        outcomes: list[_Outcome] = []
        batch: list[str] = []
        async for document in self.store.trash(partition, due):
            if document.erase_at is None or document.erase_at > now:
                continue
            batch.append(document.id)
            if len(batch) == AT_ONCE:
                outcomes += await self._erase_due(partition.tenant, batch)
                batch = []
        return outcomes + await self._erase_due(partition.tenant, batch)

    async def _erase_due(self, tenant: str, documents: Sequence[str]) -> list[_Outcome]:
        return await asyncio.gather(*(self._erase_one(tenant, each) for each in documents))

    async def _erase_one(self, tenant: str, document: str) -> _Outcome:
        async def attempt() -> _Outcome:
            stored = await self.store.kept(tenant, document)
            erase_at = stored.document.erase_at
            if erase_at is None or erase_at > self.runtime.now():
                return "recovered"
            if stored.document.held or (await self.policies.of(tenant)).legal_hold:
                return "held"
            await self._erase(stored, SYSTEM)
            return "erased"

        try:
            return await retry_conflicts(attempt, self.runtime)
        except NotFound:
            return "recovered"  # another run has erased it
        except StrongroomError as error:
            _log.error("trash.failed %s error=%s", document, error.slug)
            telemetry.TRASH_FAILURES.add(1)
            return "failed"


_Outcome = Literal["erased", "held", "recovered", "failed"]
