"""Policies: what each tenant's administrator decided about its trash, its backups and its legal hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from shared.access.permissions import Permission, check
from shared.access.principal import Principal
from shared.base.errors import PreconditionFailed
from shared.base.partitions import Partition
from shared.journal.collections import Collection, Stored
from shared.journal.contention import retry_conflicts
from shared.journal.entries import Action
from shared.journal.journal import Journal
from shared.policy.models import RetentionBounds, TenantPolicy
from shared.ports.clock import Runtime
from shared.ports.records import RecordStore

POLICY_KIND: Final = "policy"

_ID: Final = "current"

_NOT_SET: Final = "defaults"
"""The entity tag of a policy that nobody has set: no record has such a one."""


@dataclass(frozen=True, slots=True)
class TaggedPolicy:
    """A tenant's policy and its entity tag, without quotes."""

    policy: TenantPolicy
    etag: str


@dataclass(slots=True)
class Policies:
    """Reads and changes the policies of tenants.

    Attributes:
        records: Where they are kept.
        journal: Commits changes with their audit entries.
        bounds: What the operator allows; a policy that an operator's later bounds exclude counts as the
            nearest one within them.
        runtime: For retries.
    """

    records: RecordStore
    journal: Journal
    bounds: RetentionBounds
    runtime: Runtime
    _policies: Collection[TenantPolicy] = field(init=False)

    def __post_init__(self) -> None:
        self._policies = Collection(self.records, TenantPolicy, POLICY_KIND, lambda _: _ID)

    async def of(self, tenant: str) -> TenantPolicy:
        """The policy that applies to a tenant."""
        return self._applied(await self._find(tenant)).policy

    async def read(self, principal: Principal) -> TaggedPolicy:
        """The policy of the caller's tenant."""
        found = self._applied(await self._find(principal.tenant))
        await self.journal.commit(self.journal.entry(Action.POLICY_READ, by=principal))
        return found

    async def change(
        self, principal: Principal, policy: TenantPolicy, if_match: str | None
    ) -> TaggedPolicy:
        """Set the policy of the caller's tenant.

        Raises:
            Forbidden: It begins or ends a legal hold, which needs a permission of its own.
            InvalidInput: The retention is not within the operator's bounds.
            PreconditionFailed: The present policy's etag is not ``if_match``.
            Unavailable: The policy was concurrently modified all the time; nothing was changed.
        """
        self.bounds.check(policy.retention)
        partition = Partition(principal.tenant)
        entry = self.journal.entry(
            Action.POLICY_CHANGE,
            by=principal,
            details={
                "trash_days": policy.trash_days,
                **policy.retention.model_dump(),
                "verification_days": policy.verification_days,
                "legal_hold": int(policy.legal_hold),
                "staff_access": policy.staff_access.value,
            },
        )

        async def attempt() -> None:
            stored = await self._find(principal.tenant)
            present = self._applied(stored)
            if if_match is not None and if_match != present.etag:
                raise PreconditionFailed("The policy was changed since you read it; read it again.")
            if policy.legal_hold != present.policy.legal_hold:
                check(principal.roles, Permission.HOLDS_MANAGE)
            change = self._policies.put(partition, stored, policy)
            await self.journal.commit(entry, [change])

        await retry_conflicts(attempt, self.runtime)
        return self._applied(await self._find(principal.tenant))

    async def _find(self, tenant: str) -> Stored[TenantPolicy] | None:
        return await self._policies.find(Partition(tenant), _ID)

    def _applied(self, stored: Stored[TenantPolicy] | None) -> TaggedPolicy:
        policy = TenantPolicy() if stored is None else stored.value
        retention = self.bounds.clamp(policy.retention)
        return TaggedPolicy(
            policy.model_copy(update={"retention": retention}),
            _NOT_SET if stored is None else stored.etag,
        )
