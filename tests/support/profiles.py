"""The two profiles that the stories run on: what the server is told, and what lies behind its back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from azure.cosmos.aio import CosmosClient
from azure.storage.blob import BlobServiceClient

from shared.adapters.azure.records import DIRECTORY_CONTAINER, TENANTS_CONTAINER
from shared.base.environment import ENVIRONMENT_TAG
from shared.base.topology import load_topology
from shared.ports.clock import SystemClock
from standalone.demo.objects import StoredObject, stored_objects
from tests.support.contract.azure import EMULATOR_KEY, fresh_cosmosdb, machine
from tests.support.emulators.front import ACCOUNT, ACCOUNT_KEY
from tests.support.emulators.immutability import ImmutableFront
from tests.support.emulators.keyvault import Vault
from tests.support.emulators.servicebus import Broker

DATABASE = "strongroom-journey"
ACCOUNTS = ("primary", "replica", "staging", "backup", "backup-keys")
"""The accounts that settings name; each has a container of its name."""

STORES = (*ACCOUNTS, "audit")
"""The containers: the backups' account has that of the audit logs as well."""


class Profile(Protocol):
    """A place where a server keeps its data, open to a test behind the adapters."""

    @property
    def settings(self) -> dict[str, str]:
        """The app settings, without their prefix, that a server needs to use it."""

    def objects(self, store: str) -> list[str]:
        """The names of a store's objects."""

    def read(self, store: str, name: str) -> bytes:
        """An object's bytes, as they are stored."""

    def overwrite(self, store: str, name: str, content: bytes) -> None:
        """Change an object behind the server's back."""

    def everything(self) -> bytes:
        """Every byte that is stored, records included."""


class Embedded:
    """Files and SQLite in a data folder."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self.settings: dict[str, str] = {}

    def objects(self, store: str) -> list[str]:
        return [each.name for each in stored_objects(self._data / store)]

    def read(self, store: str, name: str) -> bytes:
        return StoredObject(self._data / store, name).read_bytes()

    def overwrite(self, store: str, name: str, content: bytes) -> None:
        StoredObject(self._data / store, name).write_bytes(content)

    def everything(self) -> bytes:
        files = sorted(path for path in self._data.rglob("*") if path.is_file())
        # What a database file holds of a row lies in pieces.
        rows = [
            each
            for store in ("primary", "replica")
            for each in stored_objects(self._data / store)
            if not each.file.exists()
        ]
        return b"".join([path.read_bytes() for path in files] + [row.read_bytes() for row in rows])


class Azure:
    """The emulators of Azure's services, with empty containers."""

    def __init__(self, stack: ExitStack) -> None:
        certificate, accepts = machine().certificate, machine().identity.issued.__contains__
        now = SystemClock().now
        self._front = ImmutableFront(machine().azurite(), certificate, "backup", now).start()
        stack.callback(self._front.stop)
        key_vault = Vault(certificate, accepts, purge_protection=True).start()
        stack.callback(key_vault.stop)
        self._broker = Broker(load_topology())
        self._broker.start()
        stack.callback(self._broker.stop)
        account = f"{self._front.url}/{ACCOUNT}"
        self._blobs = stack.enter_context(
            BlobServiceClient(
                account,
                {"account_name": ACCOUNT, "account_key": ACCOUNT_KEY},
                connection_verify=str(certificate.certificate),
            )
        )
        self._deploy()
        self.settings = {
            "profile": "azure",
            **{f"{store.replace('-', '_')}_account_url": account for store in ACCOUNTS},
            "cosmos_database": DATABASE,
            "cosmos_endpoint": f"https://127.0.0.1:{machine().cosmosdb()}",
            "key_vault_url": key_vault.url,
            "service_bus_namespace": self._broker.connection_string,
        }

    def objects(self, store: str) -> list[str]:
        return sorted(self._blobs.get_container_client(store).list_blob_names())

    def read(self, store: str, name: str) -> bytes:
        return self._blobs.get_blob_client(store, name).download_blob().readall()

    def overwrite(self, store: str, name: str, content: bytes) -> None:
        self._blobs.get_blob_client(store, name).upload_blob(content, overwrite=True)

    def everything(self) -> bytes:
        blobs = [self.read(store, name) for store in STORES for name in self.objects(store)]
        return b"".join([*blobs, asyncio.run(_items())])

    def lose(self) -> None:
        """Lose everything but the backups and the key vault: what is there instead is new and empty."""
        self._deploy("primary", "replica", "staging")

    def _deploy(self, *stores: str) -> None:
        """Make what the infrastructure makes, in place of what an earlier test left."""
        there = {container.name for container in self._blobs.list_containers()}
        for store in stores or STORES:
            if store in there:
                self._blobs.delete_container(store)
            self._blobs.create_container(store, metadata={ENVIRONMENT_TAG: "development"})
        asyncio.run(_deploy_cosmosdb())


@contextmanager
def azure() -> Iterator[Azure]:
    """The emulators, until the story is over."""
    with ExitStack() as stack:
        yield Azure(stack)


async def _deploy_cosmosdb() -> None:
    async with fresh_cosmosdb(machine().cosmosdb(), DATABASE):
        return


async def _items() -> bytes:
    """Every item of Cosmos DB, as JSON."""
    async with CosmosClient(f"https://127.0.0.1:{machine().cosmosdb()}", EMULATOR_KEY) as client:
        database = client.get_database_client(DATABASE)
        items = [
            item
            for container in (TENANTS_CONTAINER, DIRECTORY_CONTAINER)
            async for item in database.get_container_client(container).read_all_items()
        ]
    return json.dumps(items, ensure_ascii=False).encode()
