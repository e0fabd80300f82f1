"""After a total loss, the targets of tenants go on from what was restored of them."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.backup.test_restore_command import restore
from tests.support.app import TARGET, open_app
from tests.support.backups import lose, open_backed_up
from tests.support.clock import FakeClock

pytestmark = pytest.mark.anyio


async def test_what_waited_for_a_target_is_copied_after_a_restore(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with open_backed_up(data) as backed_up:
        app = backed_up.app
        created = await app.http.post("targets", json=TARGET, headers=backed_up.auth)
        target = created.json()["target"]["id"]
        await backed_up.back_up()
        await app.services.target_timer.run()
        document = await backed_up.upload(b"was on its way when everything was lost")
        await backed_up.back_up()
        await backed_up.back_up()
        buckets = app.targets.buckets
        assert not [name for name in buckets["copies"] if document in name]
        tenant = backed_up.tenant
    lose(data)
    shutil.rmtree(data / "keys")
    restored = restore(data, "--yes")
    assert restored.returncode == 0, restored.stderr

    clock = FakeClock(datetime.now(UTC) + timedelta(minutes=5))
    async with open_app(data, clock) as app:
        app.targets.buckets.update(buckets)
        await app.services.target_timer.run()
        assert [name for name in buckets["copies"] if name.startswith(f"content/{document}/")]
        headers = await app.auth(tenant)
        found = (await app.http.get(f"targets/{target}", headers=headers)).json()
        assert (found["state"], found["lag"]["waiting"]) == ("active", 0)
