"""The services of the audit logs, put together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from shared.audit.checkpoints import Announce, Checkpoints, nobody_waits
from shared.audit.evidence import Evidence
from shared.audit.export import LogExports
from shared.audit.feed import LogFeed
from shared.audit.keeping import LogKeeper
from shared.audit.log import AuditLog
from shared.audit.monitor import Monitor
from shared.audit.periods import Periods
from shared.audit.reading import LogReader
from shared.audit.rebuilding import IndexRebuilder
from shared.audit.recovery import LogRecovery
from shared.audit.rules import rules
from shared.audit.sealing import EntrySealer
from shared.audit.signed import CheckpointCheck
from shared.audit.signing import CheckpointKeys
from shared.audit.storage import LogStore
from shared.audit.watching import Watch
from shared.journal.agenda import Agenda
from shared.journal.journal import Journal
from shared.keys.epochs import EpochKeys
from shared.ports.clock import Runtime
from shared.wiring.adapters import Adapters
from shared.wiring.settings import Settings


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that has to do with audit logs.

    Attributes:
        log: Appends to them.
        checkpoints: Puts what was appended into tiles, and signs it.
        keys: Sign checkpoints.
        reader: Reads them.
        exports: Export periods of them.
        evidence: Collects what auditors ask for.
        feed: Gives them out in their order, page by page.
        monitor: Looks for differences and alerts.
        rebuilder: Makes the index equal to the tiles again.
    """

    log: AuditLog
    checkpoints: Checkpoints
    keys: CheckpointKeys
    reader: LogReader
    exports: LogExports
    evidence: Evidence
    feed: LogFeed
    monitor: Monitor
    rebuilder: IndexRebuilder


def build_audit(
    settings: Settings,
    adapters: Adapters,
    journal: Journal,
    agenda: Agenda,
    epochs: EpochKeys,
    runtime: Runtime,
    announce: Announce = nobody_waits,
) -> Audit:
    """Put the services of the audit logs together."""
    records = adapters.records
    store = LogStore(adapters.audit, timedelta(days=settings.audit_retention_days), runtime)
    keys = CheckpointKeys(
        records,
        adapters.key_vault,
        journal,
        runtime,
        timedelta(days=settings.audit_key_rotation_days),
        settings.log_host,
    )
    recovery = LogRecovery(store, keys)
    sealer = EntrySealer(epochs, settings.environment, runtime)
    log = AuditLog(
        records,
        agenda,
        sealer,
        journal,
        runtime,
        settings.audit_index_days,
        settings.audit_checkpoint_seconds,
        recovery,
    )
    checkpoints = Checkpoints(records, log, store, keys, recovery, agenda, announce)
    reader = LogReader(log, checkpoints, store, journal)
    periods = Periods(log)
    exports = LogExports(reader, keys, periods)
    checks = CheckpointCheck(records, store, keys, runtime)
    monitor = Monitor(
        log,
        store,
        checks,
        journal,
        agenda,
        Watch(records, journal, sealer, rules(settings.audit_downloads_per_hour)),
        LogKeeper(store, runtime),
        every=timedelta(days=settings.audit_monitor_days),
    )
    return Audit(
        log,
        checkpoints,
        keys,
        reader,
        exports,
        Evidence(reader, keys, periods),
        LogFeed(reader),
        monitor,
        IndexRebuilder(log, store, checks, journal),
    )
