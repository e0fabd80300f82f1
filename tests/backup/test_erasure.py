"""Erasing reaches the backups: afterwards nothing there opens the contents or the names."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.embedded.records import SqliteRecords
from shared.backup.packs import Packed, Packs
from shared.backup.snapshot import Snapshot
from shared.base.concurrency import BoundedTasks
from shared.base.models import encode
from shared.documents.models import Version
from shared.ports.records import Changes
from tests.support.backups import BackedUp
from tests.support.keys import KilledError

pytestmark = pytest.mark.anyio


def every_byte(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file of the backups, whatever it is for."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path, path.read_bytes()


async def everything_readable(backed_up: BackedUp) -> Iterator[bytes]:
    """Every file of the backups, and every record that a holder of all keys reads from any set."""
    found = [content for _, content in every_byte(backed_up.app.data / "backup")]
    for manifest in await backed_up.sets():
        snapshot: Snapshot = await backed_up.backups.snapshots.open(backed_up.tenant, manifest.id)
        for part in manifest.parts:
            state = await snapshot.part(part.part)
            found += [line.to_json() for line in state.lines.values()]
    return iter(found)


def secrets_of(version: Version) -> list[bytes]:
    """What could open a version or its names, in the forms in which it could be written."""
    both = (version.wrapped_key, version.names)
    return [*both, *(encode(each).encode() for each in both)]


async def test_after_erasing_nothing_in_any_set_opens_the_document(backed_up: BackedUp) -> None:
    document = await backed_up.upload(b"to be erased", "secret name.txt")
    await backed_up.update(document, b"to be erased as well")
    kept = await backed_up.upload(b"to be kept")
    await backed_up.back_up()
    versions = [await backed_up.app.version(backed_up.tenant, document, n) for n in (1, 2)]
    other = await backed_up.app.version(backed_up.tenant, kept)
    before = list(await everything_readable(backed_up))
    for version in (*versions, other):
        # The search finds what is there: in a key page, and in no set.
        assert sum(encode(version.wrapped_key).encode() in each for each in before) == 1

    await backed_up.erase(document)
    await backed_up.back_up()
    after = list(await everything_readable(backed_up))
    for version in versions:
        for secret in secrets_of(version):
            assert not any(secret in each for each in after)
    assert any(encode(other.wrapped_key).encode() in each for each in after)


async def test_a_document_that_is_erased_while_its_set_is_made_is_forgotten_by_the_next(
    backed_up: BackedUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = await backed_up.upload(b"to be erased")
    version = await backed_up.app.version(backed_up.tenant, document)
    pages = backed_up.backups.pages
    write = type(pages).write

    async def erased_meanwhile(*arguments: object) -> None:
        if arguments[1] == backed_up.tenant:
            await backed_up.erase(document)
        await write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(type(pages), "write", erased_meanwhile)
    await backed_up.back_up()
    monkeypatch.undo()
    await backed_up.back_up()
    after = list(await everything_readable(backed_up))
    for secret in secrets_of(version):
        assert not any(secret in each for each in after)


async def test_a_document_that_is_erased_while_its_pack_is_written_leaves_no_key(
    backed_up: BackedUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = await backed_up.upload(b"to be erased")
    version = await backed_up.app.version(backed_up.tenant, document)
    began, erased, waited_for = asyncio.Event(), asyncio.Event(), asyncio.Event()
    write, changes = Packs.write, SqliteRecords.changes
    start, finish = BoundedTasks.start, BoundedTasks.finish

    async def start_as_seen(*arguments: Any) -> None:
        await start(*arguments)
        began.set()

    async def erased_meanwhile(*arguments: Any) -> Packed:
        packed = await write(*arguments)
        await backed_up.erase(document)
        erased.set()
        await waited_for.wait()
        return packed

    async def one_by_one(*arguments: Any, after: str | None = None) -> Changes:
        if began.is_set():
            await erased.wait()
        return await changes(*arguments, after=after, limit=1)

    async def finish_as_seen(tasks: BoundedTasks) -> None:
        waited_for.set()
        await finish(tasks)

    monkeypatch.setattr("shared.backup.contents.MAX_CONTENTS", 1)
    monkeypatch.setattr(Packs, "write", erased_meanwhile)
    monkeypatch.setattr(BoundedTasks, "start", start_as_seen)
    monkeypatch.setattr(BoundedTasks, "finish", finish_as_seen)
    monkeypatch.setattr(SqliteRecords, "changes", one_by_one)
    manifest = await backed_up.backups.sets.make(backed_up.tenant, [])
    assert manifest is not None
    after = list(await everything_readable(backed_up))
    for secret in secrets_of(version):
        assert not any(secret in each for each in after)


async def test_an_attempt_that_died_after_its_key_page_leaves_no_key(
    backed_up: BackedUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = await backed_up.upload(b"to be erased")
    version = await backed_up.app.version(backed_up.tenant, document)
    pages = backed_up.backups.pages
    write = type(pages).write

    async def killed_after(*arguments: object) -> None:
        await write(*arguments)  # type: ignore[arg-type]
        raise KilledError

    monkeypatch.setattr(type(pages), "write", killed_after)
    with pytest.raises(KilledError):
        await backed_up.backups.sets.make(backed_up.tenant, [])
    monkeypatch.undo()
    assert any(
        encode(version.wrapped_key).encode() in content
        for _, content in every_byte(backed_up.app.data / "backup" / "keys")
    )
    await backed_up.erase(document)
    backed_up.app.clock.advance(3_600)
    await backed_up.back_up()
    after = list(await everything_readable(backed_up))
    for secret in secrets_of(version):
        assert not any(secret in each for each in after)
