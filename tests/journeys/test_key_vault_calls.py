"""How often Key Vault is asked, counted at the emulator: once a tenant and process, not once a document.

Content, records and events are in memory, as it makes no difference to the keys.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.adapters.azure.clients import AzureClients
from shared.adapters.azure.keys import AzureKeys
from shared.adapters.memory.blobs import MemoryBlobs
from shared.adapters.memory.bus import MemoryBus
from shared.adapters.memory.records import MemoryRecords
from shared.base.partitions import OPERATOR
from shared.base.streams import single
from shared.base.topology import load_topology
from shared.documents.models import Description
from shared.ports.clock import Runtime
from shared.wiring.adapters import Adapters
from shared.wiring.embedded import embedded_adapters
from shared.wiring.settings import Settings
from tests.support.app import App, open_app
from tests.support.clock import FakeClock
from tests.support.contract.azure import machine
from tests.support.emulators.keyvault import Vault

DOCUMENTS = 1_000
AT_MOST = 2
CONTENT = b"a small paper"
DAY = 24 * 3600

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


@pytest.fixture
def vault() -> Iterator[Vault]:
    vault = Vault(machine().certificate, machine().identity.issued.__contains__).start()
    yield vault
    vault.stop()


def calls(vault: Vault) -> int:
    """Operations so far; the handshake that asks for a token is none."""
    return vault.counts.total() - vault.counts["challenge"]


class Deployment:
    """What outlives a process.

    Args:
        data: The data folder.
        vault: The key vault.
    """

    def __init__(self, data: Path, vault: Vault) -> None:
        self.clock = FakeClock()
        self._data = data
        self._vault = vault
        self._bus = MemoryBus(load_topology(), self.clock, os.urandom)
        self._records = MemoryRecords(self.clock)
        self._primary = MemoryBlobs(self.clock)

    @asynccontextmanager
    async def process(self) -> AsyncIterator[App]:
        """An app as after a start: no key is unwrapped yet, and no client open."""
        clients = AzureClients()

        def with_key_vault(settings: Settings) -> Adapters:
            embedded = embedded_adapters(settings, load_topology(), Runtime(self.clock, os.urandom))
            return dataclasses.replace(
                embedded,
                records=self._records,
                primary=self._primary,
                bus=self._bus,
                source=self._bus,
                key_vault=AzureKeys(clients, self._vault.url),
            )

        async with open_app(
            self._data, self.clock, with_key_vault, requests_per_minute=1_000_000
        ) as app:
            yield app
        await clients.close()


@pytest.fixture
def deployment(vault: Vault, tmp_path: Path) -> Deployment:
    return Deployment(tmp_path, vault)


async def upload(app: App, auth: dict[str, str], number: int) -> str:
    """Upload a small document; its id."""
    response = await app.upload(auth, CONTENT, f"paper-{number}.txt")
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


async def listed(app: App, auth: dict[str, str]) -> dict[str, str]:
    """The names of all documents, by id."""
    found: dict[str, str] = {}
    parameters: dict[str, str | int] = {"limit": 200}
    while True:
        page = await app.http.get("documents", headers=auth, params=parameters)
        assert page.status_code == 200, page.text
        found |= {document["id"]: document["name"] for document in page.json()["items"]}
        if page.json()["cursor"] is None:
            return found
        parameters["cursor"] = page.json()["cursor"]


async def test_a_thousand_documents_cost_two_calls_to_seal_and_two_to_open(
    vault: Vault, deployment: Deployment
) -> None:
    async with deployment.process() as app:
        auth = await app.auth(await app.tenant("acme"))
        before = calls(vault)
        documents = {await upload(app, auth, number) for number in range(DOCUMENTS)}
        assert len(documents) == DOCUMENTS
        # None at all would mean that the emulator was not asked, and nothing was counted.
        assert 1 <= calls(vault) - before <= AT_MOST, vault.counts

    async with deployment.process() as app:
        before = calls(vault)
        for document in documents:
            opened = await app.http.get(f"documents/{document}/content", headers=auth)
            assert (opened.status_code, opened.content) == (200, CONTENT)
        assert 1 <= calls(vault) - before <= AT_MOST, vault.counts


async def test_a_thousand_documents_of_a_thousand_days_cost_two_calls_to_list(
    vault: Vault, deployment: Deployment
) -> None:
    async with deployment.process() as app:
        tenant = await app.tenant("acme")
        documents: dict[str, str] = {}
        user = Principal(tenant, "usr_member", (Role.MEMBER,))
        for number in range(DOCUMENTS):
            # Without the API: a thousand days are a thousand sign-ins.
            named = Description(name=f"paper-{number}.txt")
            made = await app.services.documents.create(user, named, single(CONTENT), None, None)
            documents[made.document.id] = named.name
            deployment.clock.advance(DAY)

    async with deployment.process() as app:
        auth = await app.auth(tenant)
        before = calls(vault)
        assert await listed(app, auth) == documents
        assert 1 <= calls(vault) - before <= AT_MOST, vault.counts

    async with deployment.process() as app:
        employee = Principal(OPERATOR, "usr_operator", (Role.OPERATOR,))
        await app.services.key_rotation.begin(employee, tenant)
        documents[await upload(app, auth, DOCUMENTS)] = f"paper-{DOCUMENTS}.txt"

    async with deployment.process() as app:
        auth = await app.auth(tenant)  # the token keys have a root of their own
        before = calls(vault)
        assert await listed(app, auth) == documents
        assert calls(vault) - before == AT_MOST, vault.counts  # a rotation is under way

    async with deployment.process() as app:
        before = calls(vault)
        await app.services.key_rotation.run()
        assert calls(vault) - before <= 10, vault.counts  # however many epochs it rewraps

    async with deployment.process() as app:
        auth = await app.auth(tenant)  # the token keys have a root of their own
        before = calls(vault)
        assert await listed(app, auth) == documents
        assert calls(vault) - before == 1, vault.counts
