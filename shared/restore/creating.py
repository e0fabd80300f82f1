"""Making documents again of which the service has no record: many of one partition at the same time.

Versions that lie side by side in a pack are read in one request, and documents are committed together once
all of their content is durable. Each has its own audit entry all the same. Whatever else happens, such as
content that is not what was sealed, is left to ``DocumentRestorer``, document by document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shared.backup.hashing import read_sound, runs
from shared.backup.snapshot import BackedUpDocument, BackedUpVersion, PartState
from shared.base.concurrency import at_once
from shared.base.errors import Conflict, Damaged
from shared.base.events import Event
from shared.base.partitions import Partition
from shared.documents.naming import object_name
from shared.documents.store import DOCUMENT_KIND
from shared.journal.entries import Entry
from shared.ports.records import MAX_CHANGES, MAX_PAGE, Change
from shared.restore.assessing import Run
from shared.restore.documents import DocumentRestorer

RESTORED_AT_ONCE: Final = 8

PUT_BYTES: Final = 16 << 20
"""Content is put when so much of it was read."""

ALONE: Final = 1 << 20
"""Sealed content above this size, bytes, is restored as a stream."""


@dataclass(slots=True)
class DocumentCreator:
    """Makes documents again.

    Attributes:
        restorer: Restores what this leaves.
    """

    restorer: DocumentRestorer

    async def existing(self, partition: Partition) -> set[str]:
        """The ids of the documents that a partition has a record of, erased ones included.

        Raises:
            Unavailable: The record store does not respond.
        """
        records, found = self.restorer.store.records, set[str]()
        cursor: str | None = None
        while True:
            page = await records.query(partition, DOCUMENT_KIND, limit=MAX_PAGE, cursor=cursor)
            found |= {record.id for record in page.records}
            cursor = page.cursor
            if cursor is None:
                return found

    async def create(self, run: Run, state: PartState, documents: Sequence[str]) -> None:
        """Make documents again that there was no record of a moment ago.

        Args:
            run: From which set; learns what was done.
            state: Their partition in the set.
            documents: Their ids.

        Raises:
            Unavailable: A store or the key vault does not respond; repeat it.
        """
        found: list[BackedUpDocument] = []
        for document in documents:
            try:
                read = await run.snapshot.document(state, document)
            except Damaged:
                continue  # the restorer says so
            if _changes_of(read) <= MAX_CHANGES and not any(map(_is_large, read.versions)):
                found.append(read)
        partition = Partition(run.tenant, state.part)
        objects = await self._put_all(run, partition, found)
        whole = [each for each in found if all(one.location.id in objects for one in each.versions)]
        groups = list(_groups(whole))
        made = await at_once(
            lambda group: self._commit(run, partition, group, objects), groups, len(groups)
        )
        done = {
            each.document.id
            for group, is_made in zip(groups, made, strict=True)
            if is_made
            for each in group
        }
        left = [document for document in documents if document not in done]
        await at_once(lambda each: self.restorer.restore(run, state, each), left, RESTORED_AT_ONCE)

    async def _put_all(
        self, run: Run, partition: Partition, documents: Iterable[BackedUpDocument]
    ) -> Mapping[str, str]:
        """Put content that is what was sealed into the primary store; the names of the objects."""
        restorer, snapshot = self.restorer, run.snapshot
        now = restorer.runtime.now()
        await restorer.store.prepare_object(partition, now)
        versions = {each.location.id: each for one in documents for each in one.versions}
        sealed = {name: each.version.sealed_digest for name, each in versions.items()}
        objects: dict[str, str] = {}

        waiting: list[tuple[str, memoryview]] = []
        for neighbours in runs(each.location for each in versions.values()):
            for of, data in await read_sound(snapshot.reader.store, run.tenant, neighbours, sealed):
                name = object_name(run.tenant, of.document, of.number, now, restorer.runtime)
                waiting.append((name, data))
                objects[of.id] = name
            if sum(len(data) for _, data in waiting) > PUT_BYTES:
                await restorer.sealer.primary.put_all(waiting)
                waiting = []
        await restorer.sealer.primary.put_all(waiting)
        return objects

    async def _commit(
        self,
        run: Run,
        partition: Partition,
        documents: Sequence[BackedUpDocument],
        objects: Mapping[str, str],
    ) -> bool:
        """Create the records of documents whose content is durable; False: one exists already."""
        restorer = self.restorer
        changes: list[Change] = []
        entries: list[Entry] = []
        events: list[Event] = []
        for found in documents:
            versions = [
                each.version.model_copy(
                    update={"object": objects[each.location.id], "replica": None}
                )
                for each in found.versions
            ]
            changes += await restorer.changes_to_create(run, found.document, versions)
            entries.append(restorer.entry(run, found.document.id, versions))
            events += restorer.events(run, found.document.id, versions)
        try:
            await restorer.journal.commit_together(partition, entries, changes, events)
        except Conflict:
            return False
        for found in documents:
            run.outcome.documents += 1
            run.outcome.restored += 1
            run.outcome.versions += len(found.versions)
            run.outcome.bytes += sum(each.location.size for each in found.versions)
            for number in found.forgotten:
                run.outcome.add("erased", found.document.id, number)
        return True


def _is_large(backed_up: BackedUpVersion) -> bool:
    return backed_up.location.size > ALONE


def _changes_of(found: BackedUpDocument) -> int:
    """How many changes a commit has that makes the document: its records, its entry and its events."""
    return max(1, len(found.versions)) + 1 + max(1, len(found.versions))


def _groups(documents: Sequence[BackedUpDocument]) -> Iterator[Sequence[BackedUpDocument]]:
    """The documents of one commit each."""
    group: list[BackedUpDocument] = []
    changes = 0
    for each in documents:
        if changes + _changes_of(each) > MAX_CHANGES:
            yield group
            group, changes = [], 0
        group.append(each)
        changes += _changes_of(each)
    if group:
        yield group
