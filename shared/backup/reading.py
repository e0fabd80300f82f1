"""Reading sets: from a manifest to the indexes of its partitions, and their records."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from shared.backup.manifests import Manifests
from shared.backup.models import Manifest, PartIndex, PartRef, SegmentLine, object_name
from shared.backup.segments import Segments
from shared.base.errors import Damaged, NotFound
from shared.base.ids import created_at
from shared.keys.models import IntermediateKey
from shared.ports.keys import KeyVault, WrappedKey
from shared.ports.write_once import WriteOnceStore

MAX_INDEX_BYTES: Final = 64 << 20


@dataclass(slots=True)
class SetReader:
    """Reads sets, checking each object against the one that names it.

    Attributes:
        manifests: Where it begins.
        segments: Records.
    """

    manifests: Manifests
    segments: Segments

    @property
    def store(self) -> WriteOnceStore:
        """Where sets are."""
        return self.manifests.store

    @property
    def key_vault(self) -> KeyVault:
        """Unwraps the intermediate keys."""
        return self.manifests.key_vault

    async def sets(self, tenant: str) -> list[str]:
        """The ids of a tenant's sets, oldest first.

        Raises:
            Unavailable: The backup store does not respond.
        """
        prefix = object_name(tenant, "sets", "")
        return [info.name.removeprefix(prefix) async for info in self.store.list(prefix)]

    async def newest(self, tenant: str, at: datetime | None = None) -> str:
        """The id of a tenant's newest set, or of the newest that was made up to a moment.

        Raises:
            NotFound: There is none.
            Unavailable: The backup store does not respond.
        """
        names = [one for one in await self.sets(tenant) if at is None or created_at(one) <= at]
        if not names:
            raise NotFound("There is no backup set of that time.")
        return names[-1]

    async def index(self, tenant: str, part: PartRef) -> PartIndex:
        """What a set has of one partition.

        Raises:
            NotFound: The object is missing.
            Damaged: It is not what was written.
            Unavailable: The backup store does not respond.
        """
        content = b""
        async for piece in self.store.get(object_name(tenant, "parts", part.index)):
            content += piece
            if len(content) > MAX_INDEX_BYTES:
                break
        if not hmac.compare_digest(hashlib.sha256(content).digest(), part.sha256):
            raise Damaged("The index of a part of a backup is not what was written.")
        try:
            return PartIndex.model_validate_json(content)
        except ValidationError:
            raise Damaged("The index of a part of a backup cannot be read.") from None

    async def keys(self, manifest: Manifest) -> dict[str, IntermediateKey]:
        """The keys under which a set's segments are sealed, by their ids.

        Raises:
            Damaged: The tenant's key is gone, or a key is not what was wrapped.
            Unavailable: The key vault does not respond.
        """
        found: dict[str, IntermediateKey] = {}
        for each in manifest.keys:
            try:
                key = await self.key_vault.unwrap(
                    WrappedKey(each.name, each.version, each.wrapped_key)
                )
            except NotFound:
                raise Damaged("The tenant's key is gone; its backups cannot be opened.") from None
            found[each.id] = IntermediateKey(each.id, key)
        return found

    async def lines(
        self, manifest: Manifest, index: PartIndex, keys: dict[str, IntermediateKey]
    ) -> AsyncIterator[Sequence[SegmentLine]]:
        """The records of a partition, many at a time, the oldest segment first.

        Of two of the same name the later counts.

        Raises:
            NotFound: A segment is missing.
            Damaged: A segment is not what was written.
            Unavailable: The backup store does not respond.
        """
        for segment in index.segments:
            key = keys.get(segment.under)
            if key is None:
                raise Damaged("A backup's manifest lacks the key of a segment.")
            async for lines in self.segments.read(manifest.tenant, segment, key):
                yield lines
