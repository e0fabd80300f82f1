"""Grants of staff in backups: they are the operator's, and none comes back to life."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.backup.models import Manifest
from shared.backup.scope import is_kept
from shared.base.partitions import OPERATOR, Partition
from shared.grants.models import GRANT_KIND
from shared.grants.timer import GrantTimer
from shared.journal.journal import COPIED_KIND
from shared.journal.months import GRANT_MONTHS
from tests.support.app import App, grant_request, open_app
from tests.support.backups import BackedUp, lose

pytestmark = pytest.mark.anyio


async def employees(app: App) -> None:
    operator = Principal(OPERATOR, "usr_furnisher", ())
    for role in (Role.SUPPORT, Role.OPERATOR):
        await app.services.accounts.create(operator, role.value, (role,), None)


async def kinds(backed_up: BackedUp, manifest: Manifest) -> set[tuple[str, str]]:
    """The kinds and ids of all records of a set."""
    snapshot = await backed_up.backups.snapshots.open(manifest.tenant, manifest.id)
    return {line for part in manifest.parts for line in (await snapshot.part(part.part)).lines}


def test_what_is_kept_of_grants() -> None:
    assert all(map(is_kept, (GRANT_KIND, GRANT_MONTHS, COPIED_KIND)))


async def test_grants_are_in_the_operators_sets_and_in_no_tenants(backed_up: BackedUp) -> None:
    app = backed_up.app
    await employees(app)
    grant = await app.grant(backed_up.tenant, await backed_up.upload(b"content"))
    await backed_up.back_up()
    [first] = await backed_up.sets(OPERATOR)
    assert (GRANT_KIND, grant) in await kinds(backed_up, first)
    for manifest in await backed_up.sets():
        assert GRANT_KIND not in {kind for kind, _ in await kinds(backed_up, manifest)}


async def test_a_first_set_has_the_grants_of_all_months(backed_up: BackedUp) -> None:
    app = backed_up.app
    await employees(app)
    document = await backed_up.upload(b"content")
    made = []
    for _ in range(3):
        made.append(await app.grant(backed_up.tenant, document))
        app.clock.advance(40 * 86_400)
    await backed_up.back_up()  # makes the operator's key
    states = backed_up.backups.sets._states
    stored = await states.get(Partition(OPERATOR), "state")
    await app.services.adapters.records.commit(Partition(OPERATOR), [states.delete(stored)])
    manifest = await backed_up.backups.sets.make(OPERATOR, [])
    assert manifest is not None
    found = await kinds(backed_up, manifest)
    assert {(GRANT_KIND, grant) for grant in made} <= found


async def test_a_restore_of_a_tenant_brings_no_grant_back(backed_up: BackedUp) -> None:
    app = backed_up.app
    await employees(app)
    grant = await app.grant(backed_up.tenant, document := await backed_up.upload(b"content"))
    await backed_up.back_up()
    ended = await app.http.delete(f"grants/{grant}", headers=backed_up.auth)
    assert ended.json()["state"] == "ended"
    job = await backed_up.restore(set=(await backed_up.newest()).id)
    assert job.outcome.problem_count == 0
    auth = await app.auth(OPERATOR, "support")
    path = f"staff-grants/{grant}/documents/{document}"
    assert (await app.http.get(path, headers=auth)).status_code == 403
    shown = await app.http.get(f"grants/{grant}", headers=backed_up.auth)
    assert shown.json()["state"] == "ended"


async def test_after_a_restore_of_everything_no_grant_is_live(
    backed_up: BackedUp, tmp_path: Path
) -> None:
    app = backed_up.app
    await employees(app)
    document = await backed_up.upload(b"content")
    live = await app.grant(backed_up.tenant, document, seconds=28_800)
    asked = await app.http.post(
        "staff-grants",
        json=grant_request(backed_up.tenant, document),
        headers=await app.auth(OPERATOR, "support"),
    )
    await backed_up.back_up()
    # Neither is in a backup any more.
    await app.http.delete(f"grants/{live}", headers=backed_up.auth)
    await app.http.post(f"grants/{asked.json()['id']}/decline", headers=backed_up.auth)
    await app.services.close()

    lose(tmp_path / "data")
    async with open_app(tmp_path / "data", app.clock) as again:
        await again.services.backups.whole.restore(None, lambda _: None)
        again.clock.advance(1)
        support = await again.auth(OPERATOR, "support")
        path = f"staff-grants/{live}/documents/{document}"
        assert (await again.http.get(path, headers=support)).status_code == 403
        operator = await again.auth(OPERATOR, "operator")
        for grant in (live, asked.json()["id"]):
            shown = await again.http.get(f"staff-grants/{grant}", headers=operator)
            assert shown.json()["state"] == "expired", grant
        approve = f"staff-grants/{asked.json()['id']}/approve"
        assert (await again.http.post(approve, headers=operator)).status_code == 409
        timer: GrantTimer = again.services.grants.timer
        await timer.run()
        await again.settle()
        for tenant in (OPERATOR, backed_up.tenant):
            assert "grant.expire" in await again.actions(tenant, live), tenant
