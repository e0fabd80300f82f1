"""The services of one process, put together over the adapters of its profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache

from shared.audit.log import AuditLog
from shared.base.environment import check_environment
from shared.base.topology import Topology, load_topology
from shared.dead_letters.service import DeadLetters
from shared.documents.opening import ContentOpener
from shared.documents.reading import DocumentReader
from shared.documents.sealing import ContentSealer
from shared.documents.service import Documents
from shared.documents.store import DocumentRecords
from shared.documents.sweep import Sweep
from shared.documents.uploads import Uploads
from shared.handlers import Handlers, event_handlers
from shared.identity.accounts import Accounts
from shared.identity.passwords import PasswordHasher
from shared.identity.sign_in import SignIn
from shared.identity.tenants import Tenants
from shared.identity.tokens import Tokens
from shared.journal.agenda import Agenda
from shared.journal.idempotency import Idempotency
from shared.journal.journal import Journal
from shared.journal.outbox import Outbox
from shared.keys.epochs import EpochKeys
from shared.keys.intermediate import IntermediateKeys
from shared.keys.rotation import KeyRotation
from shared.ports.clock import Clock, Entropy, Runtime, SystemClock, system_entropy
from shared.replication.service import Replication
from shared.wiring.adapters import Adapters
from shared.wiring.settings import Settings, get_settings


@dataclass(slots=True)
class Services:
    """Everything that the entry points call."""

    settings: Settings
    topology: Topology
    runtime: Runtime
    adapters: Adapters
    journal: Journal
    outbox: Outbox
    audit_log: AuditLog
    tokens: Tokens
    accounts: Accounts
    tenants: Tenants
    sign_in: SignIn
    key_rotation: KeyRotation
    reader: DocumentReader
    documents: Documents
    uploads: Uploads
    sweep: Sweep
    replication: Replication
    dead_letters: DeadLetters
    handlers: Handlers
    _started: bool = field(default=False, init=False)

    async def start(self) -> None:
        """Make sure, once, that the stores belong to this environment and have today's form.

        Raises:
            WrongEnvironment: They belong to another environment.
            Unavailable: They do not respond.
        """
        if not self._started:
            check_environment(self.settings.environment, await self.adapters.environments())
            await self.adapters.upgrade()
            self._started = True

    async def close(self) -> None:
        """Publish what is being published, then close the adapters."""
        await self.outbox.close()
        await self.adapters.close()


def build(
    settings: Settings, clock: Clock, entropy: Entropy, adapters: Adapters | None = None
) -> Services:
    """Put the services of one process together; nothing is connected yet.

    Embedded, the key vault is opened here, and made in a new data folder, as other keys are derived from
    its root: a root key that is not the right one is known before anything else is touched.

    Args:
        settings: Of the process.
        clock: Time.
        entropy: Randomness fit for keys.
        adapters: To use in place of the profile's.

    Raises:
        Unavailable: Embedded: the root key is not the right one, or cannot be used.
        Damaged: Embedded: the key vault is damaged.
    """
    runtime = Runtime(clock, entropy)
    topology = load_topology()
    if adapters is None:
        adapters = profile_adapters(settings, topology, runtime)
    records, key_vault = adapters.records, adapters.key_vault
    environment = settings.environment

    agenda = Agenda(records, runtime)
    outbox = Outbox(records, adapters.bus, agenda, runtime)
    journal = Journal(records, outbox, environment, runtime)
    idempotency = Idempotency(records, runtime)
