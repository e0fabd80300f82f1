"""Finds out whether a data folder has the form of an earlier release, and has it upgraded."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from shared.adapters.embedded.record_schema import add_positions
from shared.ports.clock import Runtime


async def upgrade_data_folder(data: Path, runtime: Runtime) -> bool:
    """Bring a data folder of an earlier form into today's; return whether it was one.

    Only one process may use the folder.

    Raises:
        Damaged: The audit log of a tenant does not agree with its head: nothing was changed.
        OSError, sqlite3.Error: The disk refused.
    """
    if not await asyncio.to_thread(_is_former, data / "records.db"):
        return await asyncio.to_thread(add_positions, data / "records.db")
    # Hardly ever needed, and importing is most of a cold start.
    from shared.wiring.former import rewrite

    await rewrite(data, runtime)
    return True


def _is_former(path: Path) -> bool:
    """Whether this is a database of records that lie by tenant."""
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(path)) as database:
            columns = {row[1] for row in database.execute("PRAGMA table_info(records)")}
    except sqlite3.DatabaseError:
        return False  # the record store says what is wrong with the file
    return "tenant" in columns
