"""What an upload and an open ask of the stores, on both profiles: counted, not timed.

Many clients upload at the same time while the functions take the events, as in a busy second; then
everything is let take effect. What is asked for is divided by how many uploads, or opens, there were.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shared.audit.index import LOGGED_KIND, log_part
from shared.base.concurrency import at_once
from shared.base.topology import load_topology
from shared.journal.announcing import PAUSE_SECONDS
from shared.ports.bus import Delivery
from shared.ports.clock import Runtime, SystemClock
from shared.wiring.adapters import Adapters
from shared.wiring.counting import counted_adapters
from shared.wiring.services import profile_adapters
from shared.wiring.settings import Settings
from tests.support.app import App, open_app
from tests.support.clock import FakeClock
from tests.support.profiles import Embedded, Profile, azure
from tests.support.topology import SUBSCRIPTIONS

UPLOADS = 100
CLIENTS = 25
CONTENT = b"a small paper" * 100
A_SECOND = 100
"""Uploads or opens; so many are taken for one second of announcements."""

IN_WORK = 8
"""Messages of a subscription at the same time, as the host takes them."""

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]


@dataclass
class Counting:
    """An app whose calls are counted, and whose events take effect while it is used."""

    app: App
    calls: Counter[str]
    pace: Pace

    async def each(self, work: Callable[[int], Awaitable[None]]) -> Counter[str]:
        """Do something many times, and all that follows from it; what was asked for, each time."""
        self.calls.clear()
        stopping = asyncio.Event()
        pumps = [asyncio.create_task(self._pump(name, stopping)) for name in SUBSCRIPTIONS]

        async def paced(number: int) -> None:
            await work(number)
            self.pace.record_one()

        try:
            await at_once(paced, range(UPLOADS), CLIENTS)
        finally:
            stopping.set()
            await asyncio.gather(*pumps)
        await self.app.settle()
        return Counter({name: calls / UPLOADS for name, calls in self.calls.items()})

    async def _pump(self, subscription: str, stopping: asyncio.Event) -> None:
        source = self.app.services.adapters.source
        deliveries: Sequence[Delivery] = ()
        while deliveries or not stopping.is_set():
            deliveries = await source.receive(subscription, limit=IN_WORK, wait_seconds=0.1)
            await at_once(partial(self._handle, subscription), deliveries, IN_WORK)

    async def _handle(self, subscription: str, delivery: Delivery) -> None:
        await self.app.services.handlers.handle(subscription, delivery.body)
        await self.app.services.adapters.source.complete(delivery)


class Pace:
    """Announcements pause for as many uploads or opens as their time has, however fast these are."""

    def __init__(self) -> None:
        self._done = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def record_one(self) -> None:
        """One more is done."""
        self._done += 1
        for until, waiting in self._waiting:
            if self._done >= until and not waiting.done():
                waiting.set_result(None)

    async def sleep(self, seconds: float) -> None:
        """What ``Runtime`` waits with."""
        if seconds != PAUSE_SECONDS:
            await asyncio.sleep(seconds)
            return
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append((self._done + round(seconds * A_SECOND), waiting))
        await waiting


@dataclass(frozen=True)
class Deployed:
    """The name of a profile, and where it keeps its data."""

    name: str
    profile: Profile
    data: Path


@pytest.fixture(params=["embedded", "azure"])
def deployed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployed]:
    if request.param == "embedded":
        yield Deployed("embedded", Embedded(tmp_path), tmp_path)
    else:
        with azure() as profile:
            yield Deployed("azure", profile, tmp_path)


@asynccontextmanager
async def opened(deployed: Deployed) -> AsyncIterator[Counting]:
    calls: Counter[str] = Counter()
    clock, pace = FakeClock(SystemClock().now()), Pace()

    def adapters(settings: Settings) -> Adapters:
        runtime = Runtime(clock, os.urandom)
        return counted_adapters(profile_adapters(settings, load_topology(), runtime), calls)

    settings: dict[str, Any] = {**deployed.profile.settings, "requests_per_minute": 1_000_000}
    async with open_app(deployed.data, clock, adapters, sleep=pace.sleep, **settings) as app:
        yield Counting(app, calls, pace)


async def test_an_upload_and_an_open_ask_for_no_more_than_they_may(deployed: Deployed) -> None:
    async with opened(deployed) as counting:
        app = counting.app
        tenant = await app.tenant("acme")
        auth = await app.auth(tenant)
        await app.upload(auth, CONTENT)  # keys are made and remembered, timers told
        await app.settle()
        documents: list[str] = []

        async def upload(_: int) -> None:
            answer = await app.upload(auth, CONTENT)
            assert answer.status_code == 201, answer.text
            documents.append(answer.json()["id"])

        async def open_one(number: int) -> None:
            answer = await app.http.get(f"documents/{documents[number]}/content", headers=auth)
            assert answer.content == CONTENT

        uploads = await counting.each(upload)
        opens = await counting.each(open_one)
        described = [await app.http.get(f"documents/{each}", headers=auth) for each in documents]
        assert all(each.json()["replicated"] for each in described)
        page = await app.services.adapters.records.query(
            log_part(tenant, 0), LOGGED_KIND, limit=1_000
        )

    logged = Counter(str(each.body["entry"]["action"]) for each in page.records)
    assert logged["document.create"] == logged["document.replicate"] == UPLOADS + 1
    assert logged["document.open"] == UPLOADS
    assert uploads["records.commit"] <= 4
    assert uploads["records.items"] <= 9
    assert uploads["records.get"] <= 3
    assert uploads["records.query"] <= 1
    assert uploads["bus.events"] <= 2, "the event, and a part of an announcement"
    assert opens["records.commit"] <= 2
    # An entry waits, goes into the log and waits no more; its append's head is shared with others.
    assert opens["records.items"] - opens["records.items.audit-head"] <= 3
    assert opens["records.items.audit-head"] <= 0.1
    assert opens["records.get"] <= 2
