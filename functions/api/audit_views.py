"""What responses about the audit log hold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel

from shared.audit.models import LoggedEntry


class TreeHeadView(BaseModel):
    """The size of the log and the root of the Merkle tree over it (RFC 6962)."""

    size: int
    root: str


class LogView(BaseModel):
    """A page of entries, newest first, with their positions in the log, and the tree head."""

    items: Sequence[LoggedEntry]
    cursor: str | None
    damaged: Sequence[str]
    head: TreeHeadView


class FeedView(BaseModel):
    """A page of the feed: entries in the order of their positions. Ask for the next one with `cursor`."""

    items: Sequence[LoggedEntry]
    cursor: str


class VerifierKeyView(BaseModel):
    """A key that signs checkpoints of your log.

    Attributes:
        vkey: As C2SP signed-note writes a verifier key.
        type: ``ed25519``, ``ml-dsa-44`` or ``ecdsa-p256``.
        since: When it began to sign.
        until: When it ceased to; null: it signs.
    """

    vkey: str
    type: str
    since: datetime
    until: datetime | None


class LogKeysView(BaseModel):
    """The name of your log, and every key that ever signed its checkpoints, from the newest."""

    origin: str
    items: Sequence[VerifierKeyView]


class ConsistencyView(BaseModel):
    """The proof that the log has only grown (RFC 6962 section 2.1.2).

    Attributes:
        checkpoint: The newest one, a signed note.
        hashes: Of the proof, hexadecimal.
    """

    checkpoint: str
    hashes: Sequence[str]
