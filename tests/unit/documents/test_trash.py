"""The trash: what is in it is whole and out of sight, leaves it on time, and is held where the law says."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from typing import Any

import pytest

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.base.errors import (
    Forbidden,
    LegalHold,
    NotFound,
    PreconditionFailed,
    Unavailable,
)
from shared.base.events import EventData, EventType, ReleasedData, VersionData
from shared.base.partitions import OPERATOR, Partition, partition_of
from shared.documents.models import Description, Document
from shared.documents.store import (
    DOCUMENT_KIND,
    VERSION_KIND,
    DocumentRecords,
    StoredDocument,
)
from shared.documents.trash import AT_ONCE, Trash
from shared.journal.agenda import Task
from shared.journal.outbox import KIND as OUTBOX_KIND
from shared.journal.waiting import ENTRY_KIND, entries_waiting
from shared.policy.models import TenantPolicy
from shared.ports.clock import Runtime
from tests.support.documents import (
    ADMIN,
    USER,
    DocumentData,
    DocumentProcess,
    key,
    stored,
    stream,
)
from tests.support.keys import TENANT, KilledError

pytestmark = pytest.mark.anyio

OTHER = Description(name="other.txt")
DAY = timedelta(days=1)
ALL = timedelta(days=30)
"""How long the default policy keeps the trash."""

HERE = Partition(TENANT, "2026-01")


async def policy(process: DocumentProcess, **fields: Any) -> None:
    await process.policies.change(ADMIN, TenantPolicy(**fields), None)


async def trashed(process: DocumentProcess) -> str:
    """A document of two versions in the trash; its id."""
    made = await process.create()
    await process.documents.update(USER, made.document.id, made.etag, OTHER, stream(b"newer"), None)
    await process.trash.delete(USER, made.document.id, None)
    return made.document.id


async def record(data: DocumentData, document: str) -> Document:
    found = await data.records.get(partition_of(TENANT, document), DOCUMENT_KIND, document)
    return Document.model_validate(found.body)


async def in_trash(process: DocumentProcess) -> list[str]:
    page = await process.reader.page(USER, limit=100, cursor=None, trashed=True)
    return [each.document.id for each in page.items]


async def actions(data: DocumentData, document: str) -> list[str]:
    """What was done with a document, by name: within a millisecond, entries have no order."""
    scan = entries_waiting(data.records).scan(partition_of(TENANT, document))
    found = [
        each.value.entry.action.value
        async for each in scan
        if each.value.entry.resource == document
    ]
    return sorted(found)


async def released(data: DocumentData, document: str) -> list[EventData]:
    """What the events say can go, now that the document was erased."""
    await data.close()
    events = {each.id: each for each in data.bus.published if each.subject == document}
    return [each.data for each in events.values() if each.type is EventType.DOCUMENT_DELETED]


async def erased(data: DocumentData, document: str) -> bool:
    """Whether no key of the document is left, and the event says what can go."""
    found = await record(data, document)
    if found.current is not None:
        return False
    assert (found.trashed_at, found.erase_at) == (None, None)
    partition = partition_of(TENANT, document)
    versions = (await data.records.query(partition, VERSION_KIND)).records
    assert not [each for each in versions if each.id.startswith(document)]
    assert len(await released(data, document)) == 1
    return True


async def test_a_deleted_document_is_whole_in_the_trash_and_nowhere_else(
    data: DocumentData,
) -> None:
    process = data.process()
    kept = await process.create()
    made = await process.create()
    deletion = await process.trash.delete(USER, made.document.id, made.etag)
    assert (deletion.document, deletion.outcome) == (made.document.id, "trashed")
    assert deletion.erased_at == data.clock.now() + ALL
    found = await record(data, made.document.id)
    assert (found.trashed_at, found.erase_at) == (data.clock.now(), deletion.erased_at)
    assert found.current == made.version

    assert await process.listed() == [kept.document.id]
    assert await in_trash(process) == [made.document.id]
    for attempt in (
        process.reader.find(USER, made.document.id),
        process.reader.find(USER, made.document.id, 1),
        process.reader.versions(USER, made.document.id),
        process.documents.update(USER, made.document.id, made.etag, OTHER, stream(b"newer"), None),
        process.trash.delete(USER, made.document.id, None),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert len(await stored(data.primary)) == 2
    assert await actions(data, made.document.id) == ["document.create", "document.trash"]


async def test_a_recovered_document_is_what_it_was(data: DocumentData) -> None:
    process = data.process()
    made = await process.create()
    await process.trash.delete(USER, made.document.id, None)
    data.clock.advance(29 * DAY.total_seconds())
    await process.trash.recover(USER, made.document.id)
    assert await process.reader.find(USER, made.document.id) == made
    assert await process.listed() == [made.document.id]
    assert await in_trash(process) == []
    await process.trash.recover(USER, made.document.id)  # the response of the first was lost
    assert await actions(data, made.document.id) == [
        *("document.create", "document.read", "document.recover", "document.trash"),
    ]
    data.clock.advance(30 * DAY.total_seconds())
    assert await data.process().trash.empty() == 0
    assert await process.content(made.document.id) == b"content"
    assert await process.on_agenda(Task.EMPTY_TRASH) == []


async def test_the_trash_is_emptied_when_its_time_is_over_and_not_before(
    data: DocumentData,
) -> None:
    process = data.process()
    document = await trashed(process)
    kept = await process.create()
    assert await process.on_agenda(Task.EMPTY_TRASH) == [str(HERE)]
    data.clock.advance(ALL.total_seconds() - 1)
    assert await data.process().trash.empty() == 0
    assert not await erased(data, document)
    data.clock.advance(1)
    assert await data.process().trash.empty() == 1
    assert await erased(data, document)
    assert "document.delete" in await actions(data, document)
    assert await in_trash(process) == []
    with pytest.raises(NotFound):
        await process.trash.recover(ADMIN, document)
    assert await process.content(kept.document.id) == b"content"
    assert await process.on_agenda(Task.EMPTY_TRASH) == []


async def test_what_was_erased_can_be_opened_with_no_record_that_is_left(
    data: DocumentData,
) -> None:
    process = data.process()
    made = await process.create()
    await process.trash.delete(USER, made.document.id, None)
    data.clock.advance(ALL.total_seconds())
    await process.trash.empty()
    everything = str(
        [
            each.body
            for kind in (DOCUMENT_KIND, VERSION_KIND, OUTBOX_KIND, "audit")
            for each in (await data.records.query(HERE, kind, limit=1_000)).records
        ]
    )
    assert "wrapped_key" not in everything
    assert await released(data, made.document.id) == [ReleasedData(objects=(made.version.object,))]


async def test_emptying_looks_at_the_trash_that_is_due_alone(data: DocumentData) -> None:
    process = data.process()
    due = await trashed(process)
    data.clock.advance(DAY.total_seconds())
    later = [await trashed(process) for _ in range(3)]
    for month in (2, 3):
        data.at(2026, month)
        await process.create()
    data.at(2026, 1, 31)
    fresh = data.process()
    read: list[str] = []

    class Watched(DocumentRecords):
        async def kept(self, tenant: str, document: str) -> StoredDocument:
            read.append(document)
            return await super().kept(tenant, document)

    fresh.trash.store = Watched(data.records, fresh.agenda)
    data.records.looked_into.clear()
    assert await fresh.trash.empty() == 1
    assert read == [due]
    assert data.records.months_looked_into() == {"2026-01"}
    assert await in_trash(fresh) == sorted(later, reverse=True)

    data.records.looked_into.clear()
    await fresh.trash.empty()
    assert {each.tenant for each in data.records.looked_into} == {OPERATOR}, "nothing is due"


async def test_documents_of_one_window_share_an_item_and_none_goes_early(
    data: DocumentData,
) -> None:
    process = data.process()
    first = await trashed(process)
    data.clock.advance(60)
    second = await trashed(process)
    assert len(await process.on_agenda(Task.EMPTY_TRASH)) == 2, "the first second ends a window"
    data.clock.advance(60)
    third = await trashed(process)
    assert len(await process.on_agenda(Task.EMPTY_TRASH)) == 2
    data.clock.advance(ALL.total_seconds() - 119)
    await process.trash.empty()
    assert [await erased(data, each) for each in (first, second, third)] == [True, False, False]
    data.clock.advance(600)
    await process.trash.empty()
    assert await erased(data, second)
    assert await erased(data, third)


async def test_without_a_trash_deleting_erases_at_once(data: DocumentData) -> None:
    process = data.process()
    await policy(process, trash_days=0)
    made = await process.create()
    deletion = await process.trash.delete(USER, made.document.id, None)
    assert (deletion.outcome, deletion.erased_at) == ("erased", data.clock.now())
    assert await erased(data, made.document.id)
    assert await process.on_agenda(Task.EMPTY_TRASH) == []


@pytest.mark.parametrize("before", [False, True])
async def test_erasing_needs_its_own_permission_and_reaches_into_the_trash(
    data: DocumentData, before: bool
) -> None:
    process = data.process()
    made = await process.create()
    if before:
        await process.trash.delete(USER, made.document.id, None)
    with pytest.raises(Forbidden, match=r"documents\.erase"):
        await process.trash.delete(USER, made.document.id, None, erase=True)
    assert not await erased(data, made.document.id)
    with pytest.raises(PreconditionFailed):
        await process.trash.delete(ADMIN, made.document.id, "another", erase=True)
    deletion = await process.trash.delete(ADMIN, made.document.id, made.etag, erase=True)
    assert deletion.outcome == "erased"
    assert await erased(data, made.document.id)
    data.clock.advance(ALL.total_seconds())
    assert await process.trash.empty() == 0


async def test_the_trash_is_listed_for_those_who_may_delete(data: DocumentData) -> None:
    process = data.process()
    document = await trashed(process)
    reader = Principal(TENANT, "usr_" + "2" * 26, (Role.READER,))
    with pytest.raises(Forbidden, match=r"documents\.delete"):
        await process.reader.page(reader, limit=10, cursor=None, trashed=True)
    assert await in_trash(process) == [document]


async def test_a_change_of_the_policy_leaves_what_is_in_the_trash(data: DocumentData) -> None:
    process = data.process()
    first = await trashed(process)
    await policy(process, trash_days=1)
    second = await trashed(process)
    data.clock.advance(DAY.total_seconds())
    await process.trash.empty()
    assert [await erased(data, each) for each in (first, second)] == [False, True]
    await policy(process, trash_days=90)
    data.clock.advance(29 * DAY.total_seconds())
    await process.trash.empty()
    assert await erased(data, first)


async def test_a_document_trashed_again_has_its_whole_time_again(data: DocumentData) -> None:
    process = data.process()
    document = await trashed(process)
    data.clock.advance(29 * DAY.total_seconds())
    await process.trash.recover(USER, document)
    await process.trash.delete(USER, document, None)
    data.clock.advance(DAY.total_seconds())
    assert await process.trash.empty() == 0
    data.clock.advance(29 * DAY.total_seconds())
    assert await process.trash.empty() == 1


@pytest.mark.parametrize("whole_tenant", [False, True])
async def test_what_is_held_is_neither_deleted_nor_erased(
    data: DocumentData, whole_tenant: bool
) -> None:
    process = data.process()
    made = await process.create()
    lying = await trashed(process)

    async def no_reason_to_try_again(_: float) -> None:
        raise AssertionError

    process.trash.runtime = Runtime(data.clock, os.urandom, no_reason_to_try_again)
    if whole_tenant:
        await policy(process, legal_hold=True)
    else:
        await process.trash.hold(ADMIN, made.document.id)
        await process.trash.hold(ADMIN, lying)
    for document, erase in ((made.document.id, False), (made.document.id, True), (lying, True)):
        with pytest.raises(LegalHold):
            await process.trash.delete(ADMIN, document, None, erase=erase)
    assert await process.content(made.document.id) == b"content"

    data.clock.advance(ALL.total_seconds())
    for _ in range(3):
        assert await data.process().trash.empty() == 0
        assert await process.on_agenda(Task.EMPTY_TRASH) == []
        assert await process.on_agenda(Task.HELD_TRASH) == [str(HERE)]
        data.clock.advance(DAY.total_seconds())
    assert await in_trash(process) == [lying]

    if whole_tenant:
        await policy(process, legal_hold=False)
    else:
        await process.trash.release(ADMIN, lying)
    assert await data.process().trash.empty() == 1
    assert await erased(data, lying)
    assert await process.on_agenda(Task.HELD_TRASH) == []


async def test_a_hold_on_one_document_is_none_on_the_others(data: DocumentData) -> None:
    process = data.process()
    held, other, later = [await trashed(process) for _ in range(3)]
    await process.trash.hold(ADMIN, held)
    await process.trash.recover(USER, later)
    data.clock.advance(DAY.total_seconds())
    await process.trash.delete(USER, later, None)
    data.clock.advance(29 * DAY.total_seconds())
    assert await process.trash.empty() == 1
    assert [await erased(data, each) for each in (held, other)] == [False, True]
    data.clock.advance(60)
    assert await process.trash.empty() == 0, "the held one is looked at again in a day"
    await process.trash.recover(USER, held)
    assert await process.content(held) == b"newer"
    assert (await record(data, held)).held, "recovering does not release"
    with pytest.raises(LegalHold):
        await process.trash.delete(USER, held, None)
    data.clock.advance(DAY.total_seconds())
    assert await process.trash.empty() == 1
    assert await erased(data, later)
    assert await process.on_agenda(Task.HELD_TRASH) == []


async def test_holds_are_audited_and_can_be_repeated(data: DocumentData) -> None:
    process = data.process()
    made = await process.create()
    for _ in range(2):
        await process.trash.hold(ADMIN, made.document.id)
    for _ in range(2):
        await process.trash.release(ADMIN, made.document.id)
    assert await actions(data, made.document.id) == [
        "document.create",
        *("document.hold", "document.hold", "document.release", "document.release"),
    ]
    assert (await process.trash.delete(USER, made.document.id, None)).outcome == "trashed"


async def test_a_hold_placed_while_the_trash_is_emptied_is_kept(
    data: DocumentData, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = data.process()
    document = await trashed(process)
    data.clock.advance(ALL.total_seconds())
    real = DocumentRecords.version

    async def held_meanwhile(*arguments: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(DocumentRecords, "version", real)
            await process.trash.hold(ADMIN, document)
        return await real(*arguments)

    monkeypatch.setattr(DocumentRecords, "version", held_meanwhile)
    assert await data.process().trash.empty() == 0
    assert await in_trash(process) == [document]
    assert await process.on_agenda(Task.HELD_TRASH) == [str(HERE)]


async def test_many_are_erased_by_several_processes_at_once(data: DocumentData) -> None:
    process = data.process()
    documents = [await trashed(process) for _ in range(2 * AT_ONCE + 3)]
    data.clock.advance(ALL.total_seconds())
    done = await asyncio.gather(*(data.process().trash.empty() for _ in range(3)))
    assert len(documents) <= sum(done)
    for document in documents:
        assert await erased(data, document)
        assert (await actions(data, document)).count("document.delete") == 1


@pytest.mark.parametrize("kind", [DOCUMENT_KIND, ENTRY_KIND])
async def test_a_process_killed_while_it_empties_the_trash_leaves_the_rest_to_the_next(
    data: DocumentData, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = data.process()
    documents = [await trashed(process) for _ in range(4)]
    data.clock.advance(ALL.total_seconds())
    real = Trash._erase
    done = 0

    async def killed_in_the_middle(*arguments: Any) -> None:
        nonlocal done
        done += 1
        if done > 2:
            data.records.killed_before = kind
        await real(*arguments)

    monkeypatch.setattr(Trash, "_erase", killed_in_the_middle)
    with pytest.raises(KilledError):
        await data.process().trash.empty()
    monkeypatch.undo()
    data.records.killed_before = ""
    assert await process.on_agenda(Task.EMPTY_TRASH) == [str(HERE)]
    await data.process().trash.empty()
    for document in documents:
        assert await erased(data, document)
    assert await process.on_agenda(Task.EMPTY_TRASH) == []


async def test_a_process_killed_before_it_moves_a_document_has_it_on_the_agenda_already(
    data: DocumentData,
) -> None:
    process = data.process()
    made = await process.create()
    data.records.killed_before = DOCUMENT_KIND
    with pytest.raises(KilledError):
        await process.trash.delete(USER, made.document.id, None)
    data.records.killed_before = ""
    fresh = data.process()
    assert await fresh.on_agenda(Task.EMPTY_TRASH) == [str(HERE)]
    data.clock.advance(ALL.total_seconds())
    assert await fresh.trash.empty() == 0
    assert await fresh.content(made.document.id) == b"content"


async def test_a_document_that_cannot_be_erased_now_keeps_the_others_not_from_it(
    data: DocumentData, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = data.process()
    documents = [await trashed(process) for _ in range(3)]
    data.clock.advance(ALL.total_seconds())
    real = Trash._erase

    async def failing(self: Trash, stored: StoredDocument, by: Any) -> None:
        if stored.document.id == documents[1]:
            raise Unavailable("The record store does not respond.")
        await real(self, stored, by)

    with monkeypatch.context() as patch:
        patch.setattr(Trash, "_erase", failing)
        assert await data.process().trash.empty() == 2
    assert [await erased(data, each) for each in documents] == [True, False, True]
    assert await data.process().trash.empty() == 1
    assert await erased(data, documents[1])


async def test_deleting_is_not_refused_because_of_a_replica(data: DocumentData) -> None:
    process = data.process()
    made = await process.create()
    event = process.journal.event(
        EventType.DOCUMENT_SEALED, TENANT, made.document.id, VersionData(version=1)
    )
    reads = 0

    class Interrupted(DocumentRecords):
        async def document(self, tenant: str, document: str) -> StoredDocument:
            nonlocal reads
            reads += 1
            found = await super().document(tenant, document)
            if reads == 1:
                await process.replication.replicate(event)
            return found

    process.trash.store = Interrupted(data.records, process.agenda)
    await process.trash.delete(USER, made.document.id, made.etag)
    assert reads == 2
    found = await record(data, made.document.id)
    assert found.current is not None
    assert [found.current.replica] == await stored(data.replica)


async def test_copies_of_what_is_in_the_trash_are_made_and_repaired(data: DocumentData) -> None:
    process = data.process()
    made = await process.create()
    await process.trash.delete(USER, made.document.id, None)
    about = [
        process.journal.event(kind, TENANT, made.document.id, VersionData(version=1))
        for kind in (EventType.DOCUMENT_SEALED, EventType.DOCUMENT_DAMAGED)
    ]
    await process.replication.replicate(about[0])
    await data.primary.delete(made.version.object)
    await process.replication.repair(about[1])
    found = await record(data, made.document.id)
    assert found.trashed_at is not None
    assert found.current is not None
    assert found.current.object != made.version.object
    assert await stored(data.primary) == [found.current.object]
    await process.trash.recover(USER, made.document.id)
    assert await process.content(made.document.id) == b"content"


async def test_the_sweep_leaves_the_objects_of_what_is_in_the_trash(data: DocumentData) -> None:
    process = data.process()
    document = await trashed(process)
    event = process.journal.event(
        EventType.DOCUMENT_SEALED, TENANT, document, VersionData(version=1)
    )
    await process.replication.replicate(event)
    before = [await stored(data.primary), await stored(data.replica)]
    assert [len(each) for each in before] == [2, 1]
    data.clock.advance(DAY.total_seconds())
    await data.process().sweep.run()
    assert [await stored(data.primary), await stored(data.replica)] == before


async def test_damage_found_while_a_document_is_deleted_is_told(data: DocumentData) -> None:
    process = data.process()
    made = await process.create()
    event = process.journal.event(
        EventType.DOCUMENT_SEALED, TENANT, made.document.id, VersionData(version=1)
    )
    await process.replication.replicate(event)
    found = await process.reader.find(USER, made.document.id)
    await data.primary.delete(found.version.object)
    await process.trash.delete(USER, made.document.id, None)
    opened = await process.reader.open(USER, found, 0, found.version.size)
    assert b"".join([bytes(piece) async for piece in opened]) == b"content"
    assert "document.damage" in await actions(data, made.document.id)


async def test_a_repeated_upload_of_what_was_deleted_since_makes_nothing(
    data: DocumentData,
) -> None:
    process = data.process()
    made = await process.create(used=key())
    await process.trash.delete(USER, made.document.id, None)
    assert await process.create(used=key()) == made, "as it was answered the first time"
    with pytest.raises(NotFound):
        await process.reader.find(USER, made.document.id)
    assert await stored(data.primary) == [made.version.object]
    assert await process.listed() == []
    await process.trash.recover(USER, made.document.id)
    assert await process.create(used=key()) == made


async def test_a_document_of_a_release_without_a_trash_can_be_deleted(data: DocumentData) -> None:
    process = data.process()
    made = await process.create()
    former = made.document.model_dump(mode="json")
    for name in ("trashed_at", "erase_at", "held"):
        del former[name]
    found = await data.records.get(HERE, DOCUMENT_KIND, made.document.id)
    await data.records.commit(
        HERE,
        [
            process.store.replace_document(
                await process.store.document(TENANT, made.document.id),
                Document.model_validate(former),
            )
        ],
    )
    assert found.index == {"state": "live"}
    assert (await process.trash.delete(USER, made.document.id, made.etag)).outcome == "trashed"
    assert await in_trash(process) == [made.document.id]


async def test_another_tenant_reaches_nothing_in_the_trash(data: DocumentData) -> None:
    process = data.process()
    document = await trashed(process)
    other = Principal("ten_" + "1" * 26, "usr_" + "0" * 26, (Role.ADMINISTRATOR,))
    for attempt in (
        process.trash.delete(other, document, None),
        process.trash.delete(other, document, None, erase=True),
        process.trash.recover(other, document),
        process.trash.hold(other, document),
        process.trash.release(other, document),
    ):
        with pytest.raises(NotFound):
            await attempt
    page = await process.reader.page(other, limit=10, cursor=None, trashed=True)
    assert page.items == []
    assert await in_trash(process) == [document]
