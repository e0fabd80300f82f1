"""What all services of a process share: the journal, keys, and who may come in.

Importing is most of a cold start, so each service is imported and put together when it is first asked
for: a process that signs somebody in has nothing of backups.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from shared.base.topology import Topology
from shared.journal.agenda import Agenda
from shared.journal.idempotency import Idempotency
from shared.journal.journal import Journal
from shared.journal.outbox import Outbox
from shared.keys.gate import KeyGate
from shared.ports.clock import Runtime
from shared.wiring.adapters import Adapters
from shared.wiring.settings import Settings

if TYPE_CHECKING:
    from shared.identity.accounts import Accounts
    from shared.identity.bootstrap import Bootstrap
    from shared.identity.passwords import PasswordHasher
    from shared.identity.sign_in import SignIn
    from shared.identity.tenants import Tenants
    from shared.identity.tokens import Tokens
    from shared.keys.epochs import EpochKeys
    from shared.keys.intermediate import IntermediateKeys
    from shared.keys.rotation import KeyRotation
    from shared.keys.tenants import TenantKeys
    from shared.policy.service import Policies
    from shared.reviews.opening import Terms
    from shared.reviews.schedule import ReviewSchedule


class Foundation:
    """The journal, the keys, users and tenants.

    Args:
        settings: Of the process.
        topology: Of the bus.
        runtime: Time and randomness.
        adapters: What stands behind the ports.
        gate: Of the adapters' key vault.
    """

    def __init__(
        self,
        settings: Settings,
        topology: Topology,
        runtime: Runtime,
        adapters: Adapters,
        gate: KeyGate,
    ) -> None:
        self.settings = settings
        self.topology = topology
        self.runtime = runtime
        self.adapters = adapters
        self._gate = gate
        self._agenda = Agenda(adapters.records, runtime)
        self._idempotency = Idempotency(adapters.records, runtime)
        self.outbox = Outbox(
            adapters.records, adapters.bus, self._agenda, settings.environment, runtime
        )
        self.journal = Journal(adapters.records, self.outbox, settings.environment, runtime)
        self._started = False
        self._starting = asyncio.Lock()

    @cached_property
    def _hasher(self) -> PasswordHasher:
        """Hashes passwords."""
        from shared.identity.passwords import PasswordHasher

        return PasswordHasher(self.runtime)

    @cached_property
    def _intermediates(self) -> IntermediateKeys:
        """Between the tenants' keys and their epochs'."""
        from shared.keys.intermediate import IntermediateKeys

        return IntermediateKeys(
            self.adapters.records, self.adapters.key_vault, self.journal, self.runtime, self._gate
        )

    @cached_property
    def _epochs(self) -> EpochKeys:
        """Keys of epochs."""
        from shared.keys.epochs import EpochKeys

        return EpochKeys(
            self.adapters.records,
            self.adapters.key_vault,
            self.journal,
            self._intermediates,
            self.runtime,
            self._gate,
        )

    @cached_property
    def key_rotation(self) -> KeyRotation:
        """Rotates the keys of tenants."""
        from shared.keys.rotation import KeyRotation

        return KeyRotation(
            self.adapters.records,
            self.adapters.key_vault,
            self._agenda,
            self.journal,
            self._intermediates,
            self.runtime,
            every=timedelta(days=self.settings.tenant_key_rotation_days),
        )

    @cached_property
    def _tenant_keys(self) -> TenantKeys:
        """Makes and destroys the keys of tenants."""
        from shared.keys.tenants import TenantKeys

        return TenantKeys(self.adapters.key_vault, self.key_rotation)

    @cached_property
    def _terms(self) -> Terms:
        """When access reviews are due."""
        from shared.reviews.opening import Terms

        return Terms(
            every=timedelta(days=self.settings.review_days),
            decide=timedelta(days=self.settings.review_decide_days),
            lapse=timedelta(days=self.settings.review_suspended_days),
        )

    @cached_property
    def _schedule(self) -> ReviewSchedule:
        """Of access reviews."""
        from shared.reviews.schedule import ReviewSchedule

        every = timedelta(days=self.settings.review_days)
        return ReviewSchedule(self.adapters.records, self._agenda, self.runtime, every)

    @cached_property
    def accounts(self) -> Accounts:
        """Users."""
        from shared.identity.accounts import Accounts

        return Accounts(
            self.adapters.records, self.journal, self._hasher, self._idempotency, self.runtime
        )

    @cached_property
    def tenants(self) -> Tenants:
        """Tenants."""
        from shared.identity.tenants import Tenants

        return Tenants(
            self.adapters.records,
            self.journal,
            self.accounts,
            self._tenant_keys,
            self._idempotency,
            self.runtime,
            self._schedule.prepare,
        )

    @cached_property
    def tokens(self) -> Tokens:
        """Issues and reads tokens."""
        from shared.identity.tokens import Tokens

        return Tokens(
            self.adapters.records,
            self.adapters.key_vault,
            self.journal,
            self.settings.environment,
            self.runtime,
        )

    @cached_property
    def bootstrap(self) -> Bootstrap:
        """Makes the first operator."""
        from shared.identity.bootstrap import Bootstrap

        secret = self.settings.bootstrap_secret_sha256
        return Bootstrap(self.adapters.records, self.journal, self.accounts, secret)

    @cached_property
    def sign_in(self) -> SignIn:
        """Signs users in and out."""
        from shared.identity.lockout import Lockout
        from shared.identity.sign_in import SignIn

        return SignIn(
            self.journal,
            self.accounts,
            self.tenants,
            self.tokens,
            Lockout(self.adapters.records, self.runtime),
            self.runtime,
            self.settings.staff,
        )

    @cached_property
    def policies(self) -> Policies:
        """Of tenants."""
        from shared.policy.service import Policies

        bounds = self.settings.retention_bounds
        return Policies(self.adapters.records, self.journal, bounds, self.runtime)
