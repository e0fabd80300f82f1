"""Everything that grants are about, over adapters in memory: employees, tenants, documents, both logs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.adapters.memory.blobs import MemoryBlobs
from shared.adapters.memory.bus import MemoryBus
from shared.adapters.memory.collectors import MemoryCollectors
from shared.adapters.memory.keys import MemoryKeyVault
from shared.adapters.memory.posting import MemoryPoster
from shared.adapters.memory.records import MemoryRecords
from shared.adapters.memory.targets import MemoryTargets
from shared.adapters.memory.write_once import MemoryWriteOnce
from shared.adapters.softkeys import PrivateKey, make_private_key
from shared.audit.index import log_index, log_part
from shared.base.buffers import Buffer
from shared.base.partitions import OPERATOR, Partition
from shared.base.topology import load_topology
from shared.crypto.passwords import DUMMY_HASH
from shared.documents.models import Description
from shared.grants.models import Depth, Operation, Private, ReasonCode, Scope, ScopeKind
from shared.grants.service import NewGrant
from shared.identity.models import Tenant, User
from shared.identity.tenants import DIRECTORY
from shared.journal.entries import Entry
from shared.journal.waiting import ENTRY_KIND
from shared.keys.gate import act_as, as_the_service
from shared.keys.names import tenant_key_name
from shared.policy.models import StaffAccess
from shared.ports.clock import Runtime
from shared.ports.keys import KeyUse
from shared.ports.records import Create
from shared.wiring.adapters import Adapters
from shared.wiring.services import build
from shared.wiring.settings import Settings
from tests.support.clock import FakeClock
from tests.support.identity import prepared_key

CONTENT = b"what the customer wrote"
WHY = "The customer cannot open the report, see the case."
PRIVATE = Private(case="4711", system="desk", text=WHY)


async def _nothing() -> None:
    return


async def _environments() -> dict[str, str | None]:
    return {}


def _key(use: KeyUse) -> PrivateKey:
    return prepared_key(use) if use == "wrap" else make_private_key(use)


async def stream(content: bytes) -> AsyncIterator[Buffer]:
    yield content


class Granted:
    """A deployment with employees and tenants."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        bus = MemoryBus(load_topology(), self.clock, os.urandom)
        self.records = MemoryRecords(self.clock)
        adapters = Adapters(
            primary=MemoryBlobs(self.clock),
            replica=MemoryBlobs(self.clock),
            staging=MemoryBlobs(self.clock),
            backup=MemoryWriteOnce(self.clock),
            backup_keys=MemoryBlobs(self.clock),
            audit=MemoryWriteOnce(self.clock),
            records=self.records,
            targets=MemoryTargets(Runtime(self.clock, os.urandom)),
            collectors=MemoryCollectors(),
            poster=MemoryPoster(),
            key_vault=MemoryKeyVault(os.urandom, _key),
            bus=bus,
            source=bus,
            verify_grant=None,
            environments=_environments,
            upgrade=_nothing,
            mirror_keys=_nothing,
            close=_nothing,
        )
        settings = Settings(audit_log_host="strongroom.example")
        self.services = build(settings, self.clock, os.urandom, adapters)
        self.grants = self.services.grants.grants
        self.decisions = self.services.grants.decisions
        self.access = self.services.grants.access
        self.reader = self.services.grants.reader

    def id(self, prefix: str) -> str:
        return self.services.runtime.new_id(prefix)

    async def employee(self, *roles: Role, account_of: str = "") -> Principal:
        """An employee who has just signed in."""
        return await self._user(OPERATOR, roles, account_of)

    async def tenant(self) -> Principal:
        """A tenant with its administrator, who has just signed in."""
        tenant = Tenant(id=self.id("ten"), slug="acme", created_at=self.clock.now())
        create = self.services.tenants._tenants.create(DIRECTORY, tenant)
        await self.records.commit(DIRECTORY, [create])
        await self.services.adapters.key_vault.create(tenant_key_name(tenant.id), "wrap")
        return await self._user(tenant.id, (Role.ADMINISTRATOR,), "")

    async def document(self, administrator: Principal, name: str = "a.txt", **labels: str) -> str:
        made = await self.services.documents.create(
            administrator,
            Description(name=name, metadata=labels),
            stream(CONTENT),
            None,
            None,
        )
        return made.document.id

    def signed_in(self, principal: Principal) -> Principal:
        """The same person, after a sign-in."""
        return replace(principal, signed_in_at=self.clock.now())

    async def change(self, principal: Principal, **update: Any) -> None:
        """Change an account behind everybody's back."""
        stored = await self.services.accounts.load(principal.tenant, principal.user)
        users = self.services.accounts.users
        changed = stored.value.model_copy(update=update)
        await self.records.commit(stored.partition, [users.replace(stored, changed)])

    async def allow(self, administrator: Principal, access: StaffAccess) -> None:
        """Set what the tenant allows."""
        policies = self.services.policies
        policy = await policies.of(administrator.tenant)
        changed = policy.model_copy(update={"staff_access": access})
        await policies.change(administrator, changed, None)

    async def ask(
        self,
        employee: Principal,
        tenant: str,
        *documents: str,
        depth: Depth = Depth.CONTENT,
        operations: tuple[Operation, ...] = (),
        hours: float = 1,
        break_glass: bool = False,
        private: Private = PRIVATE,
        kind: ScopeKind = ScopeKind.DOCUMENTS,
    ) -> str:
        """Ask for a grant; its id."""
        new = NewGrant(
            tenant=tenant,
            reason=ReasonCode.CUSTOMER,
            private=private,
            scope=Scope(kind=kind, depth=depth, documents=documents),
            operations=operations,
            seconds=int(timedelta(hours=hours).total_seconds()),
            break_glass=break_glass,
        )
        return (await self.grants.request(self.signed_in(employee), new, None)).grant.id

    async def read(self, employee: Principal, grant: str, document: str) -> bytes:
        """Open a document under a grant, as a request of the employee does."""
        with as_the_service():
            act_as(employee.user)
            entered, found = await self.reader.find(employee, grant, document, depth=Depth.CONTENT)
            reader, principal = self.services.reader, entered.principal
            opened = await reader.open(principal, found, 0, found.version.size)
            return b"".join([bytes(one) async for one in self.access.watched(opened, principal)])

    async def describe(self, employee: Principal, grant: str, document: str) -> str:
        """The name of a document, read under a grant."""
        with as_the_service():
            act_as(employee.user)
            entered, found = await self.reader.find(employee, grant, document)
            await self.services.reader.record_read(entered.principal, found)
            return found.names.name

    async def log(self, tenant: str) -> list[Entry]:
        """A tenant's log, all that waits appended."""
        await self.append()
        index = log_index(self.records).scan(log_part(tenant, 0))
        found = {stored.value.position: stored.value.entry async for stored in index}
        return [found[position] for position in range(len(found))]

    async def append(self) -> None:
        """Append what waits, in every partition, as the audit function does."""
        waiting = True
        while waiting:
            waiting = False
            for partition in self._partitions():
                page = await self.records.query(partition, ENTRY_KIND, limit=1)
                if page.records:
                    waiting = True
                    await self.services.audit.log.append_pending(partition)

    async def close(self) -> None:
        await self.services.outbox.close()

    def _partitions(self) -> list[Partition]:
        return sorted({partition for partition, _, _ in self.records._records})

    async def _user(self, tenant: str, roles: tuple[Role, ...], account_of: str) -> Principal:
        user = User(
            id=self.id("usr"),
            tenant=tenant,
            username="someone",
            roles=roles,
            password=DUMMY_HASH,
            created_at=self.clock.now(),
            account_of=account_of,
        )
        partition = Partition(tenant)
        create = Create(self.services.accounts.users.create(partition, user).record)
        await self.records.commit(partition, [create])
        return Principal(tenant, user.id, roles, signed_in_at=self.clock.now())
