"""The audit log as records hold it."""

from __future__ import annotations

from typing import Final

from shared.base.models import Base64UrlBytes, Model, UtcDatetime
from shared.journal.entries import Entry

CHECKPOINT_ID: Final = "checkpoint"
SIGNING_KEYS_ID: Final = "keys"


class LoggedEntry(Model):
    """An entry and its position in the log, from 0."""

    entry: Entry
    position: int


class TreeHead(Model):
    """The log's size and the root of the tree over it, 64 hexadecimal digits (RFC 6962 section 2.1).

    Attributes:
        size: How many entries the log holds.
        root: The Merkle tree hash of their leaves.
        frontier: The hashes of the perfect subtrees from which the next root is computed, from the
            largest to the smallest.
    """

    size: int
    root: str
    frontier: tuple[str, ...]


class PartHead(Model):
    """The state of the log at the end of one of its parts.

    Attributes:
        tree: The tree over the whole log up to there.
        source: The partition in which the entries waited that were appended last, as text.
        appended: Their ids. They may still wait there: removing them is the second commit.
    """

    tree: TreeHead
    source: str = ""
    appended: tuple[str, ...] = ()


class LogPointer(Model):
    """Which part of the log is being appended to: the number of the last part known to have begun."""

    part: int


class LogCheckpoint(Model):
    """How far a tenant's log lies in tiles, and the signed statement of that; one record a tenant.

    Attributes:
        id: Always the same.
        tree: The tree that the tiles hold.
        note: The checkpoint: a signed note (C2SP tlog-checkpoint).
        signed_at: When it was signed.
    """

    id: str = CHECKPOINT_ID
    tree: TreeHead
    note: str
    signed_at: UtcDatetime


class BundleSpan(Model):
    """Which entries a full bundle holds, by their ids, which sort by time.

    Attributes:
        id: The bundle's index in 12 digits.
        first: The lowest id of an entry.
        last: The highest.
    """

    id: str
    first: str
    last: str


class SigningKey(Model):
    """A key that signs checkpoints, with what Key Vault's key was when it was made.

    Attributes:
        id: Sorts by time.
        created_at: When it was made.
        until: When it ceased to sign; None: it signs.
        ed25519: The public key, 32 bytes.
        ml_dsa_44: The public key (FIPS 204), 1,312 bytes.
        ecdsa: The public key of the key vault's key of the same time, SubjectPublicKeyInfo.
        ecdsa_version: Its version in the key vault.
        wrapped: Both seeds, 32 bytes each, wrapped by the key vault; None once it has ceased to sign.
        wrapped_version: The version of the key vault's key that wraps them.
    """

    id: str
    created_at: UtcDatetime
    until: UtcDatetime | None = None
    ed25519: Base64UrlBytes
    ml_dsa_44: Base64UrlBytes
    ecdsa: Base64UrlBytes
    ecdsa_version: str
    wrapped: Base64UrlBytes | None
    wrapped_version: str


class SigningKeys(Model):
    """The keys that sign checkpoints, from the oldest; one record in the operator's partition.

    Attributes:
        id: Always the same.
        host: What the names of all logs begin with: set once, so that a log keeps its name.
        keys: Two of them sign while one takes over from the other; public keys are kept for ever.
    """

    id: str = SIGNING_KEYS_ID
    host: str
    keys: tuple[SigningKey, ...]
