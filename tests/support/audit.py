"""The audit logs over adapters in memory, used by several processes."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from shared.access.principal import Principal
from shared.adapters.memory.keys import MemoryKeyVault
from shared.adapters.memory.write_once import MemoryWriteOnce
from shared.adapters.softkeys import PrivateKey, make_private_key
from shared.audit.reading import LogPage, LogReader
from shared.journal.agenda import Agenda
from shared.journal.journal import Journal
from shared.journal.outbox import Outbox
from shared.keys.epochs import EpochKeys
from shared.keys.intermediate import IntermediateKeys
from shared.ports.clock import Runtime
from shared.ports.keys import KeyUse
from shared.ports.records import RecordStore
from shared.ports.write_once import WriteOnceStore
from shared.wiring.audit import Audit, build_audit
from shared.wiring.settings import Settings
from tests.support.clock import FakeClock
from tests.support.identity import NoBus, prepared_key

HOST = "strongroom.example"


@dataclass
class _Stores:
    records: RecordStore
    audit: WriteOnceStore
    key_vault: Any


def audit_of(
    records: RecordStore,
    store: WriteOnceStore,
    vault: Any,
    runtime: Runtime,
    journal: Journal,
    agenda: Agenda,
    **settings: Any,
) -> Audit:
    """The services of the audit logs in one process."""
    intermediates = IntermediateKeys(records, vault, journal, runtime)
    return build_audit(
        Settings(audit_log_host=HOST, **settings),
        _Stores(records, store, vault),  # type: ignore[arg-type]
        journal,
        agenda,
        EpochKeys(records, vault, journal, intermediates, runtime),
        runtime,
    )


@dataclass
class AuditData:
    """What the processes of a deployment share.

    Attributes:
        records: Where the index is.
        clock: Their clock.
        store: Where tiles and checkpoints are.
        vault: The key vault.
        part_entries: Entries of one part of the index.
    """

    records: RecordStore
    clock: FakeClock
    store: WriteOnceStore = field(init=False)
    vault: MemoryKeyVault = field(init=False)
    part_entries: int | None = None

    def __post_init__(self) -> None:
        self.store = MemoryWriteOnce(self.clock)
        self.vault = MemoryKeyVault(os.urandom, _private_key)

    def process(
        self, pause: Callable[[float], Awaitable[None]] | None = None
    ) -> tuple[Audit, Journal]:
        """The audit logs and the journal of a process that has just started."""
        runtime = Runtime(self.clock, os.urandom, *([pause] if pause else []))
        agenda = Agenda(self.records, runtime)
        outbox = Outbox(self.records, NoBus(), agenda, "development", runtime)  # type: ignore[arg-type]
        journal = Journal(self.records, outbox, "development", runtime)
        audit = audit_of(self.records, self.store, self.vault, runtime, journal, agenda)
        if self.part_entries:
            audit.log.part_entries = self.part_entries
            audit.checkpoints.integration.part_entries = self.part_entries
        return audit, journal


async def entries(
    reader: LogReader,
    principal: Principal,
    *,
    limit: int = 100,
    cursor: str | None = None,
    **where: str,
) -> LogPage:
    """A page of the principal's log, newest first."""
    return await reader.entries(principal, where=where, limit=limit, cursor=cursor)


def _private_key(use: KeyUse) -> PrivateKey:
    """Making an RSA key takes long, and one for all will do."""
    return prepared_key(use) if use == "wrap" else make_private_key(use)
