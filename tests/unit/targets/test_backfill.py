"""The documents that were there before a target: all of them, page by page, wherever a process ends."""

from __future__ import annotations

import pytest

from shared.documents.models import Description
from shared.documents.reading import content_etag
from shared.targets import backfill
from shared.targets.store import TargetKey
from tests.support.documents import ADMIN, USER, stream
from tests.support.keys import KilledError
from tests.support.targets import TargetData, TargetProcess, new_target

pytestmark = pytest.mark.anyio


async def fill(data: TargetData, process: TargetProcess) -> set[str]:
    """Documents of three months, one of them with two versions, one in the trash, one erased."""
    names = set()
    for month in (1, 2, 3):
        data.at(2026, month)
        for number in range(3):
            made = await process.documents.create(b"%d" % number)
            names.add(f"{made.document.id}/1.{made.version.tag}")
    followed = content_etag(made.document.id, made.version)
    second = await process.documents.documents.update(
        USER, made.document.id, followed, Description(name="b"), stream(b"two"), None
    )
    names.add(f"{made.document.id}/2.{second.version.tag}")
    trashed = await process.documents.create(b"in the trash")
    await process.documents.trash.delete(ADMIN, trashed.document.id, None)
    names.add(f"{trashed.document.id}/1.{trashed.version.tag}")
    erased = await process.documents.create(b"erased")
    await process.documents.erase(erased.document.id)
    await data.note(process)
    return names


def copied(data: TargetData) -> set[str]:
    return {name.removeprefix("content/") for name in data.objects() if name.startswith("content/")}


async def test_all_versions_of_all_months_are_copied(
    data: TargetData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "PAGE", 2)
    process = data.start()
    names = await fill(data, process)
    target = await process.create()
    assert not (await process.status(target)).backfilled
    await data.work(process)
    assert copied(data) == names
    assert len([name for name in data.objects() if name.startswith("keys/")]) == len(names)
    assert (await process.status(target)).backfilled
    assert await data.waiting() == []


async def test_the_walk_waits_for_what_it_has_let_wait(
    data: TargetData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many documents there are, few records say that they wait."""
    monkeypatch.setattr(backfill, "PAGE", 2)
    process = data.start()
    await fill(data, process)
    await process.create()
    most = 0
    put = type(process.services.timer.turns.store).put_waiting

    async def counted(*arguments: object, **named: object) -> None:
        nonlocal most
        await put(*arguments, **named)  # type: ignore[arg-type]
        most = max(most, len(await data.waiting()))

    monkeypatch.setattr(type(process.services.timer.turns.store), "put_waiting", counted)
    await data.work(process)
    assert 0 < most <= 4


@pytest.mark.parametrize("kind", ["target-copy", "target-status", "agenda-copy-to-targets"])
async def test_a_walk_that_was_killed_goes_on(
    data: TargetData, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(backfill, "PAGE", 2)
    process = data.start()
    names = await fill(data, process)
    target = await process.create()
    await data.note(process)
    data.clock.advance(120)
    data.records.killed_before = kind
    try:
        await data.start().services.timer.run()
    except KilledError:
        pass
    else:
        assert KilledError.__qualname__ in caplog.text
    data.records.killed_before = ""
    assert copied(data) != names
    await data.work(data.start())
    assert copied(data) == names
    assert (await process.status(target)).backfilled


async def test_a_target_that_fails_meanwhile_gets_the_rest_later(
    data: TargetData, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.base.errors import Unavailable

    monkeypatch.setattr(backfill, "PAGE", 2)
    process = data.start()
    names = await fill(data, process)
    target = await process.create()
    with data.outage("write", Unavailable("The target does not respond.")):
        for _ in range(30):
            await data.work(process, 60)
    assert copied(data) == set()
    assert not (await process.status(target)).backfilled
    await data.work(process, 361)
    assert copied(data) == names


async def test_a_tenant_without_documents_is_done_at_once(data: TargetData) -> None:
    process = data.start()
    target = await process.set_up()
    assert isinstance(target, TargetKey)
    assert data.objects().keys() == {"strongroom.json"}


async def test_a_second_target_walks_by_itself(data: TargetData) -> None:
    process = data.start()
    names = await fill(data, process)
    await process.set_up()
    before = data.objects()
    await process.set_up(new_target("second"))
    assert data.objects() == before
    second = {name for name in data.objects("second") if name.startswith("content/")}
    assert second == {f"content/{name}" for name in names}
