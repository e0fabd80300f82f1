"""The command that restores the whole service, run as an operator runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.app import open_app
from tests.support.backups import BackedUp, lose, open_backed_up

pytestmark = pytest.mark.anyio


def restore(data: Path, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command on a data folder."""
    environment = {name: value for name, value in os.environ.items() if "STRONGROOM" not in name}
    return subprocess.run(
        [sys.executable, "-m", "standalone.restore", "--data", str(data), *arguments],
        input=answer,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )


async def lost(tmp_path: Path) -> tuple[Path, str, dict[str, tuple[str, list[bytes]]]]:
    """A data folder of which the backups and the root key are left; its tenant, and what that had."""
    data = tmp_path / "data"
    async with open_backed_up(data) as backed_up:
        document = await backed_up.upload(b"of great value")
        await backed_up.update(document, b"of greater value")
        await backed_up.back_up()
        await backed_up.back_up()
        before = await backed_up.documents()
        tenant = backed_up.tenant
    lose(data)
    shutil.rmtree(data / "keys")
    return data, tenant, before


async def test_the_command_shows_a_plan_and_restores_everything(tmp_path: Path) -> None:
    data, tenant, before = await lost(tmp_path)
    planned = restore(data, "--plan")
    assert planned.returncode == 0, planned.stderr
    assert "its copy beside the backups took its place" in planned.stdout
    assert f"{tenant}: as of 2026-01-01T" in planned.stdout
    assert "In all: 1 tenants, 2 versions" in planned.stdout
    assert restore(data, answer="n\n").stdout.endswith("Nothing was restored.\n")

    restored = restore(data, answer="yes\n")
    assert restored.returncode == 0, restored.stderr
    assert "Start the server" in restored.stdout
    again = restore(data, "--yes")
    assert (again.returncode, again.stdout.count("\n")) == (1, 3), again.stdout
    assert "The environment is not empty" in again.stderr
    async with open_app(data) as app:
        mine = BackedUp(app, tenant, await app.auth(tenant))
        assert await mine.documents() == before


async def test_what_cannot_be_restored_is_said(tmp_path: Path) -> None:
    data, tenant, _ = await lost(tmp_path)
    for pack in (data / "backup" / "sets" / tenant / "packs").glob("*"):
        pack.chmod(0o600)
        pack.write_bytes(bytes(pack.stat().st_size))
    restored = restore(data, "--yes")
    assert restored.returncode == 3, restored.stderr
    assert restored.stdout.count(": damaged") == 2


async def test_without_backups_there_is_nothing_to_restore(tmp_path: Path) -> None:
    nothing = restore(tmp_path / "data", "--yes")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert "There is no backup set of that time." in nothing.stderr
    assert restore(tmp_path / "data", "--at", "yesterday").returncode == 2
