"""Sealing: a stream of plaintext becomes a sealed object in the primary, and never touches a disk."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from shared.base.buffers import Buffer
from shared.base.errors import DigestMismatch, TooLarge
from shared.base.streams import prefetch, rechunk, run_in_thread
from shared.crypto.keys import content_associated_data, wrap_data_key
from shared.crypto.metadata import metadata_associated_data, seal_metadata
from shared.crypto.streaming import (
    FIRST_SEGMENT_PLAINTEXT,
    HEADER_SIZE,
    SEGMENT_PLAINTEXT,
    TAG_SIZE,
    Sealer,
)
from shared.documents.models import Description, SealedNames, Version
from shared.keys.epochs import EpochKeys
from shared.ports.blobs import BlobStore
from shared.ports.clock import Clock, Entropy

DATA_KEY_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class Incoming:
    """A content on its way in.

    Attributes:
        tenant: Whose it is.
        document: The id that it gets.
        number: The version that it becomes.
        user: Who sends it.
        description: What they say about it.
        content: The plaintext.
        max_size: Bytes at most.
        sha256: What the client says the content's SHA-256 is; None: it does not say.
    """

    tenant: str
    document: str
    number: int
    user: str
    description: Description
    content: AsyncIterator[Buffer]
    max_size: int
    sha256: bytes | None


class ContentSealer:
    """Seals contents into the primary store.

    Args:
        primary: Where sealed contents live.
        epochs: Keys.
        environment: Bound into the encryption.
        clock: Time.
        entropy: Randomness.
    """

    def __init__(
        self,
        primary: BlobStore,
        epochs: EpochKeys,
        environment: str,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._primary = primary
        self._epochs = epochs
        self._environment = environment
        self._clock = clock
        self._entropy = entropy

    async def seal(self, incoming: Incoming) -> tuple[Version, SealedNames]:
        """Seal a content; when this returns the object is durable, though no record names it yet.

        Returns:
            The version to be recorded, and its names in clear.

        Raises:
            DigestMismatch: The content is not what the client says it is; nothing was kept.
            TooLarge: It is larger than allowed; nothing was kept.
        """
        epoch = await self._epochs.current(incoming.tenant)
        data_key = self._entropy(DATA_KEY_SIZE)
        bound_to = content_associated_data(
            self._environment, incoming.tenant, incoming.document, incoming.number
        )
        work = _Sealing(Sealer(data_key, bound_to, self._entropy))
        now = self._clock.now()
        name = object_name(
            incoming.tenant, f"{now:%Y-%m-%d}", incoming.document, incoming.number, self._entropy
        )
        await self._primary.put(name, prefetch(work.run(incoming)))

        names = SealedNames(**incoming.description.model_dump(), sha256=work.sha256.digest())
        names_bound_to = metadata_associated_data(
            self._environment, incoming.tenant, "version", f"{incoming.document}-{incoming.number}"
        )
        version = Version(
            number=incoming.number,
            object=name,
            epoch=epoch.id,
            wrapped_key=wrap_data_key(epoch.key, data_key),
            names=seal_metadata(
                epoch.key, names_bound_to, names.model_dump(mode="json"), self._entropy
            ),
            size=work.size,
            sealed_sha256=work.sealed_sha256.digest(),
            created_at=now,
            created_by=incoming.user,
        )
        return version, names


def object_name(tenant: str, day: str, document: str, number: int, entropy: Entropy) -> str:
    """A name for a sealed object: whose, when, of what, and random, so that no two are the same.

    The day lets the sweep look at one day's objects alone.
    """
    return f"{tenant}/{day}/{document}.{number}.{entropy(8).hex()}"


class _Sealing:
    """One content being sealed: the sealer, and what is learnt along the way."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self.size = 0
        self.sha256 = hashlib.sha256()
        self.sealed_sha256 = hashlib.sha256()

    async def run(self, incoming: Incoming) -> AsyncIterator[Buffer]:
        """The sealed content, segment by segment."""
        pieces = rechunk(incoming.content, FIRST_SEGMENT_PLAINTEXT, SEGMENT_PLAINTEXT)
        async for piece, last in prefetch(pieces):
            self.size += len(piece)
            if self.size > incoming.max_size:
                raise TooLarge(f"The content is larger than {incoming.max_size} bytes.")
            # Both let go of the interpreter's lock, so they run side by side.
            _, sealed = await asyncio.gather(
                run_in_thread(self.sha256.update, piece),
                run_in_thread(partial(self._segment, last=last), piece),
            )
            if last and incoming.sha256 is not None:
                check_digest(incoming.sha256, self.sha256.digest())
            yield sealed

    def _segment(self, piece: bytearray, last: bool) -> bytearray:
        start = HEADER_SIZE if self.size == len(piece) else 0
        out = bytearray(start + len(piece) + TAG_SIZE)
        if start:
            out[:start] = self._sealer.header
        self._sealer.seal_segment(piece, memoryview(out)[start:], last=last)
        self.sealed_sha256.update(out)
        return out


def check_digest(said: bytes, found: bytes) -> None:
    """Refuse a content that is not what its sender says.

    Raises:
        DigestMismatch: As said.
    """
    if not hmac.compare_digest(said, found):
        raise DigestMismatch(
            "The content that arrived has another SHA-256 than Repr-Digest says; send it again."
        )
