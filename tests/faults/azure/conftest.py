"""The Azure adapters behind a proxy, or against a broker, that fails when a test says so."""

from __future__ import annotations

import gc
import uuid
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from azure.storage.blob.aio import ContainerClient

from shared.adapters.azure.blobs import AzureBlobs
from shared.adapters.azure.bus import AzureBus
from shared.adapters.azure.calls import Timeouts
from shared.adapters.azure.clients import AzureClients
from shared.adapters.azure.keys import AzureKeys
from shared.adapters.azure.records import AzureRecords
from shared.adapters.azure.source import AzureSource
from shared.adapters.azure.write_once import AzureWriteOnce
from shared.ports.clock import SystemClock
from tests.support.clock import FakeClock
from tests.support.contract.azure import DATABASE, fresh_cosmosdb, machine, sockets_closed
from tests.support.emulators.front import ACCOUNT, StorageFront
from tests.support.emulators.immutability import ImmutableFront
from tests.support.emulators.keyvault import Vault
from tests.support.emulators.servers import FaultProxy
from tests.support.emulators.servicebus import Broker
from tests.support.topology import FAN_OUT


@dataclass
class Waits:
    """Pauses that take no time; what is wrong meanwhile may end during one of them."""

    seconds: list[float] = field(default_factory=list)
    meanwhile: Callable[[], object] | None = None

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if self.meanwhile is not None:
            self.meanwhile()
            self.meanwhile = None


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
async def clients(waits: Waits) -> AsyncIterator[AzureClients]:
    clients = AzureClients(timeouts=Timeouts(2.0, 2.0, 0.01, 30.0, waits))
    yield clients
    await clients.close()
    await sockets_closed()


@pytest.fixture
def vault() -> Iterator[Vault]:
    vault = Vault(machine().certificate, machine().identity.issued.__contains__).start()
    yield vault
    vault.stop()


@pytest.fixture
def keys_proxy(vault: Vault) -> Iterator[FaultProxy]:
    proxy = FaultProxy(vault.port, machine().certificate).start()
    yield proxy
    proxy.stop()


@pytest.fixture
def keys(clients: AzureClients, keys_proxy: FaultProxy) -> AzureKeys:
    return AzureKeys(clients, keys_proxy.url)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def records_proxy() -> AsyncIterator[FaultProxy]:
    async with fresh_cosmosdb(machine().cosmosdb()):
        proxy = FaultProxy(machine().cosmosdb(), machine().certificate).start()
        yield proxy
        proxy.stop()


@pytest.fixture
def records(clients: AzureClients, records_proxy: FaultProxy, clock: FakeClock) -> AzureRecords:
    return AzureRecords(clients, records_proxy.url, DATABASE, clock)


@pytest.fixture
async def blobs_proxy() -> AsyncIterator[StorageFront]:
    proxy = StorageFront(machine().azurite(), machine().certificate).start()
    yield proxy
    proxy.stop()


@pytest.fixture
async def blobs(clients: AzureClients, blobs_proxy: StorageFront) -> AzureBlobs:
    account, container = f"{blobs_proxy.url}/devstoreaccount1", f"vault-{uuid.uuid4().hex}"
    await clients.blob_service(account).create_container(container)
    return AzureBlobs(clients, account, container, SystemClock())


@pytest.fixture
def present() -> FakeClock:
    """A clock that stands at the moment at which Azurite dates what it takes."""
    return FakeClock(datetime.now(UTC).replace(microsecond=0))


@pytest.fixture
async def backup_proxy(present: FakeClock) -> AsyncIterator[ImmutableFront]:
    azurite, certificate = machine().azurite(), machine().certificate
    container = f"backup-{uuid.uuid4().hex}"
    proxy = ImmutableFront(azurite, certificate, container, present.now).start()
    yield proxy
    proxy.stop()


@pytest.fixture
async def backup_container(clients: AzureClients, backup_proxy: ImmutableFront) -> ContainerClient:
    """The container, as whoever has the identity of the app can use it."""
    service = clients.blob_service(f"{backup_proxy.url}/{ACCOUNT}")
    return await service.create_container(backup_proxy.container)


@pytest.fixture
async def backup(
    clients: AzureClients,
    backup_proxy: ImmutableFront,
    backup_container: ContainerClient,
    present: FakeClock,
) -> AzureWriteOnce:
    account = f"{backup_proxy.url}/{ACCOUNT}"
    return AzureWriteOnce(clients, account, backup_container.container_name, present)


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker(FAN_OUT)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
async def bus(clients: AzureClients, broker: Broker) -> AsyncIterator[AzureBus]:
    bus = AzureBus(clients, broker.connection_string, FAN_OUT)
    yield bus
    await bus.close()
    # The SDK forgets the socket of a connection that broke; its warning must not meet another test.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
async def source(clients: AzureClients, broker: Broker, waits: Waits) -> AsyncIterator[AzureSource]:
    source = AzureSource(clients, broker.connection_string, FAN_OUT, broker, waits)
    yield source
    await source.close()
