"""The host: it ends when it is told to, whatever its stores do."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import azure.functions as func
import pytest
from starlette.types import Receive, Scope, Send

from shared.adapters.memory.bus import MemoryBus
from shared.base.topology import load_topology
from shared.ports.clock import system_entropy
from standalone.host import Host
from tests.support.clock import FakeClock

pytestmark = pytest.mark.anyio


async def no_api(scope: Scope, receive: Receive, send: Send) -> None:
    """Nobody asks it."""


async def nothing() -> None:
    """There is no store to open."""


async def test_it_ends_though_a_store_does_not(caplog: pytest.LogCaptureFixture) -> None:
    closing: list[bool] = []

    async def never() -> None:
        closing.append(True)
        await asyncio.Event().wait()

    clock = FakeClock()
    host = Host(
        app=func.FunctionApp(),
        api=no_api,
        source=MemoryBus(load_topology(), clock, system_entropy),
        startup=nothing,
        shutdown=never,
        address="127.0.0.1",
        port=0,
        settings={},
        route_prefix="api",
        on_ready=lambda _: os.kill(os.getpid(), signal.SIGTERM),
        grace_seconds=1,
        clock=clock,
    )
    with caplog.at_level(logging.ERROR, "standalone.host"):
        await asyncio.wait_for(host.run(), 20)
    assert closing == [True]
    assert "stores not closed in 1 seconds" in caplog.messages
