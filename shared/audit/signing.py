"""The keys that sign checkpoints, and their rotation.

A checkpoint carries three kinds of signatures (C2SP signed-note and tlog-cosignature): Ed25519,
ML-DSA-44, which holds against quantum computers, and ECDSA P-256, which is made inside the key vault,
where no process can take the key away. The seeds of the first two are wrapped by the key vault. For
``OVERLAP`` after a rotation the key before signs as well, so that who knows only that one sees where
the new one begins; its seeds are then erased. Public keys are kept for ever, so that every checkpoint
can be checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from shared.audit.models import SIGNING_KEYS_ID, SigningKey, SigningKeys
from shared.base.errors import Conflict, Unavailable
from shared.base.partitions import OPERATOR, Partition
from shared.crypto.notes import (
    NoteSignature,
    SignatureType,
    VerifierKey,
    cosign_ml_dsa_44,
    ecdsa_digest,
    ecdsa_signature,
    sign_ed25519,
)
from shared.journal.collections import Collection, Stored
from shared.journal.entries import Action
from shared.journal.journal import Journal
from shared.keys.memory import KeyMemory
from shared.ports.clock import Runtime
from shared.ports.keys import KeyVault, WrappedKey
from shared.ports.records import RecordStore

KIND: Final = "audit-keys"
PARTITION: Final = Partition(OPERATOR)
WRAPPING_KEY: Final = "audit-log"
"""The key vault's key that wraps the seeds."""

VAULT_KEY: Final = "audit-checkpoints"
"""The key vault's key that signs."""

SEED_BYTES: Final = 32
OVERLAP: Final = timedelta(days=90)
"""How long two keys sign after a rotation."""


@dataclass(frozen=True, slots=True)
class _Seeds:
    """The private halves of a ``SigningKey``."""

    ed25519: Ed25519PrivateKey = field(repr=False)
    ml_dsa_44: MLDSA44PrivateKey = field(repr=False)


@dataclass(slots=True)
class CheckpointKeys:
    """Signs the texts of checkpoints.

    Attributes:
        records: Where the keys are kept.
        key_vault: Wraps the seeds, and signs.
        journal: For the audit entries of new keys.
        runtime: Time and randomness.
        every: How often the keys are rotated.
        host: What the origins of all logs begin with, from the first key on.
    """

    records: RecordStore
    key_vault: KeyVault
    journal: Journal
    runtime: Runtime
    every: timedelta
    host: str
    _kept: Collection[SigningKeys] = field(init=False)
    _host: str = field(init=False, default="")
    _memory: KeyMemory[_Seeds] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._kept = Collection(self.records, SigningKeys, KIND, lambda keys: keys.id)
        self._memory = KeyMemory(self.runtime)

    async def origin(self, tenant: str) -> str:
        """The name of a log in its checkpoints, and of its keys; it never changes.

        Raises:
            Unavailable: The key vault or the record store does not respond.
        """
        if not self._host:
            self._host = (await self._stored()).value.host
        return f"{self._host}/log/{tenant}"

    async def sign(self, origin: str, text: str) -> Sequence[NoteSignature]:
        """The signatures of a checkpoint.

        Args:
            origin: The log's, which is the name of its keys.
            text: The checkpoint's.

        Raises:
            Unavailable: The key vault or the record store does not respond, or the key vault's key was
                rotated by someone else.
        """
        at = int(self.runtime.now().timestamp())
        signing = [key for key in (await self._stored()).value.keys if key.wrapped is not None]
        signatures = []
        for key in reversed(signing):
            seeds = await self._memory.get(("", key.id), lambda key=key: self._unwrap(key))  # type: ignore[misc]
            signatures.append(sign_ed25519(seeds.ed25519, origin, text))
            signatures.append(cosign_ml_dsa_44(seeds.ml_dsa_44, origin, text, at))
        signatures.append(await self._sign_in_vault(origin, text, signing[-1]))
        return signatures

    async def verifiers(self, origin: str) -> Sequence[tuple[SigningKey, Sequence[VerifierKey]]]:
        """Every key that ever signed, with what checks its signatures for a log, from the newest."""
        keys = (await self._stored()).value.keys
        return [(key, _verifiers(key, origin)) for key in reversed(keys)]

    async def rotate(self) -> bool:
        """Make a new key if the newest is old enough, and erase seeds that have ceased to sign.

        Raises:
            Unavailable: The key vault or the record store does not respond.
        """
        stored = await self._stored()
        now = self.runtime.now()
        newest = stored.value.keys[-1].created_at
        due = now - newest >= self.every
        over = now - newest >= OVERLAP
        if not due and not (over and any(key.wrapped for key in stored.value.keys[:-1])):
            return False
        keys = [
            key.model_copy(update={"wrapped": None, "until": now})
            if key.wrapped is not None and over
            else key
            for key in stored.value.keys[:-1]
        ]
        keys.append(stored.value.keys[-1])
        action = Action.KEY_DELETE
        if due:
            await self.key_vault.rotate(VAULT_KEY)
            keys.append(await self._fresh())
            action = Action.KEY_ROTATE
        entry = self.journal.entry(action, keys[-1].id, tenant=OPERATOR)
        try:
            await self.journal.commit(
                entry, [self._kept.replace(stored, _with(stored.value, keys))]
            )
        except Conflict:
            return False
        return True

    async def _sign_in_vault(self, origin: str, text: str, key: SigningKey) -> NoteSignature:
        signature = await self.key_vault.sign(VAULT_KEY, ecdsa_digest(text))
        if signature.version != key.ecdsa_version:
            key = await self._with_vault_key(key, signature.version)
        half = len(signature.value) // 2
        r, s = (int.from_bytes(part) for part in (signature.value[:half], signature.value[half:]))
        return ecdsa_signature(origin, key.ecdsa, encode_dss_signature(r, s))

    async def _with_vault_key(self, key: SigningKey, version: str) -> SigningKey:
        """Where the key vault's key was rotated and the process ended: name its public key, too."""
        stored = await self._stored()
        fresh = key.model_copy(
            update={"ecdsa": await self._vault_public_key(version), "ecdsa_version": version}
        )
        former = key.model_copy(
            update={
                "id": f"{key.id}.{key.ecdsa_version}",
                "wrapped": None,
                "until": self.runtime.now(),
            }
        )
        if stored.value.keys[-1] != key:
            raise Unavailable("The keys of checkpoints have just been changed; try again.")
        keys = _with(stored.value, [*stored.value.keys[:-1], former, fresh])
        entry = self.journal.entry(Action.KEY_ROTATE, key.id, tenant=OPERATOR)
        await self.journal.commit(entry, [self._kept.replace(stored, keys)])
        return fresh

    async def _stored(self) -> Stored[SigningKeys]:
        found = await self._kept.find(PARTITION, SIGNING_KEYS_ID)
        if found is None:
            await self._create_first()
            found = await self._kept.get(PARTITION, SIGNING_KEYS_ID)
        return found

    async def _create_first(self) -> None:
        await self.key_vault.create(WRAPPING_KEY, "wrap")
        await self.key_vault.create(VAULT_KEY, "sign")
        key = await self._fresh()
        entry = self.journal.entry(Action.KEY_CREATE, key.id, tenant=OPERATOR)
        try:
            await self.journal.commit(
                entry, [self._kept.create(PARTITION, SigningKeys(host=self.host, keys=(key,)))]
            )
        except Conflict:
            return  # another process was first, and its keys are as good

    async def _fresh(self) -> SigningKey:
        """A new key beside the key vault's present one."""
        now = self.runtime.now()
        seeds = self.runtime.random(2 * SEED_BYTES)
        pair = _seeds(seeds)
        wrapped = await self.key_vault.wrap(WRAPPING_KEY, seeds)
        version = await self.key_vault.create(VAULT_KEY, "sign")
        return SigningKey(
            id=self.runtime.new_id("key", now),
            created_at=now,
            ed25519=pair.ed25519.public_key().public_bytes_raw(),
            ml_dsa_44=pair.ml_dsa_44.public_key().public_bytes_raw(),
            ecdsa=await self._vault_public_key(version),
            ecdsa_version=version,
            wrapped=wrapped.ciphertext,
            wrapped_version=wrapped.version,
        )

    async def _vault_public_key(self, version: str) -> bytes:
        pem = await self.key_vault.public_key(VAULT_KEY, version)
        return load_pem_public_key(pem).public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )

    async def _unwrap(self, key: SigningKey) -> _Seeds:
        wrapped = WrappedKey(WRAPPING_KEY, key.wrapped_version, key.wrapped or b"")
        return _seeds(await self.key_vault.unwrap(wrapped))


def _with(before: SigningKeys, keys: Sequence[SigningKey]) -> SigningKeys:
    return before.model_copy(update={"keys": tuple(keys)})


def _seeds(both: bytes) -> _Seeds:
    return _Seeds(
        Ed25519PrivateKey.from_private_bytes(both[:SEED_BYTES]),
        MLDSA44PrivateKey.from_seed_bytes(both[SEED_BYTES:]),
    )


def _verifiers(key: SigningKey, origin: str) -> Sequence[VerifierKey]:
    return (
        VerifierKey(origin, SignatureType.ED25519, key.ed25519),
        VerifierKey(origin, SignatureType.ML_DSA_44, key.ml_dsa_44),
        VerifierKey(origin, SignatureType.ECDSA, key.ecdsa),
    )
