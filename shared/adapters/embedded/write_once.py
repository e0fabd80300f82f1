"""FileWriteOnce: objects as files that this program does not change or remove before a date.

An object is a file of ``FileBlobs`` that begins with its date, twice, and goes on with the content:

    retain until 2026-11-01T00:00:00Z
    retain until 2026-11-01T00:00:00Z

The later of the two dates counts. A later date replaces the earlier one in place, so that whatever
moment the process or the machine dies at, the date that counted before is still there.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from shared.adapters.checks import check_blob_name, check_range
from shared.adapters.embedded.blobs import FileBlobs
from shared.adapters.embedded.threads import on_disk
from shared.adapters.embedded.tree import ObjectTree
from shared.adapters.retention import first_retention_date, retained, retention_date
from shared.base.buffers import Buffer
from shared.base.errors import NotFound
from shared.ports.blobs import BlobInfo, BlobStore
from shared.ports.clock import Clock
from shared.ports.write_once import RetainedInfo

_LINE: Final = "retain until %Y-%m-%dT%H:%M:%SZ\n"
_LINE_BYTES: Final = len("retain until 2026-11-01T00:00:00Z\n")
_HEADER_BYTES: Final = 2 * _LINE_BYTES
_FOREVER: Final = datetime.max.replace(microsecond=0, tzinfo=UTC)
"""The date of an object whose own cannot be read any more: nothing says that it has passed."""

_DATED_AT_ONCE: Final = 256


class FileWriteOnce:
    """A ``WriteOnceStore`` in the folder ``root``, which is made when first used.

    It models what a storage service enforces: through this class no object is overwritten, and none is
    deleted or its date moved earlier before the date has come by the injected clock. It cannot do more:
    whoever may write to the folder, such as the user this program runs as, or root, can remove files,
    and who sets the clock decides what time it is. Copy the folder to other media to be safe from them.

    Args:
        root: The folder; its owner alone should be able to reach it.
        clock: Dates the objects, and says which dates have passed.
    """

    def __init__(self, root: Path, clock: Clock) -> None:
        self._blobs = FileBlobs(root, clock)
        self._tree = ObjectTree(root)
        self._clock = clock

    async def put(
        self, name: str, content: AsyncIterator[Buffer], *, retain_until: datetime
    ) -> int:
        """See ``WriteOnceStore.put``."""
        date = first_retention_date(retain_until, self._clock.now())

        async def dated() -> AsyncIterator[Buffer]:
            yield _line(date) * 2
            async for chunk in content:
                yield chunk

        return await self._blobs.put(name, dated()) - _HEADER_BYTES

    async def copy_from(
        self, source: BlobStore, source_name: str, name: str, *, retain_until: datetime
    ) -> int:
        """See ``WriteOnceStore.copy_from``."""
        return await self.put(name, source.get(source_name), retain_until=retain_until)

    async def remove_leftovers(self) -> None:
        """See ``FileBlobs.remove_leftovers``."""
        await self._blobs.remove_leftovers()

    def get(self, name: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """See ``WriteOnceStore.get``.

        Raises:
            Damaged: The disk cannot read a part of it any more.
        """
        check_range(start, end)
        return self._blobs.get(
            name, start=start + _HEADER_BYTES, end=None if end is None else end + _HEADER_BYTES
        )

    async def head(self, name: str) -> RetainedInfo:
        """See ``WriteOnceStore.head``."""
        return await on_disk(self._dated, await self._blobs.head(name))

    async def list(self, prefix: str = "") -> AsyncIterator[RetainedInfo]:
        """See ``WriteOnceStore.list``. Holds the names of one folder and its parents at a time."""
        found: list[BlobInfo] = []
        async for info in self._blobs.list(prefix):
            found.append(info)
            if len(found) == _DATED_AT_ONCE:
                for dated in await on_disk(self._all_dated, found):
                    yield dated
                found.clear()
        for dated in await on_disk(self._all_dated, found):
            yield dated

    async def extend(self, name: str, retain_until: datetime) -> None:
        """See ``WriteOnceStore.extend``."""
        check_blob_name(name)
        await on_disk(self._extend, name, retention_date(retain_until, self._clock.now()))

    async def delete(self, name: str) -> None:
        """See ``WriteOnceStore.delete``."""
        check_blob_name(name)
        await on_disk(self._delete, name)

    def _dated(self, info: BlobInfo) -> RetainedInfo:
        with self._tree.locked(info.name, alone=False) as descriptor:
            date = max(_dates(descriptor))
        size = max(0, info.size - _HEADER_BYTES)
        return RetainedInfo(info.name, size, info.modified_at, date)

    def _all_dated(self, found: Sequence[BlobInfo]) -> Sequence[RetainedInfo]:
        """The objects with their dates, without those that were deleted since."""
        dated = []
        for info in found:
            with suppress(NotFound):
                dated.append(self._dated(info))
        return dated

    def _extend(self, name: str, date: datetime) -> None:
        with self._tree.locked(name, alone=True) as descriptor:
            dates = _dates(descriptor)
            if date <= max(dates) or date <= self._clock.now():
                return
            earlier = dates.index(min(dates))
            os.pwrite(descriptor, _line(date), earlier * _LINE_BYTES)
            os.fsync(descriptor)
            # Now that it counts, the other one follows: either of them may become unreadable.
            os.pwrite(descriptor, _line(date), (1 - earlier) * _LINE_BYTES)

    def _delete(self, name: str) -> None:
        with suppress(NotFound), self._tree.locked(name, alone=True) as descriptor:
            date = max(_dates(descriptor))
            if date > self._clock.now():
                raise retained(date)
            self._blobs.remove(name)


def _line(date: datetime) -> bytes:
    return date.strftime(_LINE).encode()


def _dates(descriptor: int) -> tuple[datetime, datetime]:
    """The two dates of an object; for one that cannot be read, the other."""
    header = os.pread(descriptor, _HEADER_BYTES, 0)
    first, second = _date(header[:_LINE_BYTES]), _date(header[_LINE_BYTES:])
    return first or second or _FOREVER, second or first or _FOREVER


def _date(line: bytes) -> datetime | None:
    try:
        return datetime.strptime(line.decode(), _LINE).replace(tzinfo=UTC)
    except ValueError:
        return None
