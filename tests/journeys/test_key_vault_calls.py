"""How often Key Vault is asked, counted at the emulator: once a tenant and epoch, not once a document.

Contents and records are in files, as it makes no difference to the keys.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.azure.clients import AzureClients
from shared.adapters.azure.keys import AzureKeys
from shared.wiring import services as wiring
from tests.support.app import App, open_app
from tests.support.contract.azure import machine
from tests.support.emulators.keyvault import Vault

DOCUMENTS = 1_000
AT_MOST = 2
CONTENT = b"a small paper"


@pytest.fixture
def vault() -> Iterator[Vault]:
    vault = Vault(machine().certificate, machine().identity.issued.__contains__).start()
    yield vault
    vault.stop()


def calls(vault: Vault) -> int:
    """Operations so far; the handshake that asks for a token is none."""
    return vault.counts.total() - vault.counts["challenge"]


@asynccontextmanager
async def process(data: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[App]:
    """A app as after a start: no key is unwrapped yet, and no client open."""
    clients = AzureClients()
    make = wiring.embedded_adapters

    def with_key_vault(*arguments: Any) -> wiring.Adapters:
        return dataclasses.replace(make(*arguments), key_vault=AzureKeys(clients, vault.url))

    with monkeypatch.context() as patch:
        patch.setattr(wiring, "embedded_adapters", with_key_vault)
        async with open_app(data, requests_per_minute=1_000_000) as app:
            yield app
    await clients.close()


@pytest.mark.anyio
async def test_a_thousand_documents_cost_two_calls_to_seal_and_two_to_open(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(tmp_path, vault, monkeypatch) as app:
        auth = await app.auth(await app.tenant("acme"))
        before = calls(vault)
        documents = set()
        for number in range(DOCUMENTS):
            answer = await app.upload(auth, CONTENT, f"paper-{number}.txt")
            assert answer.status_code == 201, answer.text
            documents.add(answer.json()["id"])
        assert len(documents) == DOCUMENTS
        # None at all would mean that the emulator was not asked, and nothing was counted.
        assert 1 <= calls(vault) - before <= AT_MOST, vault.counts

    async with process(tmp_path, vault, monkeypatch) as app:
        before = calls(vault)
        for document in documents:
            opened = await app.http.get(f"documents/{document}/content", headers=auth)
            assert (opened.status_code, opened.content) == (200, CONTENT)
        assert 1 <= calls(vault) - before <= AT_MOST, vault.counts
