"""Sealing: a stream of plaintext becomes a sealed object in the primary, and never touches a disk."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from shared.base import telemetry
from shared.base.buffers import Buffer
from shared.base.errors import DigestMismatch, TooLarge
from shared.base.partitions import partition_of
from shared.base.pipelines import OUTPUTS, convert_observed
from shared.crypto.keys import KEY_SIZE, content_associated_data, wrap_key
from shared.crypto.metadata import metadata_associated_data, seal_metadata
from shared.crypto.sealed_digests import new_hasher
from shared.crypto.streaming import Sealer
from shared.documents.models import Description, SealedNames, Version
from shared.documents.naming import object_name
from shared.documents.store import DocumentRecords
from shared.keys.epochs import EpochKeys
from shared.ports.blobs import BlobStore
from shared.ports.clock import Runtime

TAG_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Incoming:
    """Content on its way in.

    Attributes:
        tenant: Whose it is.
        document: The id of its document.
        number: The version that it becomes.
        user: Who sends it.
        description: What they say about it.
        content: The plaintext.
        max_size: The most bytes that it may have.
        sha256: Its SHA-256 according to the client; None: the client sent none.
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
        """Seal content; when this returns the object is durable, though no record names it yet.

        Raises:
            DigestMismatch: Its SHA-256 differs from ``incoming.sha256``; nothing was kept.
            TooLarge: It has more than ``incoming.max_size`` bytes; nothing was kept.
        """
        epoch = await self.epochs.current(incoming.tenant)
        data_key = self.runtime.random(KEY_SIZE)
        bound_to = content_associated_data(
            self.environment, incoming.tenant, incoming.document, incoming.number
        )
        sealer = Sealer(data_key, bound_to, self.runtime.random, outputs=OUTPUTS)
        tally = Tally(incoming.max_size)
        now = self.runtime.now()
        name = object_name(incoming.tenant, incoming.document, incoming.number, now, self.runtime)
        await self.store.prepare_object(partition_of(incoming.tenant, incoming.document), now)
        await self.primary.put(name, sealed_form(sealer, incoming, tally))
        telemetry.SEALED.add(tally.size)

        names = SealedNames(**incoming.description.model_dump(), sha256=tally.sha256.digest())
        names_bound_to = metadata_associated_data(
            self.environment, incoming.tenant, "version", f"{incoming.document}-{incoming.number}"
        )
        version = Version(
            number=incoming.number,
            tag=self.runtime.random(TAG_BYTES).hex(),
            object=name,
            epoch=epoch.id,
            wrapped_key=wrap_key(epoch.key, data_key),
            names=seal_metadata(
                epoch.key, names_bound_to, names.model_dump(mode="json"), self.runtime.random
            ),
            size=tally.size,
            sealed_blake3=tally.sealed.digest(),
            created_at=now,
            created_by=incoming.user,
        )
        return Sealed(version, names)

    async def discard(self, version: Version) -> None:
        """Remove the object of a version that was not recorded and will not be."""
        await self.primary.delete(version.object)


class Tally:
    """The size of content and the digests of its two forms, taken while it is sealed.

    Args:
        max_size: The most bytes that the content may have.

    Attributes:
        size: Of the plaintext, bytes.
        sha256: Of the plaintext.
        sealed: Of the sealed form; ``Version.sealed_blake3``.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self.size = 0
        self.sha256 = hashlib.sha256()
        self.sealed = new_hasher()

    def observe_piece(self, piece: Buffer) -> None:
        """Take the next plaintext.

        Raises:
            TooLarge: There are more bytes than there may be.
        """
        self.size += len(piece)
        if self.size > self._max_size:
            raise TooLarge(f"The content is larger than {self._max_size} bytes.")
        self.sha256.update(piece)

    def observe_converted(self, converted: Buffer) -> None:
        """Take what is sealed next."""
        self.sealed.update(converted)


async def sealed_form(sealer: Sealer, incoming: Incoming, tally: Tally) -> AsyncGenerator[Buffer]:
    """The sealed form; it ends without an error only if the plaintext is what it should be.

    Args:
        sealer: With ``OUTPUTS`` outputs.
        incoming: The content.
        tally: Is complete at the end.

    Raises:
        DigestMismatch: The SHA-256 differs from ``incoming.sha256``.
        TooLarge: There are more bytes than ``tally`` takes.
    """
    async with aclosing(convert_observed(sealer, incoming.content, tally)) as parts:
        async for part in parts:
            yield part
    if incoming.sha256 is not None:
        _check_digest(incoming.sha256, tally.sha256.digest())


async def checked_content(
    content: AsyncIterator[Buffer], digests: Mapping[str, bytes]
) -> AsyncIterator[Buffer]:
    """Pass content on; it ends without an error only if it is what its sender says.

    Args:
        content: The plaintext.
        digests: Its digests according to the sender, by the names that ``hashlib`` has for them.

    Raises:
        DigestMismatch: One of them differs.
    """
    # MD5 finds accidents on the way; nothing rests on it.
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in digests}
    async for piece in content:
        for digest in hashes.values():
            digest.update(piece)
        yield piece
    for name, digest in hashes.items():
        _check_digest(digests[name], digest.digest())


def _check_digest(said: bytes, found: bytes) -> None:
    """Refuse content that is not what its sender says.

    Raises:
        DigestMismatch: The digests differ.
    """
    if not hmac.compare_digest(said, found):
        raise DigestMismatch(
            "The content that arrived differs from the digest that was sent with it; send it again."
        )
