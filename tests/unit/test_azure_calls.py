"""One call to Azure ends in time, whatever becomes of its attempts."""

from __future__ import annotations

import asyncio

import pytest

from shared.adapters.azure.calls import Attempts, Classification, Timeouts, call
from shared.base.errors import Unavailable

pytestmark = pytest.mark.anyio


def judge(error: Exception) -> Classification | None:
    return Classification(Unavailable("No answer."), again=True)


async def test_an_attempt_without_an_end_is_cut_off():
    """Such as one whose SDK goes on trying by itself."""

    async def operation(_attempts: Attempts) -> None:
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        with pytest.raises(Unavailable):
            await call(operation, judge, Timeouts(total=0.01))


async def test_an_attempt_that_must_not_be_cut_off_comes_to_its_end():
    loop = asyncio.get_running_loop()

    async def operation(_attempts: Attempts) -> str:
        over = asyncio.Event()
        loop.call_later(0.05, over.set)
        await over.wait()
        return "done"

    assert await call(operation, judge, Timeouts(total=0.01), cut_off=False) == "done"
