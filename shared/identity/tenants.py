"""Tenants: created with their key and their first administrator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.base.errors import Conflict, InternalError, Unauthenticated
from shared.base.listing import Listing
from shared.base.partitions import OPERATOR, Partition
from shared.identity.accounts import Accounts, TemporaryPassword, as_created
from shared.identity.models import SlugReservation, Tenant
from shared.journal.collections import Collection
from shared.journal.entries import Action
from shared.journal.idempotency import Idempotency, IdempotencyKey
from shared.journal.journal import Journal
from shared.keys.tenants import TenantKeys
from shared.ports.clock import Runtime
from shared.ports.records import RecordStore

TENANT_KIND: Final = "tenant"
SLUG_KIND: Final = "tenant-slug"
RESERVED_SLUGS: Final = frozenset({OPERATOR})

DIRECTORY: Final = Partition(OPERATOR)
"""Where the directory of tenants lies."""

_SLUG_TAKEN: Final = "This slug is taken; choose another."


@dataclass(frozen=True, slots=True)
class CreatedTenant:
    """A new tenant and its first administrator."""

    tenant: Tenant
    administrator: TemporaryPassword


Prepare = Callable[[str, datetime], Awaitable[None]]
"""What else has to be done before a tenant can be reached: with its id, and when it is created."""


async def nothing_to_prepare(_: str, __: datetime) -> None:
    """For a directory that nobody waits for."""


@dataclass(slots=True)
class Tenants:
    """The directory of tenants.

    Attributes:
        prepare: Durable on return.
    """

    records: RecordStore
    journal: Journal
    accounts: Accounts
    keys: TenantKeys
    idempotency: Idempotency
    runtime: Runtime
    prepare: Prepare = nothing_to_prepare
    _tenants: Collection[Tenant] = field(init=False)
    _slugs: Collection[SlugReservation] = field(init=False)

    def __post_init__(self) -> None:
        self._tenants = Collection(
            self.records,
            Tenant,
            TENANT_KIND,
            lambda tenant: tenant.id,
            missing="There is no such tenant.",
        )
        self._slugs = Collection(self.records, SlugReservation, SLUG_KIND)

    async def resolve(self, slug: str) -> str | None:
        """The id of the tenant with this slug; None where there is none."""
        if slug == OPERATOR:
            return OPERATOR
        owner = await self._slugs.find(DIRECTORY, slug)
        return None if owner is None else owner.value.tenant

    async def create(
        self, principal: Principal, slug: str, administrator: str, key: IdempotencyKey | None
    ) -> CreatedTenant:
        """Create a tenant, its key and its first administrator.

        A repeated request returns the same tenant, without the password.

        Raises:
            Conflict: The slug is taken, or the administrator's username is an employee's e-mail address.
            IdempotencyKeyReused: The key belongs to a different request.
            TokenRevoked: The caller may no longer act; nothing was done.
        """
        request = {"slug": slug, "administrator": administrator}
        made = await self.idempotency.replayed(key, request, DIRECTORY)
        if made is not None:
            return await self._made(principal, made, administrator)
        if slug in RESERVED_SLUGS or await self.resolve(slug) is not None:
            raise Conflict(_SLUG_TAKEN)
        now = self.runtime.now()
        new_id = self.runtime.new_id("ten", now)
        await self.accounts.check_no_employee(new_id, administrator)
        tenant = Tenant(id=new_id, slug=slug, created_at=now)
        await self.keys.create(tenant.id, now)

        # The tenant's own partition comes first: it cannot be reached until the directory names it.
        new = await self.accounts.draft(tenant.id, administrator, (Role.ADMINISTRATOR,))
        try:
            await principal.confirm()  # keys and hashes take their time
        except Unauthenticated:
            await self.keys.destroy(tenant.id)
            raise
        created = self.journal.entry(
            Action.TENANT_CREATE, tenant.id, by=principal, tenant=tenant.id
        )
        await self.journal.commit(created, new.changes)
        await self.prepare(tenant.id, now)
        try:
            await self.journal.commit(
                self.journal.entry(Action.TENANT_CREATE, tenant.id, by=principal),
                [
                    self._tenants.create(DIRECTORY, tenant),
                    self._slugs.create(DIRECTORY, SlugReservation(tenant=tenant.id), slug),
                    *self.idempotency.remember(key, request, tenant.id, DIRECTORY),
                ],
            )
        except Conflict:
            await self.keys.destroy(tenant.id)
            made = await self.idempotency.replayed(key, request, DIRECTORY)
            if made is not None:
                return await self._made(principal, made, administrator)
            raise Conflict(_SLUG_TAKEN) from None
        return CreatedTenant(tenant, new.temporary)

    async def load(self, tenant: str) -> Tenant:
        """A tenant.

        Raises:
            NotFound: There is no such tenant.
        """
        return (await self._tenants.get(DIRECTORY, tenant)).value

    async def read(self, principal: Principal, tenant: str) -> Tenant:
        """A tenant.

        Raises:
            NotFound: There is no such tenant.
        """
        found = await self.load(tenant)
        await self.journal.commit(self.journal.entry(Action.TENANT_READ, tenant, by=principal))
        return found

    async def page(
        self, principal: Principal, *, limit: int, cursor: str | None
    ) -> Listing[Tenant]:
        """A page of tenants, oldest first.

        Raises:
            InvalidInput: The cursor does not belong to this list.
        """
        page = await self._tenants.page(DIRECTORY, limit=limit, cursor=cursor, tolerant=True)
        await self.journal.commit(self.journal.entry(Action.TENANT_LIST, by=principal))
        return Listing([stored.value for stored in page.items], page.cursor, page.damaged)

    async def _made(self, principal: Principal, tenant: str, administrator: str) -> CreatedTenant:
        stored = await self.accounts.find(tenant, administrator)
        if stored is None:
            raise InternalError("A tenant lacks its first administrator.")
        made = await self.read(principal, tenant)
        first = as_created(stored.value, (Role.ADMINISTRATOR,))
        return CreatedTenant(made, TemporaryPassword(None, first))
