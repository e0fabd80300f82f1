"""Tokens: issued and read without storing any; their key ring, which a timer rotates."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from shared.access.permissions import Role
from shared.base.errors import Conflict, NotFound
from shared.base.ids import new_id
from shared.crypto.tokens import TOKEN_LIFETIME, Claims, TokenKey, issue, read, token_kid
from shared.identity.models import TokenRing, TokenRingKey, User
from shared.journal.entries import Action
from shared.journal.journal import Journal
from shared.ports.clock import Clock, Entropy
from shared.ports.keys import KeyVault, WrappedKey
from shared.ports.records import DIRECTORY, Create, Record, RecordStore, Replace

KIND: Final = "token-ring"
RING_ID: Final = "ring"
ROOT_KEY_NAME: Final = "tokens"

# A new key signs only once every process has had time to load it.
ACTIVATION: Final = timedelta(seconds=60)
# Tokens with made-up key ids must not turn into reads of the store.
RELOAD_AT_MOST_EVERY: Final = timedelta(seconds=10)
# A timer that fires twice must not push out keys that are in use.
ROTATE_AT_MOST_EVERY: Final = timedelta(hours=1)
SALT_SIZE: Final = 16
ROOT_SIZE: Final = 32


class Tokens:
    """Issues and reads tokens.

    Args:
        records: Where the ring is kept.
        key_vault: Wraps the root of the ring.
        journal: For the rotation's audit entry.
        environment: Bound into every token.
        clock: Time.
        entropy: Randomness.
    """

    def __init__(
        self,
        records: RecordStore,
        key_vault: KeyVault,
        journal: Journal,
        environment: str,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._records = records
        self._key_vault = key_vault
        self._journal = journal
        self._environment = environment
        self._clock = clock
        self._entropy = entropy
        self._ring: Mapping[str, TokenKey] = {}
        self._root = b""
        self._loaded_at: datetime | None = None
        self._loading = asyncio.Lock()

    async def issue(self, user: User) -> tuple[str, datetime]:
        """A token for a user who has just proved who they are, and when it expires."""
        await self._load_unless_fresh()
        now = self._clock.now()
        keys = sorted(self._ring.values(), key=lambda key: key.created_at)
        active = [key for key in keys if key.created_at <= now - ACTIVATION]
        claims = Claims(
            environment=self._environment,
            tenant=user.tenant,
            user=user.id,
            roles=tuple(role.value for role in user.roles),
            security_version=user.security_version,
            issued_at=now,
            expires_at=now + TOKEN_LIFETIME,
            id=new_id("tok", now, self._entropy),
        )
        return issue(self._root, active[-1] if active else keys[0], claims), claims.expires_at

    async def read(self, token: str) -> tuple[Claims, tuple[Role, ...]]:
        """What a token says, once it is sure that we issued it for this environment.

        Raises:
            Unauthenticated: It is not one of ours, or was tampered with.
            TokenExpired: Its two hours are over.
        """
        if token_kid(token) not in self._ring:
            await self._load_unless_fresh()
        claims = read(
            self._root,
            self._ring,
            token,
            environment=self._environment,
            now=self._clock.now(),
        )
        return claims, tuple(Role(role) for role in claims.roles)

    async def rotate(self) -> bool:
        """Add a key to the ring and drop those whose tokens have all expired; False if it is too soon."""
        record = await self._ring_record()
        ring = TokenRing.model_validate(record.body)
        now = self._clock.now()
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
        entry = self._journal.entry(Action.KEY_ROTATE, fresh.kid, tenant=DIRECTORY)
        try:
            await self._journal.commit(
                entry, [Replace(replace(record, body=rotated.model_dump(mode="json")))]
            )
        except Conflict:
            return False
        self._loaded_at = None
        await self._load_unless_fresh()
        return True

    def _fresh_key(self) -> TokenRingKey:
        now = self._clock.now()
        return TokenRingKey(
            kid=new_id("key", now, self._entropy), salt=self._entropy(SALT_SIZE), created_at=now
        )

    async def _load_unless_fresh(self) -> None:
        async with self._loading:
            now = self._clock.now()
            if self._loaded_at is not None and now - self._loaded_at < RELOAD_AT_MOST_EVERY:
                return
            ring = TokenRing.model_validate((await self._ring_record()).body)
            if not self._root:
                wrapped = WrappedKey(ROOT_KEY_NAME, ring.root_version, ring.root)
                self._root = await self._key_vault.unwrap(wrapped)
            self._ring = {
                key.kid: TokenKey(kid=key.kid, salt=key.salt, created_at=key.created_at)
                for key in ring.keys
            }
            self._loaded_at = now

    async def _ring_record(self) -> Record:
        try:
            return await self._records.get(DIRECTORY, KIND, RING_ID)
        except NotFound:
            await self._create_ring()
            return await self._records.get(DIRECTORY, KIND, RING_ID)

    async def _create_ring(self) -> None:
        await self._key_vault.create(ROOT_KEY_NAME, "wrap")
        wrapped = await self._key_vault.wrap(ROOT_KEY_NAME, self._entropy(ROOT_SIZE))
        first = self._fresh_key()
        ring = TokenRing(keys=(first,), root_version=wrapped.version, root=wrapped.ciphertext)
        record = Record(DIRECTORY, KIND, RING_ID, ring.model_dump(mode="json"))
        entry = self._journal.entry(Action.KEY_CREATE, first.kid, tenant=DIRECTORY)
        try:
            await self._journal.commit(entry, [Create(record)])
        except Conflict:
            return  # another process was first, and its ring is as good
