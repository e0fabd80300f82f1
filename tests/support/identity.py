"""The services of identity over adapters in memory, without the cost of Argon2 and of new RSA keys."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from shared.access.permissions import Role
from shared.access.principal import Origin, Principal
from shared.adapters.memory.keys import MemoryKeyVault
from shared.adapters.memory.records import MemoryRecords
from shared.adapters.softkeys import PrivateKey, make_private_key
from shared.base.events import Event
from shared.base.partitions import OPERATOR, Partition
from shared.crypto.passwords import DUMMY_HASH
from shared.identity.accounts import Accounts
from shared.identity.bootstrap import Bootstrap
from shared.identity.lockout import Lockout
from shared.identity.sign_in import SignedIn, SignIn
from shared.identity.tenants import Tenants
from shared.identity.tokens import Tokens
from shared.journal.agenda import Agenda
from shared.journal.idempotency import Idempotency
from shared.journal.journal import Journal
from shared.journal.outbox import Outbox
from shared.keys.intermediate import IntermediateKeys
from shared.keys.rotation import KeyRotation
from shared.keys.tenants import TenantKeys
from shared.ports.clock import Runtime
from shared.ports.keys import KeyUse
from tests.support.clock import FakeClock

EMPLOYEE = Principal(OPERATOR, "usr_operator", (Role.OPERATOR,))
SECRET = "the secret of the first start"
ORIGIN = Origin("192.0.2.1")


class FakeHasher:
    """A ``PasswordHasher`` that costs nothing; its hashes have the form of today's."""

    def __init__(self) -> None:
        self.verified = 0

    async def hash(self, password: str) -> str:
        await asyncio.sleep(0)
        digest = hashlib.sha256(password.encode()).hexdigest()
        return f"{DUMMY_HASH.rpartition('$')[0]}${digest}"

    async def verify(self, password: str, phc: str | None) -> bool:
        self.verified += 1
        return await self.hash(password) == phc


class NoBus:
    """An ``EventBus`` that nobody listens to."""

    async def publish(self, _: Sequence[Event]) -> None:
        await asyncio.sleep(0)


@cache
def prepared_key(use: KeyUse) -> PrivateKey:
    """One key for all: making an RSA key takes long."""
    return make_private_key(use)


@dataclass
class Stores:
    """What the processes of a deployment share.

    Attributes:
        paused: The pauses between attempts at a contended record, seconds.
    """

    clock: FakeClock = field(default_factory=FakeClock)
    paused: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.records = MemoryRecords(self.clock)
        self.key_vault = MemoryKeyVault(os.urandom, prepared_key)

    async def _sleep(self, seconds: float) -> None:
        self.paused.append(seconds)
        await asyncio.sleep(0)

    def process(self, environment: str = "development") -> Identity:
        """A process that has just started."""
        return Identity(self, environment, Runtime(self.clock, os.urandom, self._sleep))

    async def stored(self, partition: Partition, kind: str) -> list[dict[str, Any]]:
        """The bodies of all records of a kind in a partition."""
        page = await self.records.query(partition, kind, limit=1_000)
        return [record.body for record in page.records]

    def partitions(self) -> set[Partition]:
        """Every partition that holds a record."""
        return {partition for partition, _, _ in self.records._records}


class Identity:
    """The services of one process."""

    def __init__(self, stores: Stores, environment: str, runtime: Runtime) -> None:
        records, vault = stores.records, stores.key_vault
        self.stores = stores
        self.hasher = FakeHasher()
        agenda = Agenda(records, runtime)
        self.outbox = Outbox(records, NoBus(), agenda, environment, runtime)  # type: ignore[arg-type]
        self.journal = Journal(records, self.outbox, environment, runtime)
        idempotency = Idempotency(records, runtime)
        intermediates = IntermediateKeys(records, vault, self.journal, runtime)
        rotation = KeyRotation(records, vault, agenda, self.journal, intermediates, runtime)
        self.accounts = Accounts(
            records,
            self.journal,
            self.hasher,  # type: ignore[arg-type]
            idempotency,
            runtime,
        )
        self.tenants = Tenants(
            records,
            self.journal,
            self.accounts,
            TenantKeys(vault, rotation),
            idempotency,
            runtime,
        )
        secret_sha256 = hashlib.sha256(SECRET.encode()).hexdigest()
        self.bootstrap = Bootstrap(records, self.journal, self.accounts, secret_sha256)
        self.tokens = Tokens(records, vault, self.journal, environment, runtime)
        self.sign_in = SignIn(
            self.journal,
            self.accounts,
            self.tenants,
            self.tokens,
            Lockout(records, runtime),
            runtime,
        )

    async def administrator(self, slug: str, password: str) -> Principal:
        """The administrator ``admin`` of a new tenant, with a password of their own."""
        created = await self.tenants.create(EMPLOYEE, slug, "admin", None)
        temporary = created.administrator.password
        assert temporary is not None
        signed_in = await self.try_sign_in(slug, "admin", temporary, password)
        return Principal(created.tenant.id, signed_in.user.id, signed_in.user.roles)

    async def try_sign_in(
        self, slug: str, username: str, password: str, new_password: str | None = None
    ) -> SignedIn:
        """Sign in from one address."""
        return await self.sign_in.sign_in(slug, username, password, new_password, ORIGIN)
