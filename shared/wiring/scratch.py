"""Scratch space for drills: the services of a restore over stores that last for one partition."""

from __future__ import annotations

from collections.abc import Callable

from shared.adapters.memory.bus import MemoryBus
from shared.adapters.memory.records import MemoryRecords
from shared.adapters.memory.scratch import ScratchBlobs
from shared.audit.log import AuditLog
from shared.audit.sealing import EntrySealer
from shared.backup.plaintext import ContentReader
from shared.base.topology import Topology
from shared.documents.opening import ContentOpener
from shared.documents.sealing import ContentSealer
from shared.documents.store import DocumentRecords
from shared.journal.agenda import Agenda
from shared.journal.journal import Journal
from shared.journal.outbox import Outbox
from shared.keys.epochs import EpochKeys
from shared.ports.clock import Runtime
from shared.restore.assessing import Assessor
from shared.restore.comparison import Scratch
from shared.restore.copying import TenantCopier
from shared.restore.documents import DocumentRestorer
from shared.restore.records import RecordRestorer
from shared.restore.tenants import TenantRestorer


def scratch_maker(
    epochs: EpochKeys, sealer: EntrySealer, environment: str, runtime: Runtime
) -> Callable[[], Scratch]:
    """Makes scratch space whenever it is called; nothing there reaches the service.

    Args:
        epochs: The keys of the service, which open content.
        sealer: Seals the personal data of audit entries.
        environment: Bound into the encryption.
        runtime: Time and randomness.
    """
    topic = {"name": "events", "duplicateDetectionMinutes": 1, "subscriptions": ()}
    nobody = Topology.model_validate({"topics": (topic,)})

    def make() -> Scratch:
        records = MemoryRecords(runtime.clock)
        blobs = ScratchBlobs(runtime.clock)
        agenda = Agenda(records, runtime)
        bus = MemoryBus(nobody, runtime.clock, runtime.entropy)
        journal = Journal(
            records, Outbox(records, bus, agenda, environment, runtime), environment, runtime
        )
        store = DocumentRecords(records, agenda)
        restorer = DocumentRestorer(
            Assessor(store, blobs),
            store,
            journal,
            ContentSealer(blobs, epochs, store, environment, runtime),
            ContentReader(ContentOpener(blobs, blobs, epochs, environment)),
            runtime,
        )
        audit_log = AuditLog(
            records, agenda, sealer, journal, runtime, index_days=1, checkpoint_seconds=60
        )
        tenants = TenantRestorer(
            RecordRestorer(records), restorer, TenantCopier(restorer), audit_log
        )
        return Scratch(tenants, records, blobs)

    return make
