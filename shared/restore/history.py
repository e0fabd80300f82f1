"""That a tenant went back in time, and how its chain of sets goes on."""

from __future__ import annotations

from shared.backup.snapshot import Snapshots
from shared.backup.state import STATE_ID, BackupState, states_of
from shared.base.errors import Damaged, NotFound
from shared.base.partitions import Partition
from shared.journal.contention import retry_conflicts
from shared.ports.clock import Runtime
from shared.ports.records import RecordStore


async def mark_restored(
    records: RecordStore, snapshots: Snapshots, runtime: Runtime, tenant: str
) -> None:
    """Note that a tenant went back in time, and let its next set follow the newest one there is.

    Raises:
        Unavailable: A store does not respond.
    """
    states, partition = states_of(records), Partition(tenant)

    async def attempt() -> None:
        found = await states.find(partition, STATE_ID)
        if found is not None and found.value.last is not None:
            marked = found.value.model_copy(update={"restored_at": runtime.now()})
            await records.commit(partition, [states.replace(found, marked)])
            return
        marked = await _state_after(snapshots, tenant)
        marked = marked.model_copy(update={"restored_at": runtime.now()})
        change = states.put(partition, found, marked)
        await records.commit(partition, [change])

    await retry_conflicts(attempt, runtime)


async def _state_after(snapshots: Snapshots, tenant: str) -> BackupState:
    """The state of a tenant whose record of it is lost: after the newest set that can be read.

    The next set reads all records anew: the positions in the sets before are of another record store.
    """
    for name in reversed(await snapshots.reader.sets(tenant)):
        try:
            manifest = await snapshots.reader.manifests.read(tenant, name)
            last = await snapshots.reader.manifests.preceding(tenant, name)
        except (Damaged, NotFound):
            continue
        return BackupState(sequence=manifest.sequence, last=last, whole=True)
    return BackupState(whole=True)
