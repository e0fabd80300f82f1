"""Wiring: the one place that picks adapters and puts the services together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from shared.audit.log import AuditLog
from shared.base.environment import check_environment
from shared.base.topology import Topology, load_topology
from shared.documents.opening import ContentOpener
from shared.documents.reading import DocumentReader
from shared.documents.recording import Recorder
from shared.documents.sealing import ContentSealer
from shared.documents.service import Documents
from shared.documents.store import DocumentRecords
from shared.documents.sweep import Sweep
from shared.documents.uploads import Uploads
from shared.identity.accounts import Accounts
from shared.identity.passwords import PasswordHasher
from shared.identity.sign_in import SignIn
from shared.identity.tenants import Tenants
from shared.identity.tokens import Tokens
from shared.journal.idempotency import Idempotency
from shared.journal.journal import Journal
from shared.journal.outbox import Outbox
from shared.keys.epochs import EpochKeys
from shared.ports.blobs import BlobStore
from shared.ports.bus import EventBus, EventSource
from shared.ports.clock import Clock, Entropy, SystemClock, system_entropy
from shared.ports.keys import KeyVault
from shared.ports.records import RecordStore
from shared.replication.service import Replication
from shared.wiring.settings import Settings, get_settings


@dataclass(frozen=True, slots=True)
class Adapters:
    """What stands behind the ports.

    Attributes:
        primary: Sealed content.
        replica: Sealed contents in the second region.
        staging: Contents on their way in.
        records: Records.
        key_vault: Keys.
        bus: The sending side of the bus.
        source: The receiving side, for hosts that pump messages themselves.
        verify_grant: The size limit of an upload grant, by object name and query parameters, for a
            server that takes staged contents itself; None where the storage service does.
        environments: Asks each resource that can tell which environment it belongs to.
        close: Ends them all.
    """

    primary: BlobStore
    replica: BlobStore
    staging: BlobStore
    records: RecordStore
    key_vault: KeyVault
    bus: EventBus
    source: EventSource
    verify_grant: Callable[[str, Mapping[str, str]], int] | None
    environments: Callable[[], Awaitable[Mapping[str, str | None]]]
    close: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that the doors call."""

    settings: Settings
    topology: Topology
    clock: Clock
    adapters: Adapters
    journal: Journal
    outbox: Outbox
    audit_log: AuditLog
    tokens: Tokens
    accounts: Accounts
    tenants: Tenants
    sign_in: SignIn
    reader: DocumentReader
    documents: Documents
    uploads: Uploads
    sweep: Sweep
    replication: Replication
    _started: list[bool] = field(default_factory=list)

    async def start(self) -> None:
        """Make sure that the stores belong to this environment, once.

        Raises:
            WrongEnvironment: They do not.
            Unavailable: They do not answer.
        """
        if not self._started:
            check_environment(self.settings.environment, await self.adapters.environments())
            self._started.append(True)

    async def close(self) -> None:
        """Publish what is being published, then end the adapters."""
        await self.outbox.close()
        await self.adapters.close()


def embedded_adapters(
    settings: Settings, topology: Topology, clock: Clock, entropy: Entropy
) -> Adapters:
    """Files and SQLite below the data folder."""
    from shared.adapters.embedded.blobs import FileBlobs
    from shared.adapters.embedded.bus import SqliteBus
    from shared.adapters.embedded.environment import marked_environment
    from shared.adapters.embedded.grants import UploadGrants
    from shared.adapters.embedded.keys import FileKeyVault
    from shared.adapters.embedded.records import SqliteRecords
    from shared.adapters.embedded.roots import Passphrase, RootKeyFile, RootKeySource
    from shared.adapters.embedded.sealed import SealedBlobs

    data = settings.data_dir
    staged_url = settings.staged_public_base_url or f"{settings.public_base_url}/staged"
    records = SqliteRecords(data / "records.db", clock)
    bus = SqliteBus(data / "bus.db", topology, clock, entropy)
    root: RootKeySource
    if settings.key_passphrase is not None:
        root = Passphrase(settings.key_passphrase.get_secret_value())
    else:
        root = RootKeyFile(settings.root_key_file or data / "root.key")
    key_vault = FileKeyVault(data / "keys", root, clock, entropy)
    grants = UploadGrants(staged_url, key_vault.derive("upload grants"), clock)

    # Plaintext arrives there, so the disk gets what a cloud's storage gives: encryption at rest.
    staging = FileBlobs(data / "staging", clock, grants)

    async def environments() -> Mapping[str, str | None]:
        return {"the data folder": await marked_environment(data, settings.environment)}

    async def close() -> None:
        await records.close()
        await bus.close()

    return Adapters(
        primary=FileBlobs(data / "primary", clock),
        replica=FileBlobs(data / "replica", clock),
        staging=SealedBlobs(staging, key_vault.derive("staging at rest"), entropy),
        records=records,
        key_vault=key_vault,
        bus=bus,
        source=bus,
        verify_grant=grants.verify,
        environments=environments,
        close=close,
    )


def azure_adapters(settings: Settings, topology: Topology, clock: Clock) -> Adapters:
    """Azure's services, reached with the managed identity."""
    from shared.adapters.azure.blobs import AzureBlobs
    from shared.adapters.azure.bus import AzureBus
    from shared.adapters.azure.clients import AzureClients
    from shared.adapters.azure.keys import AzureKeys
    from shared.adapters.azure.records import AzureRecords
    from shared.adapters.azure.source import AzureSource

    def named(service: str | None) -> str:
        return service or ""  # the settings have made sure that there is one

    clients = AzureClients()
    namespace = named(settings.service_bus_namespace)
    bus = AzureBus(clients, namespace, topology)
    source = AzureSource(clients, namespace, topology, clock)
    stores = {
        "primary": AzureBlobs(clients, named(settings.primary_account_url), "primary", clock),
        "replica": AzureBlobs(clients, named(settings.replica_account_url), "replica", clock),
        "staging": AzureBlobs(
            clients,
            named(settings.staging_account_url),
            "staging",
            clock,
            settings.staged_public_base_url,
        ),
    }

    async def environments() -> Mapping[str, str | None]:
        return {
            f"the container {name}": await store.environment() for name, store in stores.items()
        }

    async def close() -> None:
        await source.close()
        await bus.close()
        await clients.close()

    return Adapters(
        primary=stores["primary"],
        replica=stores["replica"],
        staging=stores["staging"],
        records=AzureRecords(
            clients, named(settings.cosmos_endpoint), settings.cosmos_database, clock
        ),
        key_vault=AzureKeys(clients, named(settings.key_vault_url)),
        bus=bus,
        source=source,
        verify_grant=None,
        environments=environments,
        close=close,
    )


def build(settings: Settings, clock: Clock, entropy: Entropy) -> Services:
    """Put the services of one process together; nothing is connected yet.

    Embedded, the key vault is opened here, and made in a new data folder, as other keys are derived from
    its root: a root key that is not the right one is known before anything else is touched.

    Raises:
        Unavailable: Embedded: the root key is not the right one, or cannot be used.
        Damaged: Embedded: the key vault is damaged.
    """
    topology = load_topology()
    if settings.profile == "embedded":
        adapters = embedded_adapters(settings, topology, clock, entropy)
    else:
        adapters = azure_adapters(settings, topology, clock)
    records, key_vault = adapters.records, adapters.key_vault
    environment = settings.environment

    outbox = Outbox(records, adapters.bus, clock)
    journal = Journal(records, outbox, environment, clock, entropy)
    idempotency = Idempotency(records, clock)
    hasher = PasswordHasher(entropy)
    accounts = Accounts(records, journal, hasher, idempotency, clock, entropy)
    tenants = Tenants(
        records,
        journal,
        accounts,
        key_vault,
        idempotency,
        settings.bootstrap_secret_sha256,
        clock,
        entropy,
    )
    tokens = Tokens(records, key_vault, journal, environment, clock, entropy)
    epochs = EpochKeys(records, key_vault, journal, clock, entropy)
    store = DocumentRecords(records)
    sealer = ContentSealer(adapters.primary, epochs, environment, clock, entropy)
    opener = ContentOpener(adapters.primary, adapters.replica, epochs, environment)
    reader = DocumentReader(store, journal, opener)
    recorder = Recorder(journal, adapters.primary)
    uploads = Uploads(
        store,
        journal,
        adapters.staging,
        sealer,
        recorder,
        epochs,
        idempotency,
        environment,
        settings.max_staged_upload_bytes,
        clock,
        entropy,
    )
    return Services(
        settings=settings,
        topology=topology,
        clock=clock,
        adapters=adapters,
        journal=journal,
        outbox=outbox,
        audit_log=AuditLog(records, journal),
        tokens=tokens,
        accounts=accounts,
        tenants=tenants,
        sign_in=SignIn(records, journal, accounts, tenants, tokens, hasher, clock),
        reader=reader,
        documents=Documents(
            store,
            journal,
            sealer,
            reader,
            recorder,
            idempotency,
            settings.max_direct_upload_bytes,
            clock,
            entropy,
        ),
        uploads=uploads,
        sweep=Sweep(
            records,
            store,
            uploads,
            adapters.primary,
            adapters.replica,
            adapters.staging,
            clock,
        ),
        replication=Replication(
            store, journal, opener, adapters.primary, adapters.replica, clock, entropy
        ),
    )


@lru_cache(maxsize=1)
def get_services() -> Services:
    """The services of this process, put together once."""
    return build(get_settings(), SystemClock(), system_entropy)


async def ready_services() -> Services:
    """The services of this process, once it is sure that they are in the right environment.

    Raises:
        WrongEnvironment: They are not.
        Unavailable: A store does not answer.
    """
    services = get_services()
    await services.start()
    return services
