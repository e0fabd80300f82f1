"""Failures: retried in a growing rhythm for days, reported after a week, forgotten once all is well."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.base.errors import Forbidden, NotFound, Unavailable
from shared.base.partitions import MAIN, Partition, month_of
from shared.journal.agenda import Task
from shared.ports.records import Create
from shared.targets.health import pause_after
from shared.targets.models import LONGEST_PAUSE
from shared.targets.requests import TargetChange
from shared.targets.store import TargetKey
from tests.support.audit import entries as entries_of
from tests.support.documents import stored
from tests.support.keys import TENANT
from tests.support.targets import (
    ADMINISTRATOR,
    CREDENTIALS,
    TargetData,
    TargetProcess,
    new_target,
)

pytestmark = pytest.mark.anyio

DOWN = Unavailable("The target does not respond.")
REFUSED = Forbidden("The credentials do not allow this.")


async def entries(process: TargetProcess, resource: str) -> list[tuple[str, str, str]]:
    """What the audit log has of a target or a document: action, outcome, reason; oldest first."""
    audit = process.documents.audit
    part = MAIN if resource.startswith("tgt_") else month_of(resource)
    await audit.log.append_pending(Partition(TENANT, part))
    page = await entries_of(audit.reader, ADMINISTRATOR, resource=resource, limit=200)
    return [
        (item.entry.action.value, item.entry.outcome, item.entry.reason)
        for item in reversed(page.items)
        if item.entry.action.value.startswith("target.")
    ]


async def pass_hours(
    data: TargetData, process: TargetProcess, hours: float, minutes: float = 20
) -> None:
    """Let the timer run every few minutes for a while."""
    for _ in range(int(hours * 60 / minutes)):
        await data.work(process, minutes)


def test_the_pauses_double_from_a_minute_to_six_hours() -> None:
    pauses = [pause_after(attempts) for attempts in range(2_000)]
    assert pauses[:4] == [timedelta(minutes=number) for number in (1, 2, 4, 8)]
    assert set(pauses[9:]) == {timedelta(hours=6)} == {LONGEST_PAUSE}
    assert pauses == sorted(pauses)


async def test_a_target_that_is_down_is_left_alone_for_growing_pauses(data: TargetData) -> None:
    process = data.start()
    target = await process.set_up()
    for number in range(6):
        await process.documents.create(b"%d" % number)
    with data.outage("connect", DOWN):
        opened = len(data.connector.opened)
        await data.work(process)
        assert len(data.connector.opened) == opened + 1
        first = await process.status(target)
        assert first.attempts == 1
        assert first.next_at == data.clock.now() + timedelta(minutes=1)
        assert (await process.described(target)).lag.waiting == 6
        data.clock.advance(59)
        await process.services.timer.run()
        assert len(data.connector.opened) == opened + 1
        await pass_hours(data, process, 12)
        tried = len(data.connector.opened) - opened
    assert 8 < tried < 14
    status = await process.status(target)
    assert status.last_error == "unavailable"
    assert status.failed_since == first.failed_since
    await pass_hours(data, process, 6.5)
    assert (await process.described(target)).lag.waiting == 0
    assert len(data.objects()) == 13
    status = await process.status(target)
    assert (status.attempts, status.failed_since, status.next_at) == (0, None, None)


async def test_one_failure_ends_the_turn_so_that_a_thousand_copies_cost_one_try(
    data: TargetData,
) -> None:
    process = data.start()
    await process.set_up()
    for number in range(30):
        await process.documents.create(b"%d" % number)
    with data.outage("write", REFUSED):
        await data.work(process)
    assert len([copy for copy in await data.waiting() if copy.attempts]) <= 4


async def test_a_target_that_fails_for_a_week_is_reported_once_and_is_well_again(
    data: TargetData, caplog: pytest.LogCaptureFixture
) -> None:
    process = data.start()
    target = await process.set_up()
    made = await process.documents.create(b"waits for a week")
    with data.outage("connect", DOWN):
        await pass_hours(data, process, 6 * 24)
        assert (await process.described(target)).target.state == "active"
        assert "target.failed" not in caplog.text
        await pass_hours(data, process, 36)
        assert (await process.described(target)).target.state == "failing"
        await pass_hours(data, process, 48)
        lag = (await process.described(target)).lag
        assert lag.since is not None
        assert data.clock.now() - lag.since > timedelta(days=9)
    assert caplog.text.count(f"target.failed {target.id}: unavailable") == 1
    assert f"target.late {target.id}" in caplog.text
    assert await entries(process, made.document.id) == []
    await pass_hours(data, process, 6.5)
    described = await process.described(target)
    assert (described.target.state, described.lag.waiting) == ("active", 0)
    done = [entry for entry in await entries(process, target.id) if entry[0] != "target.read"]
    assert done == [
        ("target.create", "allowed", ""),
        ("target.fail", "failed", "unavailable"),
        ("target.change", "allowed", ""),
    ]


async def test_one_object_that_a_target_does_not_take_does_not_hold_up_the_others(
    data: TargetData, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = data.start()
    target = await process.set_up()
    made = [await process.documents.create(b"%d" % number) for number in range(8)]
    store = data.connector.open(TENANT, new_target().address, CREDENTIALS)
    put = type(store).put

    async def picky(self: object, name: str, *content: object) -> None:
        if made[0].document.id in name:
            raise Unavailable("The target does not respond.")
        await put(self, name, *content)  # type: ignore[arg-type]

    monkeypatch.setattr(type(store), "put", picky)
    await pass_hours(data, process, 10 * 24, minutes=60)
    lag = (await process.described(target)).lag
    assert lag.waiting == 1
    assert len([name for name in data.objects() if name.startswith("keys/")]) == 7


async def test_an_object_that_cannot_be_deleted_is_reported_and_the_others_are_copied(
    data: TargetData, caplog: pytest.LogCaptureFixture
) -> None:
    process = data.start()
    target = await process.set_up()
    gone = await process.documents.create(b"protected there by its owner")
    await data.work(process)
    await process.documents.erase(gone.document.id)
    with data.outage("delete", REFUSED):
        await data.work(process)
        kept = await process.documents.create(b"another")
        await data.work(process)
        assert [name for name in data.objects() if kept.document.id in name]
        assert (await process.status(target)).attempts == 0
        await pass_hours(data, process, 8 * 24, minutes=60)
    assert (await process.described(target)).target.state == "active"
    assert ("target.fail", "failed", "forbidden") in await entries(process, gone.document.id)
    assert caplog.text.count(f"target.failed {target.id} {gone.document.id}: forbidden") == 1
    await pass_hours(data, process, 7)
    assert not [name for name in data.objects() if gone.document.id in name]


async def test_the_service_does_not_blame_a_target_for_its_own_outage(
    data: TargetData, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = data.start()
    target = await process.set_up()
    await process.documents.create(b"content")

    async def silent(*_: object, **__: object) -> None:
        raise Unavailable("The store does not respond.")

    with monkeypatch.context() as down:
        down.setattr(type(process.services.timer.turns.copier), "_send", silent)
        await data.work(process)
        await data.work(process)
    status = await process.status(target)
    assert (status.attempts, status.last_error) == (0, "")
    assert [copy.attempts for copy in await data.waiting()] == [0]
    await data.work(process)
    assert await data.waiting() == []


async def test_a_probe_that_succeeds_ends_the_pause(data: TargetData) -> None:
    process = data.start()
    target = await process.set_up()
    await process.documents.create(b"content")
    with data.outage("connect", DOWN):
        await pass_hours(data, process, 8 * 24, minutes=60)
    described = await process.services.targets.probe(ADMINISTRATOR, target.id)
    assert described.target.state == "active"
    assert [step.step for step in described.steps if step.ok] == [
        *("resolve", "connect", "tls", "write", "read", "delete")
    ]
    await data.work(process)
    assert await data.waiting() == []


async def test_new_credentials_end_the_pause(data: TargetData) -> None:
    process = data.start()
    target = await process.set_up()
    await process.documents.create(b"content")
    with data.outage("write", REFUSED):
        await pass_hours(data, process, 8 * 24, minutes=60)
    changed = await process.services.targets.change(
        ADMINISTRATOR, target.id, TargetChange(credentials=CREDENTIALS), None
    )
    assert changed.target.state == "active"
    await data.work(process)
    assert await data.waiting() == []


async def test_what_happens_during_a_pause_is_made_up_for(data: TargetData) -> None:
    process = data.start()
    target = await process.set_up()
    gone = await process.documents.create(b"gone")
    await data.work(process)
    await process.services.targets.change(ADMINISTRATOR, target.id, TargetChange(paused=True), None)
    made = []
    for month in (2, 3):
        data.at(2026, month)
        made.append(await process.documents.create(b"content"))
        await data.work(process)
    await process.documents.erase(gone.document.id)
    await data.work(process)
    assert len(data.objects()) == 3
    assert (await process.described(target)).lag.waiting == 3
    assert await process.documents.on_agenda(Task.COPY_TO_TARGETS) == []
    await process.services.targets.change(
        ADMINISTRATOR, target.id, TargetChange(paused=False), None
    )
    await data.work(process)
    assert await data.waiting() == []
    names = "\n".join(data.objects())
    assert all(each.document.id in names for each in made)
    assert gone.document.id not in names


async def test_a_target_whose_place_holds_something_else_gets_nothing(data: TargetData) -> None:
    process = data.start()
    target = await process.set_up()
    del data.connector.buckets["copies"]["strongroom/strongroom.json"]
    await process.documents.create(b"content")
    await data.work(process)
    assert data.objects() == {}
    assert (await process.status(target)).last_error == "target-changed"


async def test_deleting_a_target_forgets_what_waits_and_leaves_its_copies(
    data: TargetData,
) -> None:
    process = data.start()
    target = await process.set_up()
    await process.documents.create(b"copied")
    await data.work(process)
    with data.outage("connect", DOWN):
        await process.documents.create(b"waits")
        await data.work(process)
    copied = data.objects()
    await process.services.targets.delete(ADMINISTRATOR, target.id)
    await pass_hours(data, process, 1)
    assert await data.waiting() == []
    assert data.objects() == copied
    assert await process.documents.on_agenda(Task.COPY_TO_TARGETS) == []
    with pytest.raises(NotFound):
        await process.described(target)
    assert await stored(data.primary)


async def test_a_late_target_is_logged_with_the_age_of_what_waits_longest(
    data: TargetData, caplog: pytest.LogCaptureFixture
) -> None:
    process = data.start()
    target = await process.set_up()
    await process.documents.create(b"content")
    caplog.set_level(logging.WARNING)
    with data.outage("connect", DOWN):
        await pass_hours(data, process, 0.25, minutes=5)
        assert "target.late" not in caplog.text
        await pass_hours(data, process, 0.5, minutes=5)
    assert f"target.late {target.id}, " in caplog.text


async def test_no_secret_is_logged(data: TargetData, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    process = data.start()
    await process.set_up()
    await process.documents.create(b"content")
    with data.outage("connect", DOWN):
        await pass_hours(data, process, 8 * 24, minutes=60)
    for secret in (CREDENTIALS.access_key_id, CREDENTIALS.secret_access_key):
        assert secret is not None
        assert secret.get_secret_value() not in caplog.text
    assert "copies" not in caplog.text


async def test_a_target_of_nobody_is_forgotten(data: TargetData) -> None:
    process = data.start()
    nobody = TargetKey(TENANT, "tgt_" + "0" * 26)
    await process.services.targets.store.prepare(nobody)
    data.clock.advance(120)
    assert await process.services.timer.run() == 1
    assert await process.documents.on_agenda(Task.COPY_TO_TARGETS) == []


async def test_a_deleted_target_that_a_restore_brings_back_gets_nothing(data: TargetData) -> None:
    process = data.start()
    target = await process.set_up()
    stored_target = await process.services.targets.store.find(target)
    assert stored_target is not None
    await process.services.targets.delete(ADMINISTRATOR, target.id)
    record = stored_target.record
    await data.records.commit(target.partition, [Create(replace(record, etag=""))])
    await process.documents.create(b"content")
    await pass_hours(data, process, 1)
    assert data.objects().keys() == {"strongroom.json"}
    assert await data.waiting() == []
    assert (await process.services.targets.all(ADMINISTRATOR)).items == []
    with pytest.raises(NotFound):
        await process.described(target)
    with pytest.raises(NotFound):
        await process.services.targets.change(
            ADMINISTRATOR, target.id, TargetChange(paused=False), None
        )


async def test_after_a_restore_without_agenda_what_waits_is_found_again(data: TargetData) -> None:
    process = data.start()
    await process.set_up()
    await process.documents.create(b"content")
    await data.note(process)
    agenda = process.documents.agenda
    data.clock.advance(3_600)
    items = [item async for item in agenda.due(Task.COPY_TO_TARGETS)]
    await agenda.remove(Task.COPY_TO_TARGETS, items)
    await data.work(process)
    assert len(await data.waiting()) == 1
    await process.services.queue.look_again(TENANT)
    await data.work(process)
    assert await data.waiting() == []
