"""A process imports what its requests need, and nothing else: importing is most of a cold start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts

from functions.api.app import CAPABILITIES, create_api
from shared.wiring.deferred import Deferred
from tests.support.app import open_app
from tests.support.process import ROOT, environment

pytestmark = pytest.mark.anyio

FIRST_RESPONSE = """
import asyncio, sys
from httpx import ASGITransport, AsyncClient
from functions.http import get_api
from shared.wiring.services import get_services

async def respond():
    services = get_services()
    await services.start()
    async with AsyncClient(transport=ASGITransport(get_api()), base_url="http://a.test") as http:
        assert (await http.get("/api/v1/health")).status_code == 200
    await services.close()

asyncio.run(respond())
print(*sorted(name for name in sys.modules if name.startswith(("functions.api.", "shared."))))
"""

NOT_NEEDED = (
    *(
        "attestation",
        "audit",
        "backup",
        "dead_letters",
        "documents.service",
        "grants",
        "keys.epochs",
    ),
    *("replication", "restore", "reviews", "targets.service", "verification", "webhooks"),
    *("adapters.azure", "adapters.external", "adapters.telemetry", "wiring.former"),
)


def test_the_first_response_needs_no_other_capability(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FIRST_RESPONSE],
        cwd=ROOT,
        env=environment(data_dir=str(tmp_path)),
        capture_output=True,
        text=True,
        check=True,
    )
    imported = ran.stdout.split()
    assert "functions.api.pages" in imported
    routers = {f"functions.api.{name.replace('-', '_')}" for name in CAPABILITIES}
    assert not routers & set(imported)
    services = tuple(f"shared.{name}" for name in NOT_NEEDED)
    assert not [name for name in imported if name.startswith(services)]


async def test_the_order_of_requests_does_not_change_the_api(tmp_path: Path) -> None:
    async with open_app(tmp_path / "data") as app:
        in_order = create_api(app.services)
        paths = [context.path for context in iter_route_contexts(in_order.routes)]
        for capability in reversed(CAPABILITIES):
            assert (await app.http.get(f"{capability}/x/y/z")).status_code in {401, 404, 405}
        assert [context.path for context in iter_route_contexts(app.apps[0].routes)] == paths
        assert app.apps[0].openapi() == in_order.openapi()


async def test_a_capability_is_found_by_its_first_request(tmp_path: Path) -> None:
    async with open_app(tmp_path / "data") as app:
        assert (await app.http.get("documents")).status_code == 401
        assert (await app.http.options("reviews")).headers["Allow"] == "GET, HEAD, OPTIONS, POST"
        assert (await app.http.head("tenants")).status_code == 401
        assert (await app.http.get("nothing")).status_code == 404


class Adapter:
    closed = False

    def open(self) -> str:
        return "open"

    async def close(self) -> None:
        self.closed = True


async def test_a_deferred_adapter_is_made_once_and_closed_if_it_was_made() -> None:
    made: list[Adapter] = []

    def make() -> Adapter:
        made.append(Adapter())
        return made[-1]

    await Deferred(make).close()
    assert not made
    deferred = Deferred(make)
    assert (deferred.open(), deferred.open()) == ("open", "open")
    await deferred.close()
    assert [each.closed for each in made] == [True]
