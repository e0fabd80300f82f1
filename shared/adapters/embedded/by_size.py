"""BlobsBySize: small objects as rows, larger ones as files."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from shared.adapters.checks import check_blob_name, check_blob_prefix, check_range
from shared.adapters.embedded.blobs import FileBlobs
from shared.adapters.embedded.grants import UploadGrants
from shared.adapters.embedded.pieces import SMALL
from shared.adapters.embedded.rows import TAKEN, RowBlobs
from shared.base.activity import Activity
from shared.base.buffers import Buffer
from shared.base.errors import Conflict, Damaged
from shared.ports.blobs import BlobInfo, BlobStore, UploadGrant
from shared.ports.clock import Clock

FILE_NAME: Final = ".small.db"
"""Of the SQLite file in the store's folder; no object's name begins so."""


class BlobsBySize:
    """A ``BlobStore`` in the folder ``root``, which is made by the first object.

    An object of up to 64 KB is a row, a larger one a file; those of earlier releases are files, whatever
    their sizes. If a process was killed, or a caller left, while it created a file whose name another was
    giving to a row, both may be there: then the row is the object.

    Args:
        root: The folder; its owner alone should be able to reach it.
        clock: Dates the objects.
        grants: Signs upload URLs; None: the store takes no uploads from clients.
        activity: See ``Database``.
    """

    def __init__(
        self,
        root: Path,
        clock: Clock,
        grants: UploadGrants | None = None,
        activity: Activity | None = None,
    ) -> None:
        self._files = FileBlobs(root, clock, grants)
        self._rows = RowBlobs(root / FILE_NAME, clock, self._files.has, activity)

    async def close(self) -> None:
        """Finish the work that waits and close the database."""
        await self._rows.close()

    async def remove_leftovers(self) -> None:
        """See ``FileBlobs.remove_leftovers``; nor does the write-ahead log keep what was removed."""
        await self._files.remove_leftovers()
        await self._rows.open()

    async def put(self, name: str, content: AsyncIterator[Buffer]) -> int:
        """See ``BlobStore.put``."""
        check_blob_name(name)
        gathered = bytearray()
        async for chunk in content:
            if len(gathered) + len(chunk) > SMALL:
                return await self._put_file(name, gathered, chunk, content)
            gathered += chunk
        await self._rows.create([(name, gathered)])
        return len(gathered)

    async def put_all(self, contents: Sequence[tuple[str, Buffer]]) -> None:
        """See ``BlobStore.put_all``."""
        small: list[tuple[str, Buffer]] = []
        large: list[tuple[str, Buffer]] = []
        for name, content in contents:
            check_blob_name(name)
            (small if len(content) <= SMALL else large).append((name, content))
        await self._rows.create(small)
        await self._files.put_all(large)
        taken = [name for name, _ in large if not await self._is_alone(name)]
        if taken:
            raise Conflict(TAKEN)

    async def get(
        self, name: str, *, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes]:
        """See ``BlobStore.get``.

        Raises:
            Damaged: The disk cannot read a part of it any more, or the database is no database any more.
        """
        check_blob_name(name)
        check_range(start, end)
        content = await self._get_row(name)
        if content is None:
            async with aclosing(self._files.get(name, start=start, end=end)) as pieces:
                async for piece in pieces:
                    yield piece
        elif wanted := content[start:end]:
            yield wanted

    async def get_all(self, wanted: Sequence[tuple[str, int]]) -> Sequence[bytes | None]:
        """See ``BlobStore.get_all``."""
        for name, size in wanted:
            check_blob_name(name)
            check_range(0, size)
        found = [await self._get_small(name, size) for name, size in wanted]
        others = [number for number, content in enumerate(found) if content is None]
        files = await self._files.get_all([wanted[number] for number in others])
        for number, content in zip(others, files, strict=True):
            found[number] = content
        return found

    async def head(self, name: str) -> BlobInfo:
        """See ``BlobStore.head``."""
        check_blob_name(name)
        return await self._rows.head(name) or await self._files.head(name)

    async def list(self, prefix: str = "") -> AsyncGenerator[BlobInfo]:
        """See ``BlobStore.list``. Holds the names of one folder and its parents at a time."""
        check_blob_prefix(prefix)
        async with (
            aclosing(self._rows.list(prefix)) as rows,
            aclosing(self._files.list(prefix)) as files,
        ):
            row, file = await anext(rows, None), await anext(files, None)
            while row or file:
                if row and file and row.name == file.name:
                    file = await anext(files, None)
                elif row and (not file or row.name < file.name):
                    yield row
                    row = await anext(rows, None)
                elif file:
                    yield file
                    file = await anext(files, None)

    async def delete(self, name: str) -> None:
        """See ``BlobStore.delete``."""
        check_blob_name(name)
        # A file beside a row is not the object, and must not become it.
        if self._files.has(name):
            await self._files.delete(name)
        await self._rows.delete(name)

    async def copy_from(self, source: BlobStore, source_name: str, name: str) -> int:
        """See ``BlobStore.copy_from``."""
        return await self.put(name, source.get(source_name))

    async def grant_upload(self, name: str, *, max_size: int, expires_at: datetime) -> UploadGrant:
        """See ``FileBlobs.grant_upload``."""
        return await self._files.grant_upload(name, max_size=max_size, expires_at=expires_at)

    async def _put_file(
        self, name: str, gathered: Buffer, chunk: Buffer, rest: AsyncIterator[Buffer]
    ) -> int:
        async def content() -> AsyncIterator[Buffer]:
            yield gathered
            yield chunk
            async for further in rest:
                yield further

        size = await self._files.put(name, content())
        if not await self._is_alone(name):
            raise Conflict(TAKEN)
        return size

    async def _is_alone(self, name: str) -> bool:
        """Whether no row has the name of a new file; if one has, or that cannot be said, the file goes.

        Whoever creates a row looks for a file while nobody else can write, and so does this for a row: of
        two that create the same name at once, one at least sees the other.
        """
        alone = False
        try:
            alone = not await self._rows.has(name)
        finally:
            if not alone:
                await self._files.delete(name)
        return alone

    async def _get_row(self, name: str) -> bytes | None:
        """All of a row; None: there is none, or none can be found and a file has the name."""
        try:
            return await self._rows.get(name)
        except Damaged:
            if not self._files.has(name):
                raise
            return None

    async def _get_small(self, name: str, size: int) -> bytes | None:
        with suppress(Damaged):
            content = await self._get_row(name)
            return None if content is None else content[:size]
        return None
