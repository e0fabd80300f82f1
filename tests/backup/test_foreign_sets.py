"""Manifests that were put where they do not belong: another tenant's, and another environment's."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from shared.base.errors import Damaged, NotFound
from tests.support.backups import BackedUp

pytestmark = pytest.mark.anyio


async def test_a_set_of_another_tenant_is_not_read_as_ones_own(
    backed_up: BackedUp, tmp_path: Path
) -> None:
    beta = await backed_up.app.tenant("beta")
    document = await backed_up.upload(b"of alpha alone")
    assert await backed_up.back_up() >= 2
    [set_of_alpha] = [manifest.id for manifest in await backed_up.sets()]
    sets = tmp_path / "data" / "backup" / "sets"
    # Who can write to the backups puts everything of alpha where beta's sets are, with its keys.
    shutil.copytree(sets / backed_up.tenant, sets / beta, dirs_exist_ok=True)
    keys = tmp_path / "data" / "backup" / "keys"
    shutil.copytree(keys / backed_up.tenant, keys / beta, dirs_exist_ok=True)

    administrator = await backed_up.app.auth(beta)
    for body in ({"set": set_of_alpha}, {"set": set_of_alpha, "document": document}):
        answer = await backed_up.app.http.post("restores", json=body, headers=administrator)
        assert not answer.is_success, answer.text
    listed = await backed_up.app.http.get("backups", headers=administrator)
    assert set_of_alpha not in listed.text
    with pytest.raises(Damaged):
        await backed_up.backups.reader.manifests.read(beta, set_of_alpha)


async def test_a_set_of_another_environment_is_not_read(backed_up: BackedUp) -> None:
    await backed_up.upload(b"content")
    await backed_up.back_up()
    newest = await backed_up.newest()
    elsewhere = replace(backed_up.backups.reader.manifests, environment="staging")
    with pytest.raises(Damaged):
        await elsewhere.read(backed_up.tenant, newest.id)
    with pytest.raises(NotFound):
        await elsewhere.read(backed_up.tenant, "set_" + "0" * 26)
