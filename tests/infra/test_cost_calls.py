"""The bill is computed from calls that are counted here, at the ports, while a document comes and goes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from shared.base.topology import load_topology
from shared.ports.clock import Runtime
from shared.wiring.adapters import Adapters
from shared.wiring.counting import counted_adapters
from shared.wiring.services import profile_adapters
from shared.wiring.settings import Settings
from tests.support.app import App, open_app
from tests.support.clock import FakeClock
from tests.support.infra.script import script

PAPER = b"a paper of one segment" * 100

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def workload() -> ModuleType:
    return script("workload")


@dataclass
class Counting:
    """An app whose calls are counted."""

    app: App
    calls: Counter[str]

    async def work(self, workload: ModuleType, act: Callable[[], Awaitable[None]]) -> object:
        """What one request asks for, with everything that its events cause."""
        self.calls.clear()
        await act()
        await self.app.settle()
        calls = self.calls
        return workload.Work(
            reads=calls["records.get"],
            queries=calls["records.query"],
            commits=calls["records.commit"],
            changes=calls["records.items"],
            sends=calls["bus.events"],
            deliveries=calls["source.complete"],
            # A put is a block and the list of blocks; a get looks at the size first; a copy is both,
            # because neither account may reach the other.
            blob_writes=2 * (calls["blobs.put"] + calls["blobs.copy_from"]),
            blob_reads=calls["blobs.head"] + 2 * (calls["blobs.get"] + calls["blobs.copy_from"]),
        )


@pytest.fixture
async def counting(tmp_path: Path) -> AsyncIterator[Counting]:
    calls: Counter[str] = Counter()
    clock = FakeClock()

    def adapters(settings: Settings) -> Adapters:
        runtime = Runtime(clock, os.urandom)
        return counted_adapters(profile_adapters(settings, load_topology(), runtime), calls)

    async with open_app(tmp_path / "data", clock, adapters) as app:
        yield Counting(app, calls)


async def test_an_upload_and_an_open_ask_for_what_the_bill_says(
    counting: Counting, workload: ModuleType
) -> None:
    app = counting.app
    auth = await app.auth(await app.tenant("acme"))
    await app.upload(auth, PAPER)  # keys are made and remembered, timers told
    await app.settle()
    documents: list[str] = []

    async def upload() -> None:
        answer = await app.upload(auth, PAPER)
        assert answer.status_code == 201
        documents.append(answer.json()["id"])

    async def open_it() -> None:
        answer = await app.http.get(f"documents/{documents[0]}/content", headers=auth)
        assert answer.content == PAPER

    assert await counting.work(workload, upload) == workload.UPLOAD
    assert await counting.work(workload, open_it) == workload.OPEN
    assert counting.calls["keys.unwrap"] == 0, "memory has the key"


async def test_a_process_without_the_key_asks_for_it_once(
    counting: Counting, workload: ModuleType
) -> None:
    app = counting.app
    auth = await app.auth(await app.tenant("acme"))
    created = await app.upload(auth, PAPER)
    counting.calls.clear()
    # A token that is still good, and keys that memory has given up.
    app.clock.advance(60 * workload.IN_MEMORY_MINUTES + 1)
    answer = await app.http.get(f"documents/{created.json()['id']}/content", headers=auth)
    assert answer.content == PAPER
    assert counting.calls["keys.unwrap"] == workload.UNWRAPS
    counting.calls.clear()
    app.clock.advance(60 * workload.IN_MEMORY_MINUTES + 1)
    await app.settle()
    assert counting.calls["source.complete"] > 2
    assert counting.calls["keys.unwrap"] == workload.UNWRAPS, "for the log alone"


async def test_a_new_tenant_has_the_keys_that_the_bill_says(
    counting: Counting, workload: ModuleType
) -> None:
    await counting.app.tenant("first")  # the app's own keys are made with it
    counting.calls.clear()
    await counting.app.tenant("second")
    assert counting.calls["keys.create"] == workload.KEYS_A_TENANT
