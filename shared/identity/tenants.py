"""Tenants: created with their key and their first administrator; and the first operator of all."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from shared.access.permissions import Role
from shared.access.principal import Origin, Principal
from shared.base.errors import Conflict, NotFound, SignInRefused, StrongroomError
from shared.base.ids import new_id
from shared.identity.accounts import Accounts, TemporaryPassword
from shared.identity.models import Tenant
from shared.journal.entries import ANONYMOUS, Action
from shared.journal.idempotency import Idempotency, IdempotencyKey
from shared.journal.journal import Journal
from shared.keys.epochs import tenant_key_name
from shared.ports.clock import Clock, Entropy
from shared.ports.keys import KeyVault
from shared.ports.records import DIRECTORY, Create, Record, RecordStore

TENANT_KIND: Final = "tenant"
SLUG_KIND: Final = "tenant-slug"
FIRST_OPERATOR_KIND: Final = "first-operator"
FIRST_OPERATOR_ID: Final = "once"
RESERVED_SLUGS: Final = frozenset({DIRECTORY})


class Tenants:
    """The directory of tenants.

    Args:
        records: The record store.
        journal: Commits changes with their audit entries.
        accounts: Adds the first administrator.
        key_vault: Holds each tenant's key.
        idempotency: Remembers outcomes of POSTs.
        bootstrap_secret_sha256: Of the secret that creates the first operator; empty: nothing does.
        clock: Time.
        entropy: Randomness.
    """

    def __init__(
        self,
        records: RecordStore,
        journal: Journal,
        accounts: Accounts,
        key_vault: KeyVault,
        idempotency: Idempotency,
        bootstrap_secret_sha256: str,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._records = records
        self._journal = journal
        self._accounts = accounts
        self._key_vault = key_vault
        self._idempotency = idempotency
        self._bootstrap_secret_sha256 = bootstrap_secret_sha256
        self._clock = clock
        self._entropy = entropy

    async def resolve(self, slug: str) -> str | None:
        """The id of the tenant with this slug; None where there is none."""
        if slug == DIRECTORY:
            return DIRECTORY
        try:
            return str((await self._records.get(DIRECTORY, SLUG_KIND, slug)).body["tenant"])
        except NotFound:
            return None

    async def bootstrap(self, secret: str, username: str, origin: Origin) -> TemporaryPassword:
        """Create the first operator. It works once in the life of an installation.

        Raises:
            Conflict: The first operator exists.
            SignInRefused: The secret is wrong, or none is set.
        """
        try:
            given = hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
            if not hmac.compare_digest(given, self._bootstrap_secret_sha256):
                raise SignInRefused("The bootstrap secret is wrong, or none is set.")
            temporary, changes = await self._accounts.draft(DIRECTORY, username, (Role.OPERATOR,))
            user = temporary.user.id
            once = Record(DIRECTORY, FIRST_OPERATOR_KIND, FIRST_OPERATOR_ID, {"user": user})
            entry = self._journal.entry(
                Action.USER_CREATE, user, by=ANONYMOUS, tenant=DIRECTORY, origin=origin
            )
            try:
                await self._journal.commit(entry, [*changes, Create(once)])
            except Conflict:
                raise Conflict("The first operator exists; ask them for an account.") from None
        except StrongroomError as error:
            await self._journal.record_failure(
                error, Action.USER_CREATE, by=ANONYMOUS, tenant=DIRECTORY, origin=origin
            )
            raise
        return temporary

    async def has_operator(self) -> bool:
        """Whether the first operator exists."""
        try:
            await self._records.get(DIRECTORY, FIRST_OPERATOR_KIND, FIRST_OPERATOR_ID)
        except NotFound:
            return False
        return True

    async def create(
        self, principal: Principal, slug: str, administrator: str, key: IdempotencyKey | None
    ) -> tuple[Tenant, TemporaryPassword]:
        """Create a tenant, its key and its first administrator.

        A replayed request reads the same tenant, with an empty password: it was shown once.

        Raises:
            Conflict: The slug is taken.
            IdempotencyKeyReused: The key belongs to another request.
        """
        request = {"slug": slug, "administrator": administrator}
        made = await self._idempotency.replayed(key, request)
        if made is not None:
            return await self._made(principal, made, administrator)
        if slug in RESERVED_SLUGS or await self.resolve(slug) is not None:
            raise Conflict("This slug is taken; choose another.")
        now = self._clock.now()
        tenant = Tenant(id=new_id("ten", now, self._entropy), slug=slug, created_at=now)
        await self._key_vault.create(tenant_key_name(tenant.id), "wrap")

        # The tenant's own partition comes first: until the directory names it, nobody can reach it.
        temporary, changes = await self._accounts.draft(
            tenant.id, administrator, (Role.ADMINISTRATOR,)
        )
        created = self._journal.entry(
            Action.TENANT_CREATE, tenant.id, by=principal, tenant=tenant.id
        )
        await self._journal.commit(created, changes)
        try:
            await self._journal.commit(
                self._journal.entry(Action.TENANT_CREATE, tenant.id, by=principal),
                [
                    Create(
                        Record(DIRECTORY, TENANT_KIND, tenant.id, tenant.model_dump(mode="json"))
                    ),
                    Create(Record(DIRECTORY, SLUG_KIND, slug, {"tenant": tenant.id})),
                    *self._idempotency.remember(key, request, tenant.id),
                ],
            )
        except Conflict:
            await self._key_vault.destroy(tenant_key_name(tenant.id))
            made = await self._idempotency.replayed(key, request)
            if made is not None:
                return await self._made(principal, made, administrator)
            raise Conflict("This slug is taken; choose another.") from None
        return tenant, temporary

    async def read(self, principal: Principal, tenant: str) -> Tenant:
        """One tenant.

        Raises:
            NotFound: There is none.
        """
        found = await self._load(tenant)
        await self._journal.commit(self._journal.entry(Action.TENANT_READ, tenant, by=principal))
        return found

    async def page(
        self, principal: Principal, *, limit: int, cursor: str | None
    ) -> tuple[list[Tenant], str | None]:
        """A page of tenants, oldest first, and the next cursor.

        Raises:
            InvalidInput: The cursor is not one of ours.
        """
        page = await self._records.query(TENANT_KIND, tenant=DIRECTORY, limit=limit, cursor=cursor)
        await self._journal.commit(self._journal.entry(Action.TENANT_LIST, by=principal))
        return [Tenant.model_validate(record.body) for record in page.records], page.cursor

    async def _load(self, tenant: str) -> Tenant:
        try:
            record = await self._records.get(DIRECTORY, TENANT_KIND, tenant)
        except NotFound:
            raise NotFound("There is no such tenant.") from None
        return Tenant.model_validate(record.body)

    async def _made(
        self, principal: Principal, tenant: str, administrator: str
    ) -> tuple[Tenant, TemporaryPassword]:
        stored = await self._accounts.find(tenant, administrator)
        return await self.read(principal, tenant), TemporaryPassword("", stored.user)
