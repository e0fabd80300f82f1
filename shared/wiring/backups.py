"""The services of backups, put together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from shared.audit.log import AuditLog
from shared.backup.contents import ContentBackup
from shared.backup.manifests import Manifests
from shared.backup.packs import Packs
from shared.backup.pages import KeyPages
from shared.backup.parts import PartBackup
from shared.backup.plaintext import ContentReader
from shared.backup.pruning import Pruning
from shared.backup.reading import SetReader
from shared.backup.segments import Segments
from shared.backup.sets import BackupSets
from shared.backup.snapshot import Snapshots
from shared.backup.timer import BackupTimer
from shared.documents.opening import ContentOpener
from shared.documents.sealing import ContentSealer
from shared.journal.agenda import Agenda
from shared.journal.idempotency import Idempotency
from shared.journal.journal import Journal
from shared.keys.intermediate import IntermediateKeys
from shared.keys.tenants import TenantKeys
from shared.policy.service import Policies
from shared.ports.clock import Runtime
from shared.restore.assessing import Assessor
from shared.restore.comparison import Comparison
from shared.restore.copying import TenantCopier
from shared.restore.documents import DocumentRestorer
from shared.restore.drills import Drills
from shared.restore.planning import Planner
from shared.restore.records import RecordRestorer
from shared.restore.service import Restores
from shared.restore.tenants import TenantRestorer
from shared.restore.timer import RestoreTimer
from shared.restore.whole import WholeRestorer
from shared.verification.content_checks import ContentChecks
from shared.verification.manifest_checks import ManifestChecks
from shared.verification.newest import NewestSets
from shared.verification.repairs import Repairs
from shared.verification.reports import BackupReports
from shared.verification.service import Verifications
from shared.verification.set_checks import SetChecks
from shared.verification.walking import WalkTools
from shared.wiring.adapters import Adapters
from shared.wiring.scratch import scratch_maker


@dataclass(frozen=True, slots=True)
class BackupNeeds:
    """The services that backups stand on, and how often each tenant has a drill."""

    agenda: Agenda
    journal: Journal
    keys: TenantKeys
    intermediates: IntermediateKeys
    policies: Policies
    sealer: ContentSealer
    opener: ContentOpener
    audit_log: AuditLog
    idempotency: Idempotency
    drill_every: timedelta


@dataclass(slots=True)
class Backups:
    """Everything that has to do with backups.

    Attributes:
        timer: Makes sets and prunes.
        sets: Makes sets.
        snapshots: Opens sets.
        restores: Plans, starts and pauses restores.
        restore_timer: Works on restores.
        verifications: Verifies sets, and every copy of documents.
        reports: Lists sets, and says how good they are.
        whole: Restores the whole service into an empty environment.
        drills: Restores into scratch space and compares.
    """

    timer: BackupTimer
    sets: BackupSets
    snapshots: Snapshots
    restores: Restores
    restore_timer: RestoreTimer
    verifications: Verifications
    reports: BackupReports
    whole: WholeRestorer
    drills: Drills

    @property
    def reader(self) -> SetReader:
        """Reads sets."""
        return self.snapshots.reader

    @property
    def pages(self) -> KeyPages:
        """The key pages."""
        return self.snapshots.pages


def build_backups(
    adapters: Adapters, environment: str, runtime: Runtime, needs: BackupNeeds
) -> Backups:
    """Put the services of backups together over what the others stand on."""
    agenda, journal, policies = needs.agenda, needs.journal, needs.policies
    store = needs.sealer.store
    segments = Segments(adapters.backup, environment, runtime)
    pages = KeyPages(adapters.backup_keys, runtime)
    packs = Packs(adapters.backup, adapters.primary, adapters.replica, runtime)
    contents = ContentBackup(store, packs, pages)
    reader = SetReader(Manifests(adapters.backup, adapters.key_vault, environment), segments)
    parts = PartBackup(adapters.records, segments, contents)
    sets = BackupSets(journal, needs.intermediates, policies, parts, reader, runtime)
    newest = NewestSets(reader, adapters.records)
    snapshots = Snapshots(reader, pages)
    assessor = Assessor(store, adapters.primary)
    restorer = DocumentRestorer(
        assessor, store, journal, needs.sealer, ContentReader(needs.opener), runtime
    )
    tenants = TenantRestorer(
        RecordRestorer(adapters.records), restorer, TenantCopier(restorer), needs.audit_log
    )
    return Backups(
        timer=BackupTimer(
            agenda,
            sets,
            Pruning(reader, policies, runtime),
            needs.keys,
            adapters.mirror_keys,
            runtime,
        ),
        sets=sets,
        snapshots=snapshots,
        restores=Restores(journal, agenda, snapshots, Planner(assessor), tenants, runtime),
        restore_timer=RestoreTimer(journal, agenda, snapshots, tenants, runtime),
        verifications=Verifications(
            journal,
            agenda,
            policies,
            needs.idempotency,
            _walk_tools(needs, parts, newest, runtime),
            runtime,
        ),
        reports=BackupReports(journal, newest, parts, runtime),
        drills=Drills(
            journal,
            agenda,
            snapshots,
            scratch_maker(needs.sealer.epochs, needs.audit_log.sealer, environment, runtime),
            Comparison(store),
            runtime,
            every=needs.drill_every,
        ),
        whole=WholeRestorer(snapshots, tenants, journal, agenda, needs.keys.key_rotation, runtime),
    )


def _walk_tools(
    needs: BackupNeeds, parts: PartBackup, newest: NewestSets, runtime: Runtime
) -> WalkTools:
    """What verifications check and repair with."""
    contents = parts.contents
    return WalkTools(
        ManifestChecks(newest.reader, parts.records, runtime),
        SetChecks(newest.reader),
        ContentChecks(needs.sealer.store, contents, newest, ContentReader(needs.opener), runtime),
        Repairs(needs.journal, needs.agenda, contents, newest, runtime),
        runtime,
    )
