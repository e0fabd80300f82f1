"""Opening: sealed objects become plaintext again, from whichever copy is good."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from shared.crypto.keys import content_associated_data, unwrap_data_key
from shared.crypto.metadata import metadata_associated_data, open_metadata
from shared.crypto.streaming import HEADER_SIZE, TAG_SIZE, Opener, Segment, segments
from shared.documents.epochs import EpochKeys
from shared.documents.models import SealedNames, Version
from shared.errors import Damaged, NotFound, StrongroomError, Unavailable
from shared.ports.blobs import BlobStore

# Opened before the answer begins: content up to this size is either served whole or refused with a
# clear error; larger content whose every copy breaks further on ends in a broken transfer.
READ_AHEAD_SEGMENTS: Final = 4

DamageReport = Callable[[str], Awaitable[None]]
"""Called once a copy that turns out to be damaged or gone, with the copy's label."""


@dataclass(frozen=True, slots=True)
class Copy:
    """Where one copy of a sealed content is."""

    label: str
    store: BlobStore
    name: str


class ContentOpener:
    """Opens contents and names.

    Args:
        vault: Where sealed contents live.
        replica: The second region.
        epochs: Keys.
        environment: Bound into the encryption.
    """

    def __init__(
        self, vault: BlobStore, replica: BlobStore, epochs: EpochKeys, environment: str
    ) -> None:
        self._vault = vault
        self._replica = replica
        self._epochs = epochs
        self._environment = environment

    async def names(self, tenant: str, document: str, version: Version) -> SealedNames:
        """The names of a version, in clear.

        Raises:
            Damaged: They are not what was sealed.
        """
        epoch = await self._epochs.of(tenant, version.epoch)
        bound_to = metadata_associated_data(
            self._environment, tenant, "version", f"{document}-{version.number}"
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

        Each segment comes from a copy in which it is authentic; a copy that fails is reported at once.

        Raises:
            Damaged: No copy is good; raised before anything is returned if that shows in the first
                ``READ_AHEAD_SEGMENTS`` segments, else while streaming.
            Unavailable: No store that may have a good copy answers.
        """
        epoch = await self._epochs.of(tenant, version.epoch)
        data_key = unwrap_data_key(epoch.key, version.wrapped_key)
        bound_to = content_associated_data(self._environment, tenant, document, version.number)
        copies = [Copy("vault", self._vault, version.object)]
        if version.replica is not None:
            copies.append(Copy("replica", self._replica, version.replica))
        wanted = list(segments(version.size, start, end))
        until = wanted[-1].sealed_end if wanted else 0
        readers = [_CopyReader(copy, data_key, bound_to, until) for copy in copies]
        stream = _plaintext(readers, wanted, start, end, on_damage)

        head = [await anext(stream) for _ in wanted[:READ_AHEAD_SEGMENTS]]
        return _joined(head, stream)


async def _joined(
    head: list[memoryview], rest: AsyncGenerator[memoryview]
) -> AsyncIterator[memoryview]:
    async with aclosing(rest):
        while head:
            yield head.pop(0)
        async for piece in rest:
            yield piece


async def _plaintext(
    readers: list[_CopyReader],
    wanted: Sequence[Segment],
    start: int,
    end: int,
    on_damage: DamageReport,
) -> AsyncGenerator[memoryview]:
    try:
        for segment in wanted:
            plaintext = await _open_segment(readers, segment, on_damage)
            yield plaintext[max(0, start - segment.plaintext_start) : end - segment.plaintext_start]
    finally:
        for reader in readers:
            await reader.close()


async def _open_segment(
    readers: list[_CopyReader], segment: Segment, on_damage: DamageReport
) -> memoryview:
    """The segment from the first copy that has it; that copy is asked first from then on."""
    unavailable: Unavailable | None = None
    for reader in list(readers):
        try:
            return await reader.open(segment)
        except (Damaged, NotFound):
            if not reader.damaged:
                reader.damaged = True
                await on_damage(reader.copy.label)
        except Unavailable as error:
            unavailable = error
        readers.remove(reader)
        readers.append(reader)
    if unavailable is not None:
        raise unavailable
    raise Damaged("No copy of this content is good; the operator has been told.")


@dataclass(slots=True)
class _CopyReader:
    """Opens segments of one copy; reads on from where it is if the next segment follows.

    Attributes:
        copy: The copy.
        data_key: Of the content.
        bound_to: The content's associated data.
        until: Offset in the sealed content after the last byte that will be wanted.
        damaged: Whether a segment was missing or not authentic.
    """

    copy: Copy
    data_key: bytes
    bound_to: bytes
    until: int
    damaged: bool = False
    _opener: Opener | None = None
    _stream: AsyncIterator[bytes] | None = None
    _position: int = 0
    _rest: memoryview = field(default_factory=lambda: memoryview(b""))

    async def open(self, segment: Segment) -> memoryview:
        """The segment's plaintext.

        Raises:
            Damaged: The copy is too short, or the segment is not authentic.
            NotFound: The copy is gone.
            Unavailable: Its store does not answer.
        """
        try:
            if self._opener is None:
                until = self.until if segment.index == 0 else HEADER_SIZE
                header = await self._read(0, HEADER_SIZE, until)
                self._opener = Opener(self.data_key, self.bound_to, header)
            sealed = await self._read(segment.sealed_start, segment.sealed_end, self.until)
            plaintext = memoryview(bytearray(len(sealed) - TAG_SIZE))
            self._opener.open_segment(segment.index, sealed, plaintext, last=segment.last)
        except StrongroomError:
            # A copy that failed here may be good further on, read afresh.
            self._opener = None
            await self.close()
            raise
        return plaintext

    async def close(self) -> None:
        stream, self._stream, self._rest = self._stream, None, memoryview(b"")
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()

    async def _read(self, start: int, end: int, until: int) -> memoryview:
        if self._stream is None or self._position != start:
            await self.close()
            self._stream = self.copy.store.get(self.copy.name, start=start, end=until)
        size = end - start
        gathered = self._rest
        while len(gathered) < size:
            try:
                piece = await anext(self._stream)
            except StopAsyncIteration:
                raise Damaged("The copy is shorter than what was sealed.") from None
            gathered = memoryview(b"".join((gathered, piece)) if gathered else piece)
        self._rest = gathered[size:]
        self._position = end
        return gathered[:size]
