"""Targets over adapters in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.targets import TargetData


@pytest.fixture
async def data() -> AsyncIterator[TargetData]:
    data = TargetData()
    yield data
    await data.close()
