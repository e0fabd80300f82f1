"""Apps whose operator names witnesses, and a log that has been attested."""

from __future__ import annotations

from shared.attestation.models import StampedLog, WitnessedLog, stamped_logs, witnessed_logs
from shared.base.partitions import Partition
from shared.journal.agenda import Task
from shared.wiring.attestation import build_attestations
from tests.support.app import App
from tests.support.witnesses import MemoryWitness, policy_text


def one_line(text: str) -> str:
    """A file as a setting can hold it."""
    return text.replace("\n", "|")


def name_witness(app: App, witness: MemoryWitness) -> None:
    """Name a witness of an app that was opened without."""
    services = app.services
    settings = services.settings.model_copy(update={"audit_witness_policy": policy_text([witness])})
    app.poster.services[witness.url] = witness.respond
    services.attestations = build_attestations(
        settings, services.audit, services.audit.checkpoints.agenda, services.adapters.poster
    )


async def announce(app: App, tenant: str) -> None:
    """What happens before a checkpoint where the operator names someone."""
    await app.services.audit.checkpoints.agenda.announce(Task.ATTEST_LOG, Partition(tenant))


async def keep_attestations(app: App, tenant: str) -> None:
    """Keep the newest checkpoint of a log as if it had been cosigned and stamped."""
    records = app.services.adapters.records
    newest = await app.services.audit.reader.checkpoint(tenant)
    partition = Partition(tenant)
    witnessed = WitnessedLog(size=newest.tree.size, note=newest.note)
    stamped = StampedLog(
        size=newest.tree.size,
        note=newest.note,
        reply=b"a time stamp",
        stamped_at=app.clock.now(),
    )
    changes = [
        witnessed_logs(records).create(partition, witnessed),
        stamped_logs(records).create(partition, stamped),
    ]
    await records.commit(partition, changes)
