"""The bandwidth limit, on a clock that only waiting moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.adapters.external.pacing import Pacer
from shared.base.buffers import Buffer
from shared.ports.clock import Runtime, system_entropy
from tests.support.clock import FakeClock

pytestmark = pytest.mark.anyio


class Waiting:
    """A runtime whose ``sleep`` lets the time pass."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.waited: list[float] = []
        self.runtime = Runtime(self.clock, system_entropy, self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.clock.advance(seconds)


async def stream(sizes: list[int]) -> AsyncIterator[Buffer]:
    for size in sizes:
        yield bytes(size)


async def test_a_stream_takes_the_time_that_the_limit_gives_it():
    waiting = Waiting()
    pacer = Pacer(1_000, waiting.runtime)
    begun = waiting.clock.now()
    sizes = [500, 2_000, 1, 499, 1_000, 1]
    passed = [len(chunk) async for chunk in pacer.paced(stream(sizes))]
    assert passed == sizes
    # The last chunk goes when what was before it has had its time.
    assert (waiting.clock.now() - begun).total_seconds() == pytest.approx(4.0)
    assert waiting.waited == pytest.approx([0.5, 2.0, 0.001, 0.499, 1.0])


async def test_streams_side_by_side_share_the_limit():
    waiting = Waiting()
    pacer = Pacer(1_000, waiting.runtime)
    begun = waiting.clock.now()

    async def read() -> None:
        async for _ in pacer.paced(stream([1_000] * 5)):
            await asyncio.sleep(0)

    await asyncio.gather(read(), read())
    assert (waiting.clock.now() - begun).total_seconds() >= 9.0


async def test_time_that_was_not_used_is_not_saved_up():
    waiting = Waiting()
    pacer = Pacer(1_000, waiting.runtime)
    async for _ in pacer.paced(stream([1_000])):
        pass
    waiting.clock.advance(3_600)
    async for _ in pacer.paced(stream([1_000, 1_000, 1_000])):
        pass
    assert waiting.waited == pytest.approx([1.0, 1.0])


async def test_without_a_limit_nothing_waits():
    waiting = Waiting()
    async for _ in Pacer(0, waiting.runtime).paced(stream([10**6] * 50)):
        pass
    assert waiting.waited == []
