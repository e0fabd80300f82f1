"""Documents over adapters in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.documents import DocumentData


@pytest.fixture
async def data() -> AsyncIterator[DocumentData]:
    data = DocumentData()
    yield data
    await data.close()
