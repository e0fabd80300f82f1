"""The services of one process, put together over the adapters of its profile."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from shared.base.environment import check_environment
from shared.base.topology import Topology, load_topology
from shared.keys.gate import GatedKeyVault, KeyGate
from shared.ports.clock import Clock, Entropy, Runtime, SystemClock, system_entropy
from shared.wiring.adapters import Adapters
from shared.wiring.documents import DocumentServices
from shared.wiring.settings import Settings, get_settings
from shared.wiring.telemetry import start_telemetry

if TYPE_CHECKING:
    from shared.attestation.timer import AttestationAgenda, Attestations
    from shared.dead_letters.service import DeadLetters
    from shared.handlers import Handlers
    from shared.webhooks.store import WebhookRecords
    from shared.wiring.audit import Audit
    from shared.wiring.backups import Backups
    from shared.wiring.grants import GrantServices
    from shared.wiring.reviews import ReviewServices
    from shared.wiring.webhooks import WebhookServices


class Services(DocumentServices):
    """Everything that the entry points call."""

    async def start(self) -> None:
        """Make sure, once, that the stores belong to this environment and have today's form.

        Callers at the same time wait for the first of them; where it fails, the next one tries.

        Raises:
            WrongEnvironment: They belong to another environment.
            Unavailable: They do not respond.
        """
        if self._started:
            return
        async with self._starting:
            if not self._started:
                check_environment(self.settings.environment, await self.adapters.environments())
                await self.adapters.upgrade()
                self._started = True

    def build_all(self) -> None:
        """Import and build every part now, and none when it is first needed: imports hold up all else."""
        for part in type(self).__mro__:
            for name, value in vars(part).items():
                if isinstance(value, cached_property):
                    getattr(self, name)

    async def close(self) -> None:
        """Publish what is being published, then close the adapters."""
        await self.outbox.close()
        await self.adapters.close()

    @cached_property
    def _webhook_records(self) -> WebhookRecords:
        """The records of webhooks."""
        from shared.webhooks.store import WebhookRecords

        return WebhookRecords(self.adapters.records, self._agenda, self.runtime)

    @cached_property
    def _attestation_agenda(self) -> AttestationAgenda:
        """When checkpoints are to be attested."""
        from shared.attestation.timer import AttestationAgenda

        return AttestationAgenda(self._agenda, self.settings.is_attested)

    @cached_property
    def audit(self) -> Audit:
        """The audit logs."""
        from shared.wiring.audit import build_audit

        async def announce_checkpoint(tenant: str) -> None:
            await self._webhook_records.announce(tenant)
            await self._attestation_agenda.announce(tenant)

        return build_audit(
            self.settings,
            self.adapters,
            self.journal,
            self._agenda,
            self._epochs,
            self.runtime,
            announce_checkpoint,
        )

    @cached_property
    def attestations(self) -> Attestations:
        """Has checkpoints attested."""
        from shared.wiring.attestation import build_attestations

        return build_attestations(self.settings, self.audit, self._agenda, self.adapters.poster)

    @cached_property
    def grants(self) -> GrantServices:
        """Staff grants."""
        from shared.wiring.grants import build_grants

        return build_grants(
            self._epochs,
            self.settings.environment,
            self.journal,
            self.accounts,
            self.tenants,
            self.policies,
            self._agenda,
            self._idempotency,
            self.reader,
            self.audit,
        )

    @cached_property
    def reviews(self) -> ReviewServices:
        """Access reviews."""
        from shared.wiring.reviews import build_reviews

        return build_reviews(
            self._schedule,
            self._terms,
            self._epochs,
            self.adapters.key_vault,
            self.settings.environment,
            self.journal,
            self.accounts,
            self.grants.decisions,
        )

    @cached_property
    def backups(self) -> Backups:
        """Backups, their verification, restores and drills."""
        from shared.wiring.backups import BackupNeeds, build_backups

        return build_backups(
            self.adapters,
            self.settings.environment,
            self.runtime,
            BackupNeeds(
                self._agenda,
                self.journal,
                self._tenant_keys,
                self._intermediates,
                self.policies,
                self._sealer,
                self._opener,
                self.audit.log,
                self._idempotency,
                timedelta(days=self.settings.restore_drill_days),
            ),
        )

    @cached_property
    def webhooks(self) -> WebhookServices:
        """Webhooks."""
        from shared.wiring.webhooks import build_webhooks

        return build_webhooks(
            self._webhook_records,
            self.audit,
            self._epochs,
            self._idempotency,
            self.adapters.collectors,
            self.settings.environment,
        )

    @cached_property
    def dead_letters(self) -> DeadLetters:
        """Messages that could not be handled."""
        from shared.dead_letters.service import DeadLetters

        return DeadLetters(self.adapters.bus, self.topology, self.journal)

    @cached_property
    def handlers(self) -> Handlers:
        """What events do."""
        from shared.documents.staged import StagedContentSealer
        from shared.handlers import event_handlers

        return event_handlers(
            StagedContentSealer(self.uploads, self._sealer),
            self.replication,
            self.target_queue,
            self.audit.log,
            self.outbox,
            self.runtime.clock,
        )


def build(
    settings: Settings, clock: Clock, entropy: Entropy, adapters: Adapters | None = None
) -> Services:
    """The services of one process; nothing is connected yet.

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
    gate = KeyGate()
    adapters = replace(adapters, key_vault=GatedKeyVault(adapters.key_vault, gate))
    return Services(settings, topology, runtime, adapters, gate)


def profile_adapters(settings: Settings, topology: Topology, runtime: Runtime) -> Adapters:
    """The adapters of the profile that the settings name.

    Raises:
        Unavailable: Embedded: the root key is not the right one, or cannot be used.
        Damaged: Embedded: the key vault is damaged.
    """
    # Each profile imports what it needs alone: importing is most of a cold start.
    if settings.profile == "embedded":
        from shared.wiring.embedded import embedded_adapters

        return embedded_adapters(settings, topology, runtime)
    from shared.wiring.azure import azure_adapters

    return azure_adapters(settings, topology, runtime)


@lru_cache(maxsize=1)
def get_services() -> Services:
    """The services of this process, put together once; with them its telemetry starts."""
    settings = get_settings()
    start_telemetry(settings)
    return build(settings, SystemClock(), system_entropy)


async def ready_services() -> Services:
    """The services of this process, once it is sure that they are in the right environment.

    Raises:
        WrongEnvironment: They are not.
        Unavailable: A store does not respond.
    """
    services = get_services()
    await services.start()
    return services
