"""The services of one process, put together over the adapters of its profile."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache

from shared.attestation.timer import AttestationAgenda, Attestations
from shared.base.environment import check_environment
from shared.base.topology import Topology, load_topology
from shared.dead_letters.service import DeadLetters
from shared.documents.descriptions import UploadDescriptions
from shared.documents.opening import ContentOpener
from shared.documents.reading import DocumentReader
from shared.documents.sealing import ContentSealer
from shared.documents.service import Documents
from shared.documents.staged import StagedContentSealer
from shared.documents.store import DocumentRecords
from shared.documents.sweep import Sweep
from shared.documents.trash import Trash
from shared.documents.uploads import Uploads
from shared.handlers import Handlers, event_handlers
from shared.identity.accounts import Accounts
from shared.identity.bootstrap import Bootstrap
from shared.identity.lockout import Lockout
from shared.identity.passwords import PasswordHasher
from shared.identity.sign_in import SignIn
from shared.identity.tenants import Tenants
from shared.identity.tokens import Tokens
from shared.journal.agenda import Agenda
from shared.journal.idempotency import Idempotency
from shared.journal.journal import Journal
from shared.journal.outbox import Outbox
from shared.keys.epochs import EpochKeys
from shared.keys.gate import GatedKeyVault, KeyGate
from shared.keys.intermediate import IntermediateKeys
from shared.keys.rotation import KeyRotation
from shared.keys.tenants import TenantKeys
from shared.policy.service import Policies
from shared.ports.clock import Clock, Entropy, Runtime, SystemClock, system_entropy
from shared.replication.service import Replication
from shared.reviews.opening import Terms
from shared.reviews.schedule import ReviewSchedule
from shared.targets.queue import TargetQueue
from shared.targets.service import Targets
from shared.targets.timer import TargetTimer
from shared.webhooks.store import WebhookRecords
from shared.wiring.adapters import Adapters
from shared.wiring.attestation import build_attestations
from shared.wiring.audit import Audit, build_audit
from shared.wiring.backups import BackupNeeds, Backups, build_backups
from shared.wiring.grants import GrantServices, build_grants
from shared.wiring.reviews import ReviewServices, build_reviews
from shared.wiring.settings import Settings, get_settings
from shared.wiring.targets import build_targets
from shared.wiring.telemetry import start_telemetry
from shared.wiring.webhooks import WebhookServices, build_webhooks


@dataclass(slots=True)
class Services:
    """Everything that the entry points call."""

    settings: Settings
    topology: Topology
    runtime: Runtime
    adapters: Adapters
    journal: Journal
    outbox: Outbox
    audit: Audit
    attestations: Attestations
    tokens: Tokens
    accounts: Accounts
    tenants: Tenants
    bootstrap: Bootstrap
    sign_in: SignIn
    key_rotation: KeyRotation
    policies: Policies
    grants: GrantServices
    reviews: ReviewServices
    backups: Backups
    reader: DocumentReader
    documents: Documents
    trash: Trash
    uploads: Uploads
    sweep: Sweep
    replication: Replication
    targets: Targets
    target_queue: TargetQueue
    target_timer: TargetTimer
    webhooks: WebhookServices
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
    gate = KeyGate()
    adapters = replace(adapters, key_vault=GatedKeyVault(adapters.key_vault, gate))
    records, key_vault = adapters.records, adapters.key_vault
    environment = settings.environment

    agenda = Agenda(records, runtime)
    outbox = Outbox(records, adapters.bus, agenda, runtime)
    journal = Journal(records, outbox, environment, runtime)
    idempotency = Idempotency(records, runtime)
    hasher = PasswordHasher(runtime)
    intermediates = IntermediateKeys(records, key_vault, journal, runtime, gate)
    epochs = EpochKeys(records, key_vault, journal, intermediates, runtime, gate)
    key_rotation = KeyRotation(
        records,
        key_vault,
        agenda,
        journal,
        intermediates,
        runtime,
        every=timedelta(days=settings.tenant_key_rotation_days),
    )
    accounts = Accounts(records, journal, hasher, idempotency, runtime)
    tenant_keys = TenantKeys(key_vault, key_rotation)
    terms = Terms(
        every=timedelta(days=settings.review_days),
        decide=timedelta(days=settings.review_decide_days),
        lapse=timedelta(days=settings.review_suspended_days),
    )
    schedule = ReviewSchedule(records, agenda, runtime, terms.every)
    tenants = Tenants(
        records,
        journal,
        accounts,
        tenant_keys,
        idempotency,
        runtime,
        schedule.prepare,
    )
    tokens = Tokens(records, key_vault, journal, environment, runtime)
    store = DocumentRecords(records, agenda)
    sealer = ContentSealer(adapters.primary, epochs, store, environment, runtime)
    opener = ContentOpener(adapters.primary, adapters.replica, epochs, environment)
    reader = DocumentReader(store, journal, opener)
    uploads = Uploads(
        store,
        journal,
        adapters.staging,
        UploadDescriptions(epochs, environment, runtime),
        idempotency,
        runtime,
        max_bytes=settings.max_staged_upload_bytes,
    )
    replication = Replication(store, journal, opener, adapters.primary, adapters.replica, runtime)
    webhook_records = WebhookRecords(records, agenda, runtime)
    attestation_agenda = AttestationAgenda(agenda, settings.is_attested)

    async def announce_checkpoint(tenant: str) -> None:
        await webhook_records.announce(tenant)
        await attestation_agenda.announce(tenant)

    audit = build_audit(
        settings,
        adapters,
        journal,
        agenda,
        epochs,
        runtime,
        announce_checkpoint,
    )
    policies = Policies(records, journal, settings.retention_bounds, runtime)
    targets = build_targets(
        store,
        opener,
        journal,
        idempotency,
        adapters.targets,
        runtime,
        max_bytes=max(settings.max_direct_upload_bytes, settings.max_staged_upload_bytes),
    )
    grants = build_grants(
        epochs,
        environment,
        journal,
        accounts,
        tenants,
        policies,
        agenda,
        idempotency,
        reader,
        audit,
    )
    reviews = build_reviews(
        schedule,
        terms,
        epochs,
        key_vault,
        environment,
        journal,
        accounts,
        grants.decisions,
    )
    return Services(
        settings=settings,
        topology=topology,
        runtime=runtime,
        adapters=adapters,
        journal=journal,
        outbox=outbox,
        audit=audit,
        attestations=build_attestations(settings, audit, agenda, adapters.poster),
        tokens=tokens,
        accounts=accounts,
        tenants=tenants,
        bootstrap=Bootstrap(records, journal, accounts, settings.bootstrap_secret_sha256),
        sign_in=SignIn(
            journal,
            accounts,
            tenants,
            tokens,
            Lockout(records, runtime),
            runtime,
            settings.staff,
        ),
        key_rotation=key_rotation,
        policies=policies,
        grants=grants,
        reviews=reviews,
        backups=build_backups(
            adapters,
            environment,
            runtime,
            BackupNeeds(
                agenda,
                journal,
                tenant_keys,
                intermediates,
                policies,
                sealer,
                opener,
                audit.log,
                idempotency,
                timedelta(days=settings.restore_drill_days),
            ),
        ),
        reader=reader,
        documents=Documents(
            store,
            journal,
            sealer,
            reader,
            idempotency,
            runtime,
            max_bytes=settings.max_direct_upload_bytes,
        ),
        trash=Trash(store, journal, policies, runtime),
        uploads=uploads,
        sweep=Sweep(uploads, adapters.primary, adapters.replica, runtime),
        replication=replication,
        targets=targets.targets,
        target_queue=targets.queue,
        target_timer=targets.timer,
        webhooks=build_webhooks(
            webhook_records, audit, epochs, idempotency, adapters.collectors, environment
        ),
        dead_letters=DeadLetters(adapters.bus, topology, journal),
        handlers=event_handlers(
            StagedContentSealer(uploads, sealer), replication, targets.queue, audit.log, clock
        ),
    )


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
