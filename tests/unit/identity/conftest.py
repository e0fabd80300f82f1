from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.identity import Identity, Stores


@pytest.fixture
def stores() -> Stores:
    return Stores()


@pytest.fixture
async def identity(stores: Stores) -> AsyncIterator[Identity]:
    started = stores.process()
    yield started
    await started.outbox.close()
