"""The command that rebuilds the index of an audit log, run as an operator runs it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from shared.audit.index import LOGGED_KIND, log_part
from tests.support.app import open_app

pytestmark = pytest.mark.anyio


def rebuild(data: Path, host: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if "STRONGROOM" not in name}
    environment["STRONGROOM_AUDIT_LOG_HOST"] = host
    return subprocess.run(
        [sys.executable, "-m", "standalone.rebuild_index", "--data", str(data), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )


async def test_the_command_puts_rows_back_that_were_lost(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with open_app(data) as app:
        tenant = await app.tenant("alpha")
        await app.settle()
        await app.services.audit.checkpoints.publish(tenant)
        host = app.services.settings.log_host
    with closing(sqlite3.connect(next(data.rglob("records.db")))) as database, database:
        where = "WHERE partition = ? AND kind = ?"
        key = (str(log_part(tenant, 0)), LOGGED_KIND)
        [(rows,)] = database.execute(f"SELECT count(*) FROM records {where}", key)
        for table in ("records", "fields"):
            database.execute(f"DELETE FROM {table} {where}", key)
    done = rebuild(data, host, tenant)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{rows} rows created, 0 replaced, 0 removed.\n"
    again = rebuild(data, host, tenant, "--to", "1")
    assert again.stdout == "0 rows created, 0 replaced, 0 removed.\n"
    beyond = rebuild(data, host, tenant, "--from", "1000")
    assert (beyond.returncode, beyond.stdout) == (1, "")
    assert "signed entries" in beyond.stderr
    assert rebuild(data, host, "ten_" + "0" * 26).returncode == 1
