"""The app inside Azure's own Python worker, in a process, as the Functions host drives it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.adapters.embedded.bus import SqliteBus
from shared.base.errors import Unavailable
from shared.base.topology import load_topology
from shared.ports.bus import Delivery
from shared.ports.clock import SystemClock, system_entropy
from standalone.demo.objects import stored_objects
from tests.support.accounts import bearer
from tests.support.app import PASSWORD, open_app
from tests.support.clock import FakeClock
from tests.support.functions_host import FunctionsHost, require_worker
from tests.support.process import ROOT, wait_until

TOPOLOGY = json.loads((ROOT / "infra/topology.json").read_text())
LARGER = random.Random("larger").randbytes(6 * 1_048_576 + 17)
ADDRESS_HEADER = "Strongroom-Client-Address"
PAPER = b"a paper whose events the bus did not take"


@pytest.fixture
def yesterday(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with a tenant, whose administrator uploaded while the bus was down."""

    async def down(*_: object) -> None:
        raise Unavailable("The bus does not answer.")

    async def live() -> None:
        clock = FakeClock(datetime.now(UTC) - timedelta(days=1))
        async with open_app(tmp_path / "data", clock) as app:
            auth = await app.auth(await app.tenant("acme"))
            await app.settle()
            monkeypatch.setattr(SqliteBus, "publish", down)
            assert (await app.upload(auth, PAPER)).status_code == 201

    asyncio.run(live())
    return tmp_path / "data"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The app as it is shipped, but without its dependencies, which are those of this test."""
    package, programs = tmp_path / "package", tmp_path / "programs"
    for folder in (package, programs):
        folder.mkdir()
    for name, does in {"python3": "exit 0", "zip": 'exec tar -cf "$4" -T -'}.items():
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    subprocess.run(
        [ROOT / "infra" / "package", tmp_path / "package.tar", "v1.4.0"],
        env={"PATH": f"{programs}:{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    subprocess.run(["tar", "-xf", tmp_path / "package.tar", "-C", package], check=True)
    return package


@contextmanager
def started(package: Path, data: Path, folder: Path) -> Iterator[FunctionsHost]:
    """A worker with the app on a data folder."""
    require_worker()
    host = FunctionsHost(
        package,
        folder,
        data_dir=str(data),
        trusted_proxies="1",
        client_address_header=ADDRESS_HEADER,
    )
    try:
        host.start()
        yield host
    finally:
        host.stop()


@pytest.fixture
def host(package: Path, yesterday: Path, tmp_path: Path) -> Iterator[FunctionsHost]:
    with started(package, yesterday, tmp_path) as host:
        yield host


@pytest.fixture
def http(host: FunctionsHost) -> Iterator[httpx.Client]:
    with httpx.Client(transport=host, base_url="http://edge.test/api/v1/", timeout=60) as http:
        yield http


def sign_in(http: httpx.Client) -> dict[str, str]:
    who = {"tenant": "acme", "username": "admin", "password": PASSWORD}
    answer = http.post("auth/sign-in", json=who)
    assert answer.status_code == 200, answer.text
    return bearer(answer.json()["token"])


def entries(http: httpx.Client, auth: dict[str, str], resource: str) -> list[dict[str, Any]]:
    """The audit log's entries about a resource."""
    answer = http.get("audit", params={"resource": resource}, headers=auth)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def take(data: Path, subscription: str) -> list[Delivery]:
    """All messages that wait in a subscription, one of a session at a time."""

    async def receive() -> list[Delivery]:
        bus = SqliteBus(data / "bus.db", load_topology(), SystemClock(), system_entropy)
        try:
            taken: list[Delivery] = []
            while deliveries := await bus.receive(subscription, limit=50):
                for delivery in deliveries:
                    await bus.complete(delivery)
                taken += deliveries
            return taken
        finally:
            await bus.close()

    return asyncio.run(receive())


def objects(data: Path, store: str) -> list[bytes]:
    return [each.read_bytes() for each in stored_objects(data / store)]


def test_the_worker_indexes_every_function_with_its_bindings(host: FunctionsHost) -> None:
    def triggers(kind: str) -> dict[str, dict[str, Any]]:
        return {
            name: binding
            for name in host.functions
            for binding in host.bindings(name)
            if binding["type"] == kind
        }

    # It streams HTTP through a server of its own, and asks the host for no body.
    assert host.capabilities["HttpUri"].startswith("http://127.0.0.1:")
    assert host.capabilities["RequiresRouteParameters"] == "true"

    doors, messages, timers = map(triggers, ("httpTrigger", "serviceBusTrigger", "timerTrigger"))
    assert doors.keys() | messages.keys() | timers.keys() == host.functions.keys()
    assert {trigger["authLevel"] for trigger in doors.values()} == {"ANONYMOUS"}
    for name in doors:
        assert [each["type"] for each in host.bindings(name)] == ["httpTrigger", "http"]
    assert {
        (trigger["topicName"], trigger["subscriptionName"], trigger.get("isSessionsEnabled", False))
        for trigger in messages.values()
    } == {
        (topic["name"], subscription["name"], subscription["sessions"])
        for topic in TOPOLOGY["topics"]
        for subscription in topic["subscriptions"]
    }
    assert {trigger["connection"] for trigger in messages.values()} == {"ServiceBus"}
    assert {trigger["schedule"] for trigger in timers.values()} == {
        f"%STRONGROOM_{name.upper()}_SCHEDULE%" for name in timers
    }


def test_contents_stream_through_the_workers_server(
    host: FunctionsHost, http: httpx.Client, yesterday: Path
) -> None:
    assert http.get("health").json()["release"] == "v1.4.0"
    refused = http.get("documents")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert refused.headers["content-type"] == "application/problem+json"

    auth = sign_in(http)
    uploaded = http.post(
        "documents",
        content=iter([LARGER[:1_000_000], LARGER[1_000_000:]]),
        headers=auth
        | {
            "Content-Disposition": 'attachment; filename="larger.bin"',
            "X-Forwarded-For": "198.51.100.1",
            ADDRESS_HEADER: "203.0.113.9",
        },
    )
    assert uploaded.status_code == 201, uploaded.text

    def creations() -> list[dict[str, Any]]:
        for event in take(yesterday, "audit"):
            host.deliver("audit", event)
        found = entries(http, auth, uploaded.json()["id"])  # which is an entry about it, too
        return [each for each in found if each["entry"]["action"] == "document.create"]

    [created] = wait_until(creations, "the entry in the audit log")
    assert created["entry"]["address"] == "203.0.113.9"
    path = f"documents/{uploaded.json()['id']}/content"
    opened = http.get(path, headers=auth)
    assert (opened.status_code, opened.content) == (200, LARGER)
    assert opened.headers["content-length"] == str(len(LARGER))
    part = http.get(path, headers=auth | {"Range": "bytes=1048000-1049499"})
    assert (part.status_code, part.content) == (206, LARGER[1_048_000:1_049_500])
    assert http.head(path, headers=auth).headers["etag"] == opened.headers["etag"]

    assert "Traceback" not in host.log()
    assert PASSWORD not in host.log()
    assert auth["Authorization"].removeprefix("Bearer ") not in host.log()


def test_a_client_that_leaves_ends_its_call_and_leaves_nothing(
    host: FunctionsHost, http: httpx.Client, yesterday: Path
) -> None:
    def half() -> Iterator[bytes]:
        yield LARGER[:3_000_000]
        raise ConnectionAbortedError

    auth = sign_in(http)
    kept = objects(yesterday, "primary")
    headers = auth | {"Content-Disposition": 'attachment; filename="half.bin"'}
    with pytest.raises(ConnectionAbortedError):
        http.post("documents", content=half(), headers=headers)
    assert objects(yesterday, "primary") == kept
    assert http.get("health").status_code == 200
    assert "Traceback" not in host.log()


def test_a_worker_that_ends_in_the_middle_of_an_upload_leaves_nothing(
    host: FunctionsHost, http: httpx.Client, package: Path, yesterday: Path, tmp_path: Path
) -> None:
    """What a client then gets from the host is docs/azure.md's; a repetition is one document."""
    part, parts = LARGER[:1_048_576], 100

    def upload() -> Iterator[bytes]:
        for number in range(parts):
            if number == parts // 2:
                host.kill()
            yield part

    auth = sign_in(http)
    headers = auth | {
        "Content-Disposition": 'attachment; filename="large.bin"',
        "Content-Length": str(len(part) * parts),
        "Idempotency-Key": "3e1f3c6e-6a0c-4d2f-9d7e-large-upload",
    }
    with pytest.raises((EOFError, httpx.TransportError)):
        http.post("documents", content=upload(), headers=headers)
    (tmp_path / "again").mkdir()
    with (
        started(package, yesterday, tmp_path / "again") as again,
        httpx.Client(transport=again, base_url=http.base_url, timeout=60) as client,
    ):

        def documents() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = client.get("documents", headers=auth).json()["items"]
            return found

        assert len(documents()) == 1, "the one of yesterday"
        for _ in range(2):
            repeated = client.post("documents", content=iter([part] * parts), headers=headers)
            assert repeated.status_code == 201, repeated.text
        assert {each["size"] for each in documents()} == {len(PAPER), len(part) * parts}
        assert len(documents()) == 2
        assert "Traceback" not in again.log()


def test_timers_and_messages_take_effect(
    host: FunctionsHost, http: httpx.Client, yesterday: Path
) -> None:
    assert not take(yesterday, "replication")
    host.fire("outbox_relay")
    [sealed] = take(yesterday, "replication")
    assert json.loads(sealed.body)["type"] == "document.sealed"
    assert not objects(yesterday, "replica")
    host.deliver("replication", sealed)
    [replica] = objects(yesterday, "replica")
    assert [replica] == objects(yesterday, "primary")

    auth = sign_in(http)
    [uploaded] = http.get("documents", headers=auth).json()["items"]

    def positions() -> dict[str, int]:
        log = entries(http, auth, uploaded["id"])
        return {each["entry"]["action"]: each["position"] for each in log}

    assert positions() == {}, "entries wait for the audit function"

    def logged() -> bool:
        for event in take(yesterday, "audit"):
            host.deliver("audit", event)
        return {"document.create", "document.replicate"} <= positions().keys()

    wait_until(logged, "the entries in the audit log")
