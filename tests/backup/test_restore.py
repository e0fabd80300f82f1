"""Restores: everything, one document, one version, into another tenant; and what they leave alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.backup.state import LOCATION_KIND
from shared.base.errors import Forbidden, NotFound
from shared.base.partitions import OPERATOR, Partition
from shared.identity.accounts import USER_KIND, USERNAME_KIND
from shared.identity.reservations import username_id
from shared.journal.agenda import Task
from shared.ports.records import Create, Record
from shared.restore.service import RestoreRequest
from tests.support.app import open_app
from tests.support.backups import BackedUp, lose
from tests.support.records import find_records

pytestmark = pytest.mark.anyio

LATER = datetime(9999, 1, 1, tzinfo=UTC)


async def filled(backed_up: BackedUp) -> list[str]:
    """Five documents, one with three versions, one in the trash, one erased; all in a set."""
    documents = [await backed_up.upload(b"first %d" % n, f"paper {n}.txt") for n in range(5)]
    await backed_up.back_up()
    await backed_up.update(documents[0], b"second")
    await backed_up.update(documents[0], b"third")
    await backed_up.app.http.delete(f"documents/{documents[1]}", headers=backed_up.auth)
    await backed_up.erase(documents[2])
    await backed_up.back_up()
    return documents


async def test_after_total_loss_everything_is_as_it_was(
    backed_up: BackedUp, tmp_path: Path
) -> None:
    app, data = backed_up.app, tmp_path / "data"
    await app.user(backed_up.tenant, "ada", Role.MEMBER)
    documents = await filled(backed_up)
    beta = await app.tenant("beta")
    other = BackedUp(app, beta, await app.auth(beta))
    await other.upload(b"of another tenant")
    await other.back_up()
    await other.back_up()
    before = {each.tenant: await each.documents() for each in (backed_up, other)}
    entries: dict[str, list[dict[str, Any]]] = {}
    for tenant in (backed_up.tenant, beta, OPERATOR):
        made_at = (await backed_up.sets(tenant))[-1].made_at
        entries[tenant] = [
            each
            for each in await app.entries(tenant)
            if datetime.fromisoformat(each["entry"]["time"]) < made_at
        ]
    users = {name: await app.found(backed_up.tenant, name) for name in ("admin", "ada")}
    await app.services.close()

    lose(data)
    async with open_app(data, app.clock) as again:
        reported: list[str] = []
        outcomes = await again.services.backups.whole.restore(
            None, lambda each: reported.append(each.tenant)
        )
        assert reported == [OPERATOR, backed_up.tenant, beta]
        assert [each.outcome.problems for each in outcomes] == [[], [], []]
        await again.settle()
        for tenant, slug in ((backed_up.tenant, "alpha"), (beta, "beta")):
            assert await again.services.tenants.resolve(slug) == tenant
            restored = BackedUp(again, tenant, await again.auth(tenant))
            assert await restored.documents() == before[tenant]
        for name, user in users.items():
            assert (await again.found(backed_up.tenant, name)).value == user.value
        for tenant, logged in entries.items():
            assert logged
            now = {each["entry"]["id"]: each for each in await again.entries(tenant)}
            assert [now.get(each["entry"]["id"]) for each in logged] == logged
        mine = BackedUp(again, backed_up.tenant, await again.auth(backed_up.tenant))
        report = await again.http.get("backups/report", headers=mine.auth)
        assert report.status_code == 200, report.text
        trash = await again.http.get("documents?state=trash", headers=mine.auth)
        assert [item["id"] for item in trash.json()["items"]] == [documents[1]]
        assert report.json()["restored_at"] is not None
        drills = [
            item async for item in again.services.backups.drills.agenda.due(Task.DRILL, LATER)
        ]
        partitions = {Partition.parse(item.value.partition).tenant for item in drills}
        assert partitions == {OPERATOR, backed_up.tenant, beta}
        # The chain of sets goes on, and no content is written twice.
        await mine.back_up()
        newest = await mine.newest()
        last = (await mine.sets())[-2]
        assert newest.sequence == last.sequence + 1
        assert newest.counts.versions == last.counts.versions


async def test_what_exists_is_left_alone(backed_up: BackedUp) -> None:
    documents = await filled(backed_up)
    before = await backed_up.documents()
    job = await backed_up.restore()
    assert (job.state, job.plan.versions, job.progress.restored) == ("done", 0, 0)
    assert await backed_up.documents() == before
    assert documents[2] not in before


async def test_lost_objects_are_put_back(backed_up: BackedUp, tmp_path: Path) -> None:
    await filled(backed_up)
    before = await backed_up.documents()
    lose(tmp_path / "data", records=False)
    job = await backed_up.restore()
    assert job.problems == ()
    assert job.progress.versions == job.plan.versions == 6
    assert await backed_up.documents() == before
    assert await backed_up.back_up() == 1
    version = await backed_up.app.version(backed_up.tenant, next(iter(before)))
    assert version.replica is not None


async def test_a_document_of_an_earlier_time_becomes_a_new_version(backed_up: BackedUp) -> None:
    document = await backed_up.upload(b"as it was")
    await backed_up.back_up()
    first = (await backed_up.newest()).id
    await backed_up.update(document, b"a mistake")
    await backed_up.back_up()

    left = await backed_up.restore(set=first, document=document)
    assert [problem.problem for problem in left.problems] == ["newer"]
    assert await backed_up.content(document) == b"a mistake"

    for _ in range(2):  # a repetition finds that it was done
        await backed_up.restore(set=first, document=document, overwrite=True)
        versions = (await backed_up.documents())[document][1]
        assert versions == [b"as it was", b"a mistake", b"as it was"]

    await backed_up.restore(document=document, version=2)
    assert await backed_up.content(document) == b"a mistake"


async def test_a_document_comes_back_from_the_trash(backed_up: BackedUp) -> None:
    documents = await filled(backed_up)
    first = (await backed_up.sets())[0].id
    await backed_up.restore(set=first, document=documents[1])
    assert await backed_up.content(documents[1]) == b"first 1"


async def test_an_erased_document_stays_erased(backed_up: BackedUp) -> None:
    documents = await filled(backed_up)
    first = (await backed_up.sets())[0].id
    job = await backed_up.restore(set=first, document=documents[2])
    assert {problem.problem for problem in job.problems} == {"erased"}
    assert documents[2] not in await backed_up.documents()


async def test_a_tenant_is_copied_into_another(backed_up: BackedUp) -> None:
    documents = await filled(backed_up)
    app = backed_up.app
    await app.user(backed_up.tenant, "ada", Role.MEMBER)
    await backed_up.back_up()
    before = await backed_up.documents()
    into = await app.tenant("copy")
    operator = Principal(OPERATOR, "usr_operator", (Role.OPERATOR,))
    restores = backed_up.backups.restores
    planned = await restores.plan(operator, RestoreRequest(backed_up.tenant, into=into))
    assert planned.plan.versions == (await backed_up.newest()).counts.versions
    await restores.start(operator, planned.id)
    for _ in range(2):
        await backed_up.backups.restore_timer.run()
    copy = BackedUp(app, into, await app.auth(into))
    assert await copy.documents() == before
    assert documents[1] not in before
    ada = (await app.found(into, "ada")).value
    assert ada.tenant == into
    assert "user.create" in await app.actions(into, ada.id)
    assert (await restores.read(operator, planned.id)).state == "done"


async def test_a_user_whose_name_is_taken_in_a_former_form_is_not_copied(
    backed_up: BackedUp,
) -> None:
    app = backed_up.app
    for username in ("jos\u00e9", "ada"):
        await app.user(backed_up.tenant, username, Role.MEMBER)
    await backed_up.back_up()
    into = await app.tenant("copy")
    taken = {"user": (await app.found(into, "admin")).value.id}
    former = Record(Partition(into), USERNAME_KIND, username_id("jose\u0301"), taken)
    await app.services.adapters.records.commit(former.partition, [Create(former)])
    operator = Principal(OPERATOR, "usr_operator", (Role.OPERATOR,))
    restores = backed_up.backups.restores
    planned = await restores.plan(operator, RestoreRequest(backed_up.tenant, into=into))
    await restores.start(operator, planned.id)
    for _ in range(2):
        await backed_up.backups.restore_timer.run()
    names = {record.body["username"] for record in find_records(app.data, USER_KIND, tenant=into)}
    assert names == {"admin", "ada"}


async def test_others_cannot_restore(backed_up: BackedUp) -> None:
    beta = await backed_up.app.tenant("beta")
    stranger = Principal(beta, "usr_administrator", (Role.ADMINISTRATOR,))
    await backed_up.upload(b"content")
    await backed_up.back_up()
    restores = backed_up.backups.restores
    for request in (
        RestoreRequest(tenant=backed_up.tenant),
        RestoreRequest(into=backed_up.tenant),
    ):
        with pytest.raises(Forbidden):
            await restores.plan(stranger, request)
    with pytest.raises(NotFound):
        await restores.plan(stranger, RestoreRequest(set=(await backed_up.newest()).id))


async def test_a_version_that_was_never_good_leaves_a_gap(
    backed_up: BackedUp, tmp_path: Path
) -> None:
    document = await backed_up.upload(b"lost before it was backed up")
    await backed_up.app.settle()
    lose(tmp_path / "data", records=False)
    await backed_up.update(document, b"kept")
    await backed_up.back_up()
    manifest = await backed_up.newest()
    assert manifest.counts.versions == 1
    await backed_up.back_up()
    clock = backed_up.app.clock
    await backed_up.app.services.close()
    lose(tmp_path / "data")
    async with open_app(tmp_path / "data", clock) as app:
        await app.services.backups.whole.restore(None, lambda _: None)
        restored = BackedUp(app, backed_up.tenant, await app.auth(backed_up.tenant))
        path = f"documents/{document}/versions"
        listed = (await app.http.get(path, headers=restored.auth)).json()["items"]
        assert [item["version"] for item in listed] == [2]
        assert await restored.content(document) == b"kept"
        await restored.erase(document)


async def test_another_history_is_not_continued(backed_up: BackedUp) -> None:
    """After going back in time, a newer set has versions that follow one of the same number."""
    document = await backed_up.upload(b"first")
    await backed_up.back_up()
    early = (await backed_up.newest()).made_at
    await backed_up.update(document, b"second, then lost")
    await backed_up.update(document, b"third, then lost")
    await backed_up.back_up()
    late = (await backed_up.newest()).id
    clock, data = backed_up.app.clock, backed_up.app.data
    await backed_up.app.services.close()
    lose(data)
    async with open_app(data, clock) as app:
        await app.services.backups.whole.restore(early + timedelta(seconds=1), lambda _: None)
        again = BackedUp(app, backed_up.tenant, await app.auth(backed_up.tenant))
        assert await again.content(document) == b"first"
        await again.update(document, b"another second")

        left = await again.restore(set=late, document=document)
        assert [each.problem for each in left.problems] == ["newer"]
        assert await again.content(document) == b"another second"
        await again.restore(set=late, document=document, overwrite=True)
        versions = (await again.documents())[document][1]
        assert versions == [b"first", b"another second", b"third, then lost"]


async def test_a_restore_says_nothing_of_where_an_erased_document_lay(backed_up: BackedUp) -> None:
    documents = await filled(backed_up)
    first = (await backed_up.sets())[0].id
    await backed_up.restore(set=first)
    locations = [record.id for record in find_records(backed_up.app.data, LOCATION_KIND)]
    assert not [each for each in locations if each.startswith(documents[2])]
    assert [each for each in locations if each.startswith(documents[0])]


async def test_a_version_comes_back_out_of_the_trash(backed_up: BackedUp) -> None:
    document = await backed_up.upload(b"content")
    await backed_up.back_up()
    path = f"documents/{document}"
    await backed_up.app.http.delete(path, headers=backed_up.auth)
    await backed_up.restore(document=document, version=1)
    assert (await backed_up.documents())[document][1] == [b"content", b"content"]
