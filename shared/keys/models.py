"""Epochs, intermediate keys and the state of a rotation: as they are kept, and their keys in clear."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from shared.base import telemetry
from shared.base.models import Base64UrlBytes, Model, UtcDatetime
from shared.crypto.keys import unwrap_key, wrap_key
from shared.journal.collections import Collection
from shared.ports.keys import WrappedKey
from shared.ports.records import RecordStore

STATE_ID: Final = "current"
"""The id of a tenant's only ``RotationState``."""


class Epoch(Model):
    """An epoch as it is kept.

    Attributes:
        id: Sorts by time.
        created_at: When it began.
        intermediate: The id of the intermediate key that wraps the epoch key; None in the form of
            releases before 0.2, where the tenant key does.
        key_version: In that form only: the version of the tenant key.
        wrapped_key: The epoch key, wrapped.
        reserved: How many versions may have been sealed in it so far.
    """

    id: str
    created_at: UtcDatetime
    intermediate: str | None = None
    key_version: str | None = None
    wrapped_key: Base64UrlBytes
    reserved: int


class WrappedIntermediateKey(Model):
    """An intermediate key as it is kept.

    Attributes:
        id: Begins with ``int``.
        created_at: When it was made.
        key_version: The version of the tenant key that wraps it.
        wrapped_key: The key under that version.
    """

    id: str
    created_at: UtcDatetime
    key_version: str
    wrapped_key: Base64UrlBytes

    @classmethod
    def of(cls, id: str, created_at: datetime, wrapped: WrappedKey) -> WrappedIntermediateKey:
        """The record of a key that the key vault has just wrapped."""
        return cls(
            id=id,
            created_at=created_at,
            key_version=wrapped.version,
            wrapped_key=wrapped.ciphertext,
        )


class RotationState(Model):
    """How far the rotation of a tenant's key is; one record a tenant.

    Everything that wraps a key under the current intermediate key changes this record in the same
    commit, and so does the rotation that replaces that key: of the two, one conflicts.

    Attributes:
        id: Always the same.
        intermediate: The id of the current intermediate key.
        rotated_at: When the tenant key was last rotated; None: not since the tenant was created.
    """

    id: str = STATE_ID
    intermediate: str
    rotated_at: UtcDatetime | None = None


@dataclass(frozen=True, slots=True)
class EpochKey:
    """An unwrapped epoch key and the epoch's id."""

    id: str
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class IntermediateKey:
    """An unwrapped intermediate key and its id."""

    id: str
    key: bytes = field(repr=False)

    def wrap(self, epoch_key: bytes) -> bytes:
        """An epoch key (32 bytes) under this key: 40 bytes, AES-256-KW (RFC 3394)."""
        telemetry.EPOCH_KEYS.add(1, {telemetry.OPERATION: "wrap"})
        return wrap_key(self.key, epoch_key)

    def unwrap(self, wrapped: bytes) -> bytes:
        """Undo ``wrap``.

        Raises:
            Damaged: ``wrapped`` was not made under this key, or was changed.
        """
        telemetry.EPOCH_KEYS.add(1, {telemetry.OPERATION: "unwrap"})
        return unwrap_key(self.key, wrapped)


def epochs_of(records: RecordStore) -> Collection[Epoch]:
    """The epochs of each tenant, in its main partition."""
    return Collection(records, Epoch, "epoch", lambda epoch: epoch.id)


def intermediate_keys_of(records: RecordStore) -> Collection[WrappedIntermediateKey]:
    """The intermediate keys of each tenant, in its main partition: one, or two during a rotation."""
    return Collection(records, WrappedIntermediateKey, "intermediate-key", lambda key: key.id)


def rotation_states_of(records: RecordStore) -> Collection[RotationState]:
    """The state of each tenant's rotation, in its main partition."""
    return Collection(records, RotationState, "key-rotation", lambda state: state.id)
