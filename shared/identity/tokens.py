"""Tokens: issued and read without storing any; their key ring, which a timer rotates."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from shared.access.permissions import Role
from shared.base.errors import Conflict
from shared.base.partitions import OPERATOR, Partition
from shared.crypto.tokens import TOKEN_LIFETIME, Claims, TokenKey, check, decrypt, issue, token_kid
from shared.identity.models import TokenRing, TokenRingKey, User
from shared.journal.collections import Collection, Stored
from shared.journal.entries import Action
from shared.journal.journal import Journal
from shared.ports.clock import Runtime
from shared.ports.keys import KeyVault, WrappedKey
from shared.ports.records import RecordStore

KIND: Final = "token-ring"
RING_ID: Final = "ring"
PARTITION: Final = Partition(OPERATOR)
ROOT_KEY_NAME: Final = "tokens"

# A new key signs only once every process has had time to load it.
ACTIVATION: Final = timedelta(seconds=60)
# Tokens with made-up key ids must not turn into reads of the store.
RELOAD_AT_MOST_EVERY: Final = timedelta(seconds=10)
# A timer that fires twice must not push out keys that are in use.
ROTATE_AT_MOST_EVERY: Final = timedelta(hours=1)
MOST_READ: Final = 10_000
"""Tokens whose claims a process remembers: some 5 MB."""

SALT_SIZE: Final = 16
ROOT_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token and when it expires."""

    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class TokenSubject:
    """Whom a token stands for.

    Attributes:
        tenant: The user's.
        user: Their id.
        roles: That they had when it was issued.
        security_version: That they had when it was issued.
        issued_at: When that was: they had just given their password.
    """

    tenant: str
    user: str
    roles: tuple[Role, ...]
    security_version: int
    issued_at: datetime


@dataclass(slots=True)
class Tokens:
    """Issues and reads tokens.

    Attributes:
        records: Where the ring is kept.
        key_vault: Wraps the root of the ring.
        journal: For the rotation's audit entry.
        environment: Bound into every token.
        runtime: Time and randomness.
    """

    records: RecordStore
    key_vault: KeyVault
    journal: Journal
    environment: str
    runtime: Runtime
    _rings: Collection[TokenRing] = field(init=False)
    _ring: Mapping[str, TokenKey] = field(default_factory=dict, init=False)
    _root: bytes = field(default=b"", init=False)
    _read: dict[bytes, Claims] = field(default_factory=dict, init=False)
    _loaded_at: datetime | None = field(default=None, init=False)
    _loading: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def __post_init__(self) -> None:
        self._rings = Collection(self.records, TokenRing, KIND)

    async def issue(self, user: User) -> IssuedToken:
        """A token for a user who has just proved who they are, and when it expires."""
        await self._load_unless_fresh()
        now = self.runtime.now()
        keys = sorted(self._ring.values(), key=lambda key: key.created_at)
        active = [key for key in keys if key.created_at <= now - ACTIVATION]
        claims = Claims(
            environment=self.environment,
            tenant=user.tenant,
            user=user.id,
            roles=tuple(role.value for role in user.effective_roles),
            security_version=user.security_version,
            issued_at=now,
            expires_at=now + TOKEN_LIFETIME,
            id=self.runtime.new_id("tok", now),
        )
        token = issue(self._root, active[-1] if active else keys[0], claims)
        return IssuedToken(token, claims.expires_at)

    async def read(self, token: str) -> TokenSubject:
        """What a token says, once it is sure that we issued it for this environment.

        Raises:
            Unauthenticated: It was not issued here, or was tampered with.
            TokenExpired: It has expired.
        """
        claims = await self._claims(token)
        check(claims, environment=self.environment, now=self.runtime.now())
        roles = tuple(Role(role) for role in claims.roles)
        return TokenSubject(
            claims.tenant, claims.user, roles, claims.security_version, claims.issued_at
        )

    async def _claims(self, token: str) -> Claims:
        """What a token says; remembered while the ring stays, as a client sends it with each request."""
        # Of the token itself nothing is kept, and whoever can have an entry made knows the whole of it.
        digest = hashlib.sha256(token.encode()).digest()
        if digest in self._read:
            return self._read[digest]
        if token_kid(token) not in self._ring:
            await self._load_unless_fresh()
        claims = decrypt(self._root, self._ring, token)
        if len(self._read) >= MOST_READ:
            self._read.clear()
        self._read[digest] = claims
        return claims

    async def rotate(self) -> bool:
        """Add a key to the ring and drop those whose tokens have all expired; False if it is too soon."""
        stored = await self._stored_ring()
        ring = stored.value
        now = self.runtime.now()
        if ring.keys[-1].created_at > now - ROTATE_AT_MOST_EVERY:
            return False
        fresh = self._fresh_key()
        # A key may have signed until its successor became active, and those tokens live on from there.
        in_use_since = now - TOKEN_LIFETIME - 2 * ACTIVATION
        kept = [
            key
            for key, successor in zip(ring.keys, (*ring.keys[1:], fresh), strict=True)
            if successor.created_at > in_use_since
        ]
        rotated = ring.model_copy(update={"keys": (*kept, fresh)})
        entry = self.journal.entry(Action.KEY_ROTATE, fresh.kid, tenant=OPERATOR)
        try:
            await self.journal.commit(entry, [self._rings.replace(stored, rotated)])
        except Conflict:
            return False
        self._loaded_at = None
        await self._load_unless_fresh()
        return True

    def _fresh_key(self) -> TokenRingKey:
        now = self.runtime.now()
        return TokenRingKey(
            kid=self.runtime.new_id("key", now), salt=self.runtime.random(SALT_SIZE), created_at=now
        )

    async def _load_unless_fresh(self) -> None:
        async with self._loading:
            now = self.runtime.now()
            if self._loaded_at is not None and now - self._loaded_at < RELOAD_AT_MOST_EVERY:
                return
            ring = (await self._stored_ring()).value
            if not self._root:
                wrapped = WrappedKey(ROOT_KEY_NAME, ring.root_version, ring.root)
                self._root = await self.key_vault.unwrap(wrapped)
            self._ring = {
                key.kid: TokenKey(kid=key.kid, salt=key.salt, created_at=key.created_at)
                for key in ring.keys
            }
            self._read.clear()
            self._loaded_at = now

    async def _stored_ring(self) -> Stored[TokenRing]:
        found = await self._rings.find(PARTITION, RING_ID)
        if found is None:
            await self._create_ring()
            found = await self._rings.get(PARTITION, RING_ID)
        return found

    async def _create_ring(self) -> None:
        await self.key_vault.create(ROOT_KEY_NAME, "wrap")
        wrapped = await self.key_vault.wrap(ROOT_KEY_NAME, self.runtime.random(ROOT_SIZE))
        first = self._fresh_key()
        ring = TokenRing(keys=(first,), root_version=wrapped.version, root=wrapped.ciphertext)
        entry = self.journal.entry(Action.KEY_CREATE, first.kid, tenant=OPERATOR)
        try:
            await self.journal.commit(entry, [self._rings.create(PARTITION, ring, RING_ID)])
        except Conflict:
            return  # another process was first, and its ring is as good
