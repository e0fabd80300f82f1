"""The Azure profile: Azure's services, reached with the managed identity."""

from __future__ import annotations

from collections.abc import Mapping

from shared.adapters.azure.blobs import AzureBlobs
from shared.adapters.azure.bus import AzureBus
from shared.adapters.azure.clients import AzureClients
from shared.adapters.azure.keys import AzureKeys
from shared.adapters.azure.records import AzureRecords
from shared.adapters.azure.source import AzureSource
from shared.adapters.azure.write_once import AzureWriteOnce
from shared.base.topology import Topology
from shared.ports.clock import Runtime
from shared.wiring.adapters import Adapters
from shared.wiring.deferred import external_targets, http_collectors, http_poster
from shared.wiring.settings import Settings


def azure_adapters(settings: Settings, topology: Topology, runtime: Runtime) -> Adapters:
    """Azure's services, reached with the managed identity."""

    def named(service: str | None) -> str:
        return service or ""  # the settings have made sure that there is one

    clock = runtime.clock
    clients = AzureClients()
    namespace = named(settings.service_bus_namespace)
    bus = AzureBus(clients, namespace, topology)
    source = AzureSource(clients, namespace, topology, clock)
    targets = external_targets(runtime, folders=None)
    collectors = http_collectors(runtime)
    poster = http_poster(runtime)
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
        "backup-keys": AzureBlobs(
            clients, named(settings.backup_keys_account_url), "backup-keys", clock
        ),
    }
    backup = AzureWriteOnce(clients, named(settings.backup_account_url), "backup", clock)
    audit = AzureWriteOnce(clients, named(settings.backup_account_url), "audit", clock)
    marked: Mapping[str, AzureBlobs | AzureWriteOnce] = {
        **stores,
        "backup": backup,
        "audit": audit,
    }

    async def environments() -> Mapping[str, str | None]:
        return {
            f"the container {name}": await store.environment() for name, store in marked.items()
        }

    async def upgrade() -> None:
        """Nothing: a release that changes the form of what Azure holds says so in its notes."""

    async def mirror_keys() -> None:
        """Nothing: Key Vault keeps its own copies, in both regions."""

    async def close() -> None:
        await targets.close()
        await collectors.close()
        await poster.close()
        await source.close()
        await bus.close()
        await clients.close()

    return Adapters(
        primary=stores["primary"],
        replica=stores["replica"],
        staging=stores["staging"],
        backup=backup,
        backup_keys=stores["backup-keys"],
        audit=audit,
        records=AzureRecords(
            clients, named(settings.cosmos_endpoint), settings.cosmos_database, clock
        ),
        targets=targets,
        collectors=collectors,
        poster=poster,
        key_vault=AzureKeys(
            clients,
            named(settings.key_vault_url),
            in_hardware=settings.key_protection == "hardware",
        ),
        bus=bus,
        source=source,
        verify_grant=None,
        environments=environments,
        upgrade=upgrade,
        mirror_keys=mirror_keys,
        close=close,
    )
