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
from shared.base.partitions import partition_of
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
from shared.documents.naming import object_name
from shared.documents.store import DocumentRecords
from shared.keys.epochs import EpochKeys
from shared.ports.blobs import BlobStore
from shared.ports.clock import Runtime

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


@dataclass(frozen=True, slots=True)
class Sealed:
    """Content that was sealed: the version to be recorded, and its names in clear."""

    version: Version
    names: SealedNames


@dataclass(slots=True)
class ContentSealer:
    """Seals content into the primary store.

    Attributes:
        primary: Where sealed content lies.
        epochs: Keys.
        store: Lets the sweep know of objects that no record may come to name.
        environment: Bound into the encryption.
        runtime: Time and randomness.
    """

    primary: BlobStore
    epochs: EpochKeys
    store: DocumentRecords
    environment: str
    runtime: Runtime

    async def seal(self, incoming: Incoming) -> Sealed:
        """Seal a content; when this returns the object is durable, though no record names it yet.

        Raises:
            DigestMismatch: The content is not what the client says it is; nothing was kept.
            TooLarge: It is larger than allowed; nothing was kept.
        """
        epoch = await self.epochs.current(incoming.tenant)
        data_key = self.runtime.random(DATA_KEY_SIZE)
        bound_to = content_associated_data(
            self.environment, incoming.tenant, incoming.document, incoming.number
        )
        work = _Sealing(Sealer(data_key, bound_to, self.runtime.random))
        now = self.runtime.now()
        name = object_name(incoming.tenant, incoming.document, incoming.number, now, self.runtime)
        await self.store.prepare_object(partition_of(incoming.tenant, incoming.document), now)
        await self.primary.put(name, prefetch(work.run(incoming)))

        names = SealedNames(**incoming.description.model_dump(), sha256=work.sha256.digest())
        names_bound_to = metadata_associated_data(
            self.environment, incoming.tenant, "version", f"{incoming.document}-{incoming.number}"
        )
        version = Version(
            number=incoming.number,
            object=name,
            epoch=epoch.id,
            wrapped_key=wrap_data_key(epoch.key, data_key),
            names=seal_metadata(
                epoch.key, names_bound_to, names.model_dump(mode="json"), self.runtime.random
            ),
            size=work.size,
            sealed_sha256=work.sealed_sha256.digest(),
            created_at=now,
            created_by=incoming.user,
        )
        return Sealed(version, names)

    async def discard(self, version: Version) -> None:
        """Remove the object of a version that was not recorded and will not be."""
        await self.primary.delete(version.object)


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
        DigestMismatch: The digests differ.
    """
    if not hmac.compare_digest(said, found):
        raise DigestMismatch(
            "The content that arrived has another SHA-256 than Repr-Digest says; send it again."
        )
