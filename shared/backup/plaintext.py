"""Content and names of a backup in clear: for restores that seal them anew, and for samples."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from shared.backup.models import object_name
from shared.backup.snapshot import BackedUpVersion, Snapshot
from shared.base.buffers import Buffer
from shared.base.streams import convert_stream
from shared.crypto.keys import content_associated_data, unwrap_key
from shared.crypto.ranges import OpenedRange
from shared.crypto.streaming import HEADER_SIZE, Opener
from shared.documents.models import SealedNames, Version
from shared.documents.opening import ContentOpener


@dataclass(slots=True)
class ContentReader:
    """Opens what a backup has of documents, with the keys of their tenant.

    Attributes:
        opener: Has the keys.
    """

    opener: ContentOpener

    async def names(self, tenant: str, document: str, version: Version) -> SealedNames:
        """The names of a version.

        Raises:
            Damaged: They are not what was sealed, or a key is gone.
            Unavailable: The key vault does not respond.
        """
        return await self.opener.names(tenant, document, version)

    async def plaintext(
        self, snapshot: Snapshot, document: str, backed_up: BackedUpVersion
    ) -> AsyncIterator[Buffer]:
        """The content of a version; it ends without an error only if it is what was sealed.

        Raises:
            Damaged: It is not what was sealed, or a key is gone.
            NotFound: The pack is missing.
            Unavailable: The backup store or the key vault does not respond.
        """
        tenant, version = snapshot.manifest.tenant, backed_up.version
        epoch = await self.opener.epochs.of(tenant, version.epoch)
        key = unwrap_key(epoch.key, version.wrapped_key)
        bound_to = content_associated_data(
            self.opener.environment, tenant, document, version.number
        )
        location, store = backed_up.location, snapshot.reader.store
        name = object_name(tenant, "packs", location.pack)
        start = location.offset + HEADER_SIZE
        head = store.get(name, start=location.offset, end=start)
        header = b"".join([piece async for piece in head])
        opened = OpenedRange(Opener(key, bound_to, header), version.size)
        sealed = store.get(name, start=start, end=location.offset + location.size)
        async for piece in convert_stream(opened, sealed):
            yield piece
