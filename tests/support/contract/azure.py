"""The Azure adapters against their emulators, as the contract suites want them.

The npm emulators are started once a process and end with it; every test gets fresh containers in
them, and a Service Bus broker and a Key Vault of its own. All adapters but the bus sign in with a
managed identity, as in production.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from azure.cosmos import PartitionKey
from azure.cosmos.aio import CosmosClient

from shared.adapters.azure.blobs import AzureBlobs
from shared.adapters.azure.bus import AzureBus
from shared.adapters.azure.calls import Timeouts
from shared.adapters.azure.clients import AzureClients
from shared.adapters.azure.items import microseconds
from shared.adapters.azure.keys import AzureKeys
from shared.adapters.azure.records import (
    DIRECTORY_CONTAINER,
    TENANTS_CONTAINER,
    AzureRecords,
)
from shared.adapters.azure.source import AzureSource
from shared.adapters.azure.write_once import AzureWriteOnce
from shared.ports.clock import SystemClock
from tests.support.clock import FakeClock
from tests.support.contract.harness import (
    BlobsHarness,
    BusHarness,
    KeysHarness,
    RecordsHarness,
    WriteOnceHarness,
)
from tests.support.emulators import node
from tests.support.emulators.front import ACCOUNT
from tests.support.emulators.identity import IdentityEndpoint
from tests.support.emulators.immutability import ImmutableFront
from tests.support.emulators.keyvault import Vault
from tests.support.emulators.servicebus import Broker
from tests.support.emulators.tls import Certificate, make_certificate, trusted
from tests.support.topology import FAN_OUT

DATABASE = "strongroom"
EMULATOR_KEY = "c3Ryb25ncm9vbQ=="


class Machine:
    """What all tests of a process share: a certificate, an identity, the npm emulators."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        atexit.register(self._stack.close)
        self.folder = Path(self._stack.enter_context(TemporaryDirectory()))
        self.certificate: Certificate = make_certificate(self.folder)
        self._stack.enter_context(trusted(self.certificate))
        self.identity = IdentityEndpoint().start()
        self._stack.callback(self.identity.stop)
        os.environ.update(self.identity.environment)

    @lru_cache(maxsize=1)  # noqa: B019 - one machine a process
    def cosmosdb(self) -> int:
        return self._stack.enter_context(node.cosmosdb(self.certificate))

    @lru_cache(maxsize=1)  # noqa: B019
    def azurite(self) -> int:
        folder = self.folder / "azurite"
        folder.mkdir()
        return self._stack.enter_context(node.azurite(self.certificate, folder))


@lru_cache(maxsize=1)
def machine() -> Machine:
    return Machine()


async def sockets_closed() -> None:
    """Wait for the loop's last socket: aiohttp leaves the end of a TLS connection to the loop."""
    registered = asyncio.get_running_loop()._selector.get_map()  # type: ignore[attr-defined]
    with suppress(TimeoutError):
        async with asyncio.timeout(2):
            # One is the loop's own, by which other threads wake it.
            while len(registered) > 1:  # noqa: ASYNC110 - the loop has no event for it
                await asyncio.sleep(0.01)


@asynccontextmanager
async def fresh_cosmosdb(port: int, name: str = DATABASE) -> AsyncIterator[CosmosClient]:
    """The emulator with new, empty containers, and a client that may look behind the adapter."""
    async with CosmosClient(f"https://127.0.0.1:{port}", EMULATOR_KEY) as client:
        async for database in client.list_databases():
            await client.delete_database(database["id"])
        made = await client.create_database(name)
        for container in (TENANTS_CONTAINER, DIRECTORY_CONTAINER):
            await made.create_container(container, PartitionKey("/partition"), default_ttl=-1)
        yield client


async def remove_expired(client: CosmosClient, clock: FakeClock) -> None:
    """Do what Cosmos DB's time to live does, and the emulator does not."""
    for name in (TENANTS_CONTAINER, DIRECTORY_CONTAINER):
        container = client.get_database_client(DATABASE).get_container_client(name)
        expired = [
            item
            async for item in container.read_all_items()
            if item.get("expires_at", float("inf")) <= microseconds(clock.now())
        ]
        for item in expired:
            await container.delete_item(item["id"], item["partition"])


@asynccontextmanager
async def records(_folder: Path) -> AsyncIterator[RecordsHarness]:
    clock = FakeClock()
    address = f"https://127.0.0.1:{machine().cosmosdb()}"
    async with AsyncExitStack() as stack:
        stack.push_async_callback(sockets_closed)
        behind = await stack.enter_async_context(fresh_cosmosdb(machine().cosmosdb()))

        async def reopen() -> AzureRecords:
            clients = AzureClients()
            stack.push_async_callback(clients.close)
            return AzureRecords(clients, address, DATABASE, clock)

        async def advance(seconds: float) -> None:
            clock.advance(seconds)
            await remove_expired(behind, clock)

        yield RecordsHarness(await reopen(), clock.now, advance, reopen)


@asynccontextmanager
async def blobs(_folder: Path) -> AsyncIterator[BlobsHarness]:
    address = f"https://127.0.0.1:{machine().azurite()}/devstoreaccount1"
    clock = SystemClock()
    containers = [f"vault-{uuid.uuid4().hex}", f"other-{uuid.uuid4().hex}"]
    async with AsyncExitStack() as stack:
        stack.push_async_callback(sockets_closed)
        for container in containers:
            clients = AzureClients()
            stack.push_async_callback(clients.close)
            await clients.blob_service(address).create_container(container)

        async def reopen(container: str = containers[0]) -> AzureBlobs:
            clients = AzureClients()
            stack.push_async_callback(clients.close)
            return AzureBlobs(clients, address, container, clock)

        yield BlobsHarness(await reopen(), await reopen(containers[1]), clock.now, reopen)


@asynccontextmanager
async def write_once(_folder: Path) -> AsyncIterator[WriteOnceHarness]:
    # Azurite dates what it takes by the machine's clock.
    clock = FakeClock(datetime.now(UTC).replace(microsecond=0))
    containers = [f"backup-{uuid.uuid4().hex}", f"other-{uuid.uuid4().hex}"]
    azurite, certificate = machine().azurite(), machine().certificate
    front = ImmutableFront(azurite, certificate, containers[0], clock.now).start()
    account = f"{front.url}/{ACCOUNT}"
    async with AsyncExitStack() as stack:
        stack.callback(front.stop)
        stack.push_async_callback(sockets_closed)

        def opened() -> AzureClients:
            clients = AzureClients()
            stack.push_async_callback(clients.close)
            return clients

        for container in containers:
            await opened().blob_service(account).create_container(container)

        async def reopen() -> AzureWriteOnce:
            return AzureWriteOnce(opened(), account, containers[0], clock)

        async def advance(seconds: float) -> None:
            clock.advance(seconds)

        other = AzureBlobs(opened(), account, containers[1], SystemClock())
        yield WriteOnceHarness(await reopen(), other, clock.now, advance, reopen)


class BothSides:
    """The bus and the source of one process as one object."""

    def __init__(self, bus: AzureBus, source: AzureSource) -> None:
        self.publish, self.dead_letters, self.replay = bus.publish, bus.dead_letters, bus.replay
        self.receive, self.complete, self.abandon = source.receive, source.complete, source.abandon
        self.dead_letter, self.renew = source.dead_letter, source.renew


class Rests:
    """Back-offs that end when the broker's clock has passed them."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._ends: list[tuple[datetime, asyncio.Future[None]]] = []

    async def __call__(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        # The margin is the time that passes by itself between an advance and the next.
        self._ends.append((self._broker.now() + timedelta(seconds=seconds - 0.5), future))
        await future

    def end(self, seconds: float) -> int:
        """End what is over in so many seconds; how many there were."""
        horizon = self._broker.now() + timedelta(seconds=seconds)
        due = [(at, future) for at, future in self._ends if at <= horizon]
        self._ends = [end for end in self._ends if end not in due]
        for _, future in due:
            future.set_result(None)
        return len(due)


@asynccontextmanager
async def bus(_folder: Path) -> AsyncIterator[BusHarness]:
    broker = Broker(FAN_OUT)
    broker.start()
    rests = Rests(broker)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(sockets_closed)
        stack.callback(broker.stop)

        async def reopen() -> BothSides:
            clients = AzureClients(timeouts=Timeouts(poll=0.01))
            bus = AzureBus(clients, broker.connection_string, FAN_OUT)
            source = AzureSource(clients, broker.connection_string, FAN_OUT, broker, rests)
            for close in (clients.close, bus.close, source.close):
                stack.push_async_callback(close)
            return BothSides(bus, source)

        async def advance(seconds: float) -> None:
            # A back-off that was asked for has begun, and ends before the lock that it holds.
            await asyncio.sleep(0)
            abandoned = broker.counts["abandon"] + rests.end(seconds)
            async with asyncio.timeout(10):
                while broker.counts["abandon"] < abandoned:  # noqa: ASYNC110 - no event to wait for
                    await asyncio.sleep(0.01)
            broker.advance(seconds)

        yield BusHarness(await reopen(), broker.now, advance, reopen)


@asynccontextmanager
async def keys(_folder: Path) -> AsyncIterator[KeysHarness]:
    accepts = machine().identity.issued.__contains__
    vault = Vault(machine().certificate, accepts, purge_protection=True).start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(sockets_closed)
        stack.callback(vault.stop)

        async def reopen() -> AzureKeys:
            clients = AzureClients()
            stack.push_async_callback(clients.close)
            return AzureKeys(clients, vault.url)

        yield KeysHarness(await reopen(), reopen)
