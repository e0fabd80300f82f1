"""The server is killed at random moments, again and again, while clients work with it.

Nothing acknowledged may be lost, nothing may be half-visible, no event may be lost or take effect twice.

``STRONGROOM_FAULT_KILLS`` says how often to kill it, ``STRONGROOM_FAULT_SEED`` repeats a run's decisions.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.accounts import bearer, bootstrap, create_tenant
from tests.support.faults.clients import Client, Content, Ledger
from tests.support.faults.inspection import check_answers, check_data
from tests.support.process import ROOT, ServerProcess, wait_until
from tests.support.records import under_way

KILLS = int(os.environ.get("STRONGROOM_FAULT_KILLS", "5"))
SEED = int(os.environ.get("STRONGROOM_FAULT_SEED") or secrets.randbelow(1_000_000))
CLIENTS = 6
LONGEST_START_SECONDS = 1.5
LONGEST_WORK_SECONDS = 1.5
LOCK_SECONDS = 5


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project, whose locks on messages end within the test's timeouts, not after a minute."""
    project = tmp_path / "project"
    for package in ("functions", "shared", "standalone", "infra"):
        shutil.copytree(ROOT / package, project / package)
    for file in ("function_app.py", "host.json"):
        shutil.copy2(ROOT / file, project)
    topology = json.loads((project / "infra/topology.json").read_text())
    for topic in topology["topics"]:
        for subscription in topic["subscriptions"]:
            subscription["lockSeconds"] = LOCK_SECONDS
    (project / "infra/topology.json").write_text(json.dumps(topology))
    return project


@pytest.fixture
def server(tmp_path: Path, project: Path) -> Iterator[ServerProcess]:
    server = ServerProcess(
        tmp_path / "data",
        root=project,
        outbox_relay_schedule="* * * * * *",
        upload_sweep_schedule="*/2 * * * * *",
        audit_checkpoint_schedule="* * * * * *",
        audit_checkpoint_seconds="1",
        requests_per_minute="1000000",
    )
    yield server
    server.discard()


class Killings:
    """Kills a server at random moments.

    Args:
        server: The server.
        chance: Decides when.

    Attributes:
        done: How often it was killed.
        up: Set while the server should answer.
    """

    def __init__(self, server: ServerProcess, chance: random.Random) -> None:
        self.done = 0
        self.up = asyncio.Event()
        self._server = server
        self._chance = chance

    async def start(self) -> None:
        """Start the server, which may be killed on the way, and wait until it is ready."""
        while self.done < KILLS and self._chance.random() < 0.3:
            await self.kill_at_start()
        self._server.start()
        await asyncio.to_thread(self._server.wait_until_ready)
        self.up.set()

    async def kill_at_start(self) -> None:
        """Start the server and kill it before, or just when, it is ready."""
        self._server.start()
        await self._kill_within(LONGEST_START_SECONDS)

    async def kill_at_work(self) -> None:
        """Kill the server, which is ready."""
        await self._kill_within(LONGEST_WORK_SECONDS)

    async def _kill_within(self, seconds: float) -> None:
        # A random moment is what this test is about.
        await asyncio.sleep(self._chance.uniform(0, seconds))
        self.up.clear()
        self._server.kill()
        self.done += 1


@pytest.mark.anyio
@pytest.mark.timeout(60 + 20 * KILLS)
async def test_a_server_that_is_killed_again_and_again_loses_nothing(
    server: ServerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger()
    killings = Killings(server, random.Random(SEED))
    started = time.monotonic()
    try:
        await story(server, killings, ledger)
    except BaseException as error:
        error.add_note(f"seed {SEED}, {killings.done} of {KILLS} kills done, {ledger.counts}")
        raise
    counts = ", ".join(f"{number} {what}" for what, number in sorted(ledger.counts.items()))
    with capsys.disabled():
        seconds = time.monotonic() - started
        sys.stdout.write(f"\n{killings.done} kills in {seconds:.0f} s, seed {SEED}: {counts}\n")


async def story(server: ServerProcess, killings: Killings, ledger: Ledger) -> None:
    for _ in range(max(1, KILLS // 10)):
        await killings.kill_at_start()  # while it finds no data yet
    await killings.start()
    people = await asyncio.to_thread(introduce, server)
    stopping = asyncio.Event()
    async with (
        httpx.AsyncClient(base_url=server.api, timeout=60) as http,
        asyncio.TaskGroup() as group,
    ):
        for number in range(CLIENTS):
            client = Client(number, http, people.token, killings.up, ledger, SEED)
            group.create_task(client.run(stopping))
        while killings.done < KILLS:
            await killings.kill_at_work()
            await killings.start()
        stopping.set()
    await asyncio.to_thread(look_from_outside, server, people, ledger)
    await check_data(server.data, people.tenant, ledger)
    check_log(server)


@dataclass(frozen=True)
class People:
    """The operator's token, the tenant's id and its administrator's token."""

    operator: str
    tenant: str
    token: str


def introduce(server: ServerProcess) -> People:
    """Make the people that the story needs."""
    with httpx.Client(base_url=server.api, timeout=60) as http:
        operator = bootstrap(http, server.data)
        token = create_tenant(http, operator, "acme")
        [tenant] = http.get("tenants", headers=bearer(operator)).json()["items"]
        return People(operator, tenant["id"], token)


def look_from_outside(server: ServerProcess, people: People, ledger: Ledger) -> None:
    """Let the server come to rest, check what it says, and stop it."""
    with httpx.Client(base_url=server.api, timeout=60) as http:
        come_to_rest(server)
        check_answers(http, people.token, people.operator, ledger)
        upload_once_more(http, people.token, ledger)
    stop_at_rest(server)


def come_to_rest(server: ServerProcess) -> None:
    """Wait until nothing is left to do."""
    try:
        wait_until(lambda: under_way(server.data) is None, "the server to come to rest", seconds=60)
    except AssertionError as error:
        error.add_note(f"still left: {under_way(server.data)}")
        raise


def stop_at_rest(server: ServerProcess) -> None:
    """Stop the server with nothing left to do: a timer may do something right before it stops."""
    while True:
        come_to_rest(server)
        server.stop()
        if under_way(server.data) is None:
            return
        server.start()
        server.wait_until_ready()


def upload_once_more(http: httpx.Client, token: str, ledger: Ledger) -> None:
    """It still works; and each store clears away its leftovers when it is first written to."""
    auth = bearer(token)
    direct, staged = Content("last-direct.bin", 100_000), Content("last-staged.bin", 100_000)
    answer = http.post("documents", headers=auth | direct.headers(), content=direct.bytes())
    assert answer.status_code == 201, answer.text
    body = {"name": staged.name, "size": staged.size}
    upload = http.post("uploads", headers=auth, json=body).json()
    assert http.put(upload["grant"]["url"], content=staged.bytes()).status_code == 201
    answer = http.post(f"uploads/{upload['id']}/complete", headers=auth)
    assert answer.status_code == 202, answer.text
    ledger.uploads.add(upload["id"])
    ledger.staged[upload["id"]] = (upload["document"], staged)


def check_log(server: ServerProcess) -> None:
    """Nothing unexpected was logged, in any of its lives."""
    assert "Traceback" not in server.log()
    for line in server.log_lines():
        assert line["level"] != "error", line
        # Another delivery may have got there first, or a lock have ended under a slow one.
        assert line.get("error") in {None, "Conflict"}, line
