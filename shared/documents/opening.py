"""Opening: sealed objects become plaintext again, segment by segment from whichever copy is good."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from shared.base import telemetry
from shared.base.buffers import Buffer
from shared.base.errors import Damaged
from shared.base.streams import run_in_thread
from shared.crypto.keys import content_associated_data, unwrap_key
from shared.crypto.metadata import metadata_associated_data, open_metadata
from shared.crypto.streaming import Segment, sealed_size, segments
from shared.documents.copies import Copies, Copy, DamageReport
from shared.documents.models import Place, SealedNames, Version
from shared.keys.epochs import EpochKeys
from shared.keys.models import EpochKey
from shared.ports.blobs import BlobStore

# Opened before the response begins: content up to this size is either served whole or refused with a
# clear error; larger content whose every copy breaks further on ends in a broken transfer.
READ_AHEAD_SEGMENTS: Final = 4


_log = logging.getLogger("strongroom.documents")


@dataclass(frozen=True, slots=True)
class VersionOf:
    """A version and the id of its document."""

    document: str
    version: Version


@dataclass(slots=True)
class ContentOpener:
    """Opens content and names.

    Attributes:
        primary: Where sealed content lies.
        replica: The second region.
        epochs: Keys.
        environment: Bound into the encryption.
    """

    primary: BlobStore
    replica: BlobStore
    epochs: EpochKeys
    environment: str

    async def names_of_all(
        self, tenant: str, versions: Sequence[VersionOf]
    ) -> list[SealedNames | None]:
        """The names of many versions, in their order; the keys of each epoch are loaded once.

        None: they, or the key of their epoch, are not what was sealed.

        Raises:
            Unavailable: The key vault or the record store does not respond.
        """
        keys = await self.epochs.of_all(tenant, {each.version.epoch for each in versions})
        return [
            self._names_if_sound(tenant, each, keys.get(each.version.epoch)) for each in versions
        ]

    async def names(self, tenant: str, document: str, version: Version) -> SealedNames:
        """The names of a version, in clear.

        Raises:
            Damaged: They are not what was sealed.
        """
        epoch = await self.epochs.of(tenant, version.epoch)
        return self._names(tenant, document, version, epoch)

    def _names_if_sound(
        self, tenant: str, of: VersionOf, epoch: EpochKey | None
    ) -> SealedNames | None:
        if epoch is None:
            return None
        try:
            return self._names(tenant, of.document, of.version, epoch)
        except Damaged:
            number = of.version.number
            _log.error("record.damaged kind=names id=%s version=%d", of.document, number)
            telemetry.RECORDS_DAMAGED.add(1, {telemetry.RECORD: "names"})
            return None

    def _names(self, tenant: str, document: str, version: Version, epoch: EpochKey) -> SealedNames:
        bound_to = metadata_associated_data(
            self.environment, tenant, "version", f"{document}-{version.number}"
        )
        return SealedNames.model_validate(open_metadata(epoch.key, bound_to, version.names))

    async def open(
        self,
        tenant: str,
        document: str,
        version: Version,
        start: int,
        end: int,
        on_damage: DamageReport,
    ) -> AsyncIterator[memoryview]:
        """The plaintext bytes ``start`` (included) to ``end`` (excluded) of a version.

        Each segment comes from a copy in which it is authentic; a copy that fails is reported to
        ``on_damage`` at once.

        Raises:
            Damaged: No copy is good; raised before anything is returned if that shows in the first
                ``READ_AHEAD_SEGMENTS`` segments, else while streaming.
            NotFound: The document and its objects were concurrently deleted.
            Unavailable: No store that may have a good copy responds.
        """
        wanted = list(segments(version.size, start, end))
        until = wanted[-1].sealed_end if wanted else 0
        copies = await self._copies(tenant, document, version, until, on_damage)
        stream = _plaintext(copies, wanted, start, end)

        head = [await anext(stream) for _ in wanted[:READ_AHEAD_SEGMENTS]]
        return _joined(head, stream, more=len(wanted) > len(head))

    async def reassembled(
        self, tenant: str, document: str, version: Version
    ) -> AsyncGenerator[Buffer]:
        """The sealed content of a version, reassembled from the good segments of its copies.

        It ends without an error only if all of it is what was sealed.

        Raises:
            Damaged: A segment is good in no copy, or the whole differs from the record's digest.
            Unavailable: A store that may have a good segment does not respond.
        """
        until = sealed_size(version.size)
        copies = await self._copies(tenant, document, version, until, _nothing_to_report)
        check = version.sealed_digest.check()
        try:
            for segment in segments(version.size):
                opened = await copies.open(segment)
                parts = (copies.header, opened.sealed) if segment.index == 0 else (opened.sealed,)
                for part in parts:
                    await run_in_thread(check.update, part)
                    yield part
        finally:
            await copies.close()
        if not check.passed:
            raise Damaged("The reassembled content is not what was sealed.")

    async def _copies(
        self, tenant: str, document: str, version: Version, until: int, on_damage: DamageReport
    ) -> Copies:
        epoch = await self.epochs.of(tenant, version.epoch)
        data_key = unwrap_key(epoch.key, version.wrapped_key)
        bound_to = content_associated_data(self.environment, tenant, document, version.number)
        copies = [Copy("primary", self.primary, version.object, until)]
        if version.replica is not None:
            copies.append(Copy("replica", self.replica, version.replica, until))
        return Copies(copies, data_key, bound_to, on_damage)


async def _nothing_to_report(_: Place, name: str) -> str:
    """For a repair, which knows of the damage."""
    return name


async def _joined(
    head: list[memoryview], rest: AsyncGenerator[memoryview], *, more: bool
) -> AsyncIterator[memoryview]:
    """All segments in their order."""
    async with aclosing(rest):
        while head:
            yield head.pop(0)
        if not more:
            return
        async for piece in rest:
            yield piece


async def _plaintext(
    copies: Copies, wanted: Sequence[Segment], start: int, end: int
) -> AsyncGenerator[memoryview]:
    first, rest = wanted[:READ_AHEAD_SEGMENTS], wanted[READ_AHEAD_SEGMENTS:]
    try:
        for segment in first:
            yield segment.cut((await copies.open(segment)).plaintext, start, end)
        async with aclosing(copies.open_all(rest)) as opened:
            async for segment, plaintext in opened:
                yield segment.cut(plaintext, start, end)
    finally:
        await copies.close()
