"""The services of backups, put together."""

from __future__ import annotations

from dataclasses import dataclass

from shared.backup.contents import ContentBackup
from shared.backup.manifests import Manifests
from shared.backup.packs import Packs
from shared.backup.pages import KeyPages
from shared.backup.parts import PartBackup
from shared.backup.pruning import Pruning
from shared.backup.reading import SetReader
from shared.backup.segments import Segments
from shared.backup.sets import BackupSets
from shared.backup.timer import BackupTimer
from shared.journal.agenda import Agenda
from shared.journal.journal import Journal
from shared.keys.intermediate import IntermediateKeys
from shared.keys.tenants import TenantKeys
from shared.policy.service import Policies
from shared.ports.clock import Runtime
from shared.wiring.adapters import Adapters


@dataclass(slots=True)
class Backups:
    """Everything that has to do with backups.

    Attributes:
        timer: Makes sets and prunes.
        sets: Makes sets.
        reader: Reads sets.
        pages: The key pages.
    """

    timer: BackupTimer
    sets: BackupSets
    reader: SetReader
    pages: KeyPages


def build_backups(
    adapters: Adapters,
    environment: str,
    agenda: Agenda,
    journal: Journal,
    keys: TenantKeys,
    intermediates: IntermediateKeys,
    policies: Policies,
    runtime: Runtime,
) -> Backups:
    """Put the services of backups together over what the others stand on."""
    segments = Segments(adapters.backup, environment, runtime)
    pages = KeyPages(adapters.backup_keys, runtime)
    packs = Packs(adapters.backup, adapters.primary, adapters.replica, runtime)
    contents = ContentBackup(adapters.records, packs, pages)
    reader = SetReader(Manifests(adapters.backup, adapters.key_vault, environment), segments)
    parts = PartBackup(adapters.records, segments, contents)
    sets = BackupSets(journal, intermediates, policies, parts, reader, runtime)
    pruning = Pruning(reader, policies, runtime)
    return Backups(BackupTimer(agenda, sets, pruning, keys, runtime), sets, reader, pages)
