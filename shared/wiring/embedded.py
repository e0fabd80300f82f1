"""The embedded profile: files and SQLite below the data folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from shared.adapters.embedded.blobs import FileBlobs
from shared.adapters.embedded.bus import SqliteBus
from shared.adapters.embedded.by_size import BlobsBySize
from shared.adapters.embedded.environment import marked_environment
from shared.adapters.embedded.folders import check_room
from shared.adapters.embedded.grants import UploadGrants
from shared.adapters.embedded.keys import FileKeyVault
from shared.adapters.embedded.mirror import KeyVaultMirror
from shared.adapters.embedded.records import SqliteRecords
from shared.adapters.embedded.roots import Passphrase, RootKeyFile, RootKeySource
from shared.adapters.embedded.sealed import SealedBlobs
from shared.adapters.embedded.threads import on_disk
from shared.adapters.embedded.write_once import FileWriteOnce
from shared.base.activity import Activity
from shared.base.topology import Topology
from shared.ports.clock import Runtime
from shared.wiring.adapters import Adapters
from shared.wiring.deferred import external_targets, http_collectors, http_poster
from shared.wiring.settings import Settings
from shared.wiring.upgrade import upgrade_data_folder


def embedded_adapters(settings: Settings, topology: Topology, runtime: Runtime) -> Adapters:
    """Files and SQLite below the data folder."""
    clock, entropy = runtime.clock, runtime.entropy
    data = settings.data_dir
    backup = backup_folder(settings)
    staged_url = settings.staged_public_base_url or f"{settings.public_base_url}/staged"
    activity = Activity()
    records = SqliteRecords(data / "records.db", clock, activity)
    targets = external_targets(runtime, settings.targets_dir)
    collectors = http_collectors(runtime)
    poster = http_poster(runtime)
    bus = SqliteBus(data / "bus.db", topology, clock, entropy, activity)
    root: RootKeySource
    if settings.key_passphrase is not None:
        root = Passphrase(settings.key_passphrase.get_secret_value())
    else:
        root = RootKeyFile(settings.root_key_file or data / "root.key")
    key_vault = FileKeyVault(data / "keys", root, clock, entropy)
    grants = UploadGrants(staged_url, key_vault.derive("upload grants"), clock)

    # Plaintext arrives there, so the disk gets what a cloud's storage gives: encryption at rest.
    staging = BlobsBySize(data / "staging", clock, grants, activity)

    async def environments() -> Mapping[str, str | None]:
        return {"the data folder": await marked_environment(data, settings.environment)}

    primary = BlobsBySize(data / "primary", clock, activity=activity)
    replica = BlobsBySize(data / "replica", clock, activity=activity)
    sets, audit = FileWriteOnce(backup / "sets", clock), FileWriteOnce(backup / "audit", clock)
    backup_keys = FileBlobs(backup / "keys", clock, forgets=True)

    async def upgrade() -> None:
        await upgrade_data_folder(data, runtime)
        # Not only where the process writes: it may not write to a store for as long as it lives.
        for store in (primary, replica, staging, sets, audit, backup_keys):
            await store.remove_leftovers()

    async def room() -> None:
        for folder in (data, backup):
            await on_disk(check_room, folder)

    async def close() -> None:
        await targets.close()
        await collectors.close()
        await poster.close()
        for database in (primary, replica, staging, records, bus):
            await database.close()

    return Adapters(
        primary=primary,
        replica=replica,
        staging=SealedBlobs(staging, key_vault.derive("staging at rest"), entropy),
        backup=sets,
        backup_keys=backup_keys,
        audit=audit,
        records=records,
        targets=targets,
        collectors=collectors,
        poster=poster,
        key_vault=key_vault,
        bus=bus,
        source=bus,
        verify_grant=grants.verify,
        environments=environments,
        upgrade=upgrade,
        mirror_keys=key_vault_mirror(settings).update,
        close=close,
        check_room=room,
        activity=activity,
    )


def backup_folder(settings: Settings) -> Path:
    """Where the embedded profile keeps backups."""
    return settings.backup_dir or settings.data_dir / "backup"


def key_vault_mirror(settings: Settings) -> KeyVaultMirror:
    """The copy of the key vault beside the backups."""
    return KeyVaultMirror(settings.data_dir / "keys", backup_folder(settings) / "key-vault")
