from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.backups import BackedUp, open_backed_up


@pytest.fixture
async def backed_up(tmp_path: Path) -> AsyncIterator[BackedUp]:
    """An app with one tenant, whose backups are made when the test says so."""
    async with open_backed_up(tmp_path / "data") as opened:
        yield opened
