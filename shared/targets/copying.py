"""One version's way to one target: its sealed content, verified there, then the file with its key.

The content goes as it lies in the primary or the replica, checked against the record on its way. The key
file follows once the content has been read back, so a key file says that the content is there. It has
the SHA-256 of the sealed content, taken on the way: whoever reads a target needs common tools alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

from shared.base.buffers import Buffer
from shared.base.errors import Damaged, NotFound, StrongroomError
from shared.base.streams import run_in_thread, single
from shared.crypto.keys import content_associated_data, unwrap_key
from shared.crypto.recovery import encrypt_to
from shared.crypto.sealed_digests import SealedDigest
from shared.crypto.streaming import sealed_size
from shared.documents.models import Version
from shared.documents.opening import ContentOpener
from shared.documents.store import DocumentRecords
from shared.ports.blobs import BlobStore
from shared.ports.targets import TargetStore
from shared.targets.errors import TargetFailedError
from shared.targets.format import (
    NO_TAG,
    KeyFile,
    content_name,
    content_prefix,
    key_name,
    key_prefix,
)


@dataclass(frozen=True, slots=True)
class Destination:
    """An open target.

    Attributes:
        tenant: Whose it is.
        store: The target; its errors are ``TargetFailedError``.
        recipients: What key files are encrypted to; none: the target gets no key files.
    """

    tenant: str
    store: TargetStore
    recipients: tuple[str, ...]


@dataclass(slots=True)
class TargetCopier:
    """Copies versions to targets, and erases documents there.

    Attributes:
        documents: Finds versions.
        opener: Opens names and keys; knows the primary and the replica.
    """

    documents: DocumentRecords
    opener: ContentOpener

    async def copy(self, to: Destination, document: str, number: int) -> Version | None:
        """Copy a version and verify it there; return None if there is no such version any more.

        Raises:
            StrongroomError: The content or its key cannot be read here.
            TargetFailedError: The target failed, or does not give back what was sent.
        """
        found = await self.documents.find_version(to.tenant, document, number)
        if found is None:
            return None
        version = found.version
        tag = version.tag or NO_TAG
        name = content_name(document, number, tag)
        sealed_sha256 = await self._send(to, name, version)
        await _verify(to.store, name, sealed_sha256)
        if to.recipients:
            content = await self._key_file(to, document, version, sealed_sha256)
            file = key_name(document, number, tag)
            await to.store.put(file, single(content), len(content))
            await _verify(to.store, file, hashlib.sha256(content).digest())
        if await self.documents.find_version(to.tenant, document, number) is None:
            # It was deleted while it was copied, perhaps after its erasure had looked here.
            await self.erase(to, document)
            return None
        return version

    async def erase(self, to: Destination, document: str) -> int:
        """Remove everything of a document from a target; return how many objects that was.

        Raises:
            TargetFailedError: The target failed.
        """
        erased = 0
        # Keys first: content without them is worthless.
        for prefix in (key_prefix(document), content_prefix(document)):
            for name in [info.name async for info in to.store.list(prefix)]:
                await to.store.delete(name)
                erased += 1
        return erased

    async def _send(self, to: Destination, name: str, version: Version) -> bytes:
        """Send the sealed content from a copy that is what was sealed; return its SHA-256."""
        places = ((self.opener.primary, version.object), (self.opener.replica, version.replica))
        failure: StrongroomError = Damaged("The version names no object.")
        for store, sealed in places:
            if sealed is None:
                continue
            source = _Source(store, sealed, version.sealed_digest)
            try:
                await to.store.put(name, source.stream(), sealed_size(version.size))
            except Exception:
                if source.failure is None:
                    raise
                failure = source.failure
            else:
                return source.sha256.digest()
        raise failure

    async def _key_file(
        self, to: Destination, document: str, version: Version, sealed_sha256: bytes
    ) -> bytes:
        bound_to = content_associated_data(
            self.opener.environment, to.tenant, document, version.number
        )
        names = await self.opener.names(to.tenant, document, version)
        epoch = await self.opener.epochs.of(to.tenant, version.epoch)
        data_key = unwrap_key(epoch.key, version.wrapped_key)
        tag = version.tag or NO_TAG
        file = KeyFile(
            document=document,
            version=version.number,
            tag=tag,
            name=names.name,
            media_type=names.media_type,
            metadata=names.metadata,
            size=version.size,
            sha256=names.sha256.hex(),
            sealed_size=sealed_size(version.size),
            sealed_sha256=sealed_sha256.hex(),
            created_at=version.created_at,
            object=content_name(document, version.number, tag),
            data_key=data_key,
            associated_data=bound_to.decode("ascii"),
        )
        return encrypt_to(to.recipients, file.model_dump_json().encode())


class _Source:
    """A sealed object on its way.

    Attributes:
        failure: What kept it from being read as it was sealed; None: nothing did.
        sha256: Of what passed.
    """

    def __init__(self, store: BlobStore, name: str, sealed: SealedDigest) -> None:
        self._store = store
        self._name = name
        self._sealed = sealed
        self.sha256 = hashlib.sha256()
        self.failure: StrongroomError | None = None

    async def stream(self) -> AsyncIterator[Buffer]:
        """Its bytes. The last of them pass only if all are what was sealed."""
        check = self._sealed.check()
        self.sha256 = hashlib.sha256()

        def observe(piece: Buffer) -> None:
            check.update(piece)
            self.sha256.update(piece)

        held: bytes | None = None
        try:
            async for piece in self._store.get(self._name):
                if held is not None:
                    yield held
                held = piece
                await run_in_thread(observe, piece)
            if not check.passed:
                raise Damaged("The copy is not what was sealed.")
        except StrongroomError as error:
            self.failure = error
            raise
        if held is not None:
            yield held


async def _verify(store: TargetStore, name: str, sha256: bytes) -> None:
    """Read an object back.

    Raises:
        TargetFailedError: It is not what was sent, or is not there.
    """
    digest = hashlib.sha256()
    with suppress(NotFound):
        async for piece in store.get(name):
            await run_in_thread(digest.update, piece)
    if digest.digest() != sha256:
        raise TargetFailedError(Damaged("The target did not give back what was sent."))
