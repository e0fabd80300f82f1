"""The second process as the first one sees it, with small programs in its place."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.adapters.embedded.bus import SqliteBus
from shared.base.topology import load_topology
from shared.ports.clock import SystemClock, system_entropy
from standalone.supervised import STOP, Supervised
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

ENDS = "raise SystemExit(3)"
LISTENS = """
import os, sys
told = open(sys.argv[3], "ab", buffering=0)
told.write(b"!")
while (byte := os.read(int(sys.argv[2]), 1)) not in (b"", bytes([255])):
    told.write(byte)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    yield descriptor
    os.close(descriptor)


async def nothing() -> None:
    """Before the stop."""


def bus(folder: Path) -> SqliteBus:
    return SqliteBus(folder / "bus.db", load_topology(), SystemClock(), system_entropy)


async def test_it_is_started_again_after_longer_and_longer_pauses_and_the_log_says_so(
    tmp_path: Path, lock: int, caplog: pytest.LogCaptureFixture
) -> None:
    stopping = asyncio.Event()
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 7:
            stopping.set()

    supervised = Supervised(
        bus(tmp_path),
        [],
        lock=lock,
        before_stop=nothing,
        command=(sys.executable, "-c", ENDS),
        sleep=sleep,
    )
    with caplog.at_level(logging.ERROR, "standalone.background"):
        await supervised.run(stopping)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert [record.exit_code for record in caplog.records] == [3] * 7  # type: ignore[attr-defined]


async def test_it_is_told_what_was_published_and_stops_when_told(tmp_path: Path, lock: int) -> None:
    source = bus(tmp_path)
    told = tmp_path / "told"
    program = tmp_path / "program.py"
    program.write_text(LISTENS.replace("sys.argv[3]", repr(str(told))))
    stopping = asyncio.Event()
    order: list[str] = []

    async def before_stop() -> None:
        order.append("before")
        assert source._announce is not None
        source._announce("replication")  # what is published last is told, too

    supervised = Supervised(
        source,
        ["replication"],
        lock=lock,
        before_stop=before_stop,
        command=(sys.executable, str(program)),
    )
    running = asyncio.create_task(supervised.run(stopping))
    await eventually(told.exists, 60)
    stopping.set()
    await running
    assert order == ["before"]
    assert told.read_bytes() == b"!\0"
    assert source._announce is None
    assert STOP == 255
