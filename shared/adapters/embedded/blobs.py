"""FileBlobs: objects as files, each visible only when it is complete and durable.

``ObjectTree`` says where an object lies. New content goes to ``.incoming`` first. What is to be
overwritten before its file is removed waits for that in ``.erased``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import threading
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
from datetime import datetime
from itertools import groupby, islice
from pathlib import Path
from typing import Final

from shared.adapters.checks import check_blob_name, check_blob_prefix, check_range
from shared.adapters.embedded.drafts import Draft, erase, remove_unless_in_use
from shared.adapters.embedded.folders import (
    IrregularFile,
    make_private_folder,
    open_regular,
    sync_folder,
)
from shared.adapters.embedded.grants import UploadGrants
from shared.adapters.embedded.moments import from_microseconds, to_microseconds
from shared.adapters.embedded.pieces import READ_PIECE, SMALL, read_at
from shared.adapters.embedded.threads import DiskHangs, briefly, on_disk
from shared.adapters.embedded.tree import ObjectTree, entries, file_name
from shared.base.buffers import Buffer
from shared.base.errors import Damaged, Forbidden, NotFound
from shared.ports.blobs import BlobInfo, BlobStore, UploadGrant
from shared.ports.clock import Clock

_INCOMING: Final = ".incoming"
_ERASED: Final = ".erased"
_LISTED_AT_ONCE: Final = 256
_PUT_AT_ONCE: Final = 128
"""Files that one call has open."""

_GET_AT_ONCE: Final = 64
"""Files that one call reads, one after another."""


class FileBlobs:
    """A ``BlobStore`` in the folder ``root``, which is made when first used.

    Folders get mode 0700, files 0600. Folders are kept when their last object goes.

    Args:
        root: The folder; its owner alone should be able to reach it.
        clock: Dates the objects.
        grants: Signs upload URLs; None: the store takes no uploads from clients.
        forgets: Overwrite what is deleted, so that free space of the disk does not bring it back. It
            cannot reach the copies that a file system or a solid-state disk makes by itself.
    """

    def __init__(
        self,
        root: Path,
        clock: Clock,
        grants: UploadGrants | None = None,
        *,
        forgets: bool = False,
    ) -> None:
        self._root = root
        self._incoming = root / _INCOMING
        self._tree = ObjectTree(root)
        self._clock = clock
        self._grants = grants
        self._forgets = forgets
        self._lock = threading.Lock()
        self._prepared = False

    async def put(self, name: str, content: AsyncIterator[Buffer]) -> int:
        """See ``BlobStore.put``."""
        check_blob_name(name)
        draft = Draft(self._incoming, erased=self._forgets)
        try:
            async for chunk in content:
                if draft.takes(chunk):
                    await on_disk(self._write, draft, chunk)
            return await on_disk(self._publish, draft, name)
        except DiskHangs:
            draft.abandon()
            raise
        finally:
            if draft.descriptor is not None:
                await on_disk(draft.discard)

    async def put_all(self, contents: Sequence[tuple[str, Buffer]]) -> None:
        """See ``BlobStore.put_all``. All are written, then all made durable: the disk does that at once."""
        for name, _ in contents:
            check_blob_name(name)
        for start in range(0, len(contents), _PUT_AT_ONCE):
            await on_disk(self._put_some, contents[start : start + _PUT_AT_ONCE])

    async def get(
        self, name: str, *, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes]:
        """See ``BlobStore.get``.

        Raises:
            Damaged: The disk cannot read a part of it any more.
        """
        check_blob_name(name)
        check_range(start, end)
        with briefly:
            descriptor, size = self._open(name)
        end = size if end is None else min(size, end)
        try:
            if end - start <= SMALL:
                await asyncio.sleep(0)  # as ``Database.read``
                with briefly:
                    piece = self._read(name, descriptor, start, end)
            else:
                piece = await on_disk(self._read, name, descriptor, start, end)
            while piece:
                yield piece
                start += len(piece)
                if start >= end:
                    return
                piece = await on_disk(self._read, name, descriptor, start, end)
        finally:
            os.close(descriptor)

    async def get_all(self, wanted: Sequence[tuple[str, int]]) -> Sequence[bytes | None]:
        """See ``BlobStore.get_all``."""
        for name, size in wanted:
            check_blob_name(name)
            check_range(0, size)
        found: list[bytes | None] = []
        for start in range(0, len(wanted), _GET_AT_ONCE):
            found += await on_disk(self._get_some, wanted[start : start + _GET_AT_ONCE])
        return found

    async def head(self, name: str) -> BlobInfo:
        """See ``BlobStore.head``."""
        check_blob_name(name)
        with briefly:
            return self._head(name)

    async def list(self, prefix: str = "") -> AsyncGenerator[BlobInfo]:
        """See ``BlobStore.list``. Holds the names of one folder and its parents at a time."""
        check_blob_prefix(prefix)
        with contextlib.closing(self._walk(prefix.split("/")[:-1], prefix)) as walk:
            while found := await on_disk(tuple, islice(walk, _LISTED_AT_ONCE)):
                for info in found:
                    yield info

    async def delete(self, name: str) -> None:
        """See ``BlobStore.delete``."""
        check_blob_name(name)
        await on_disk(self.remove, name)

    async def copy_from(self, source: BlobStore, source_name: str, name: str) -> int:
        """See ``BlobStore.copy_from``."""
        return await self.put(name, source.get(source_name))

    async def grant_upload(self, name: str, *, max_size: int, expires_at: datetime) -> UploadGrant:
        """See ``BlobStore.grant_upload``.

        Raises:
            Forbidden: This store takes no uploads from clients.
        """
        if self._grants is None:
            raise Forbidden("This store takes no uploads from clients.")
        return self._grants.issue(name, max_size=max_size, expires_at=expires_at)

    def has(self, name: str) -> bool:
        """Whether anything has the name of an object; it does not wait."""
        return os.path.lexists(self._root / file_name(name))

    def remove(self, name: str) -> None:
        """``delete``, for whoever is beside the event loop already."""
        with contextlib.suppress(FileNotFoundError), self._tree.located(name) as (folder, file):
            if not self._forgets:
                os.unlink(file, dir_fd=folder)
                os.fsync(folder)
                return
            self._prepare()
            erased = self._root / _ERASED / uuid.uuid4().hex
            os.rename(file, erased, src_dir_fd=folder)
            # Once it has lost its name for good it is overwritten, if not now then at the next start.
            sync_folder(erased.parent)
            os.fsync(folder)
            erase(erased)

    async def remove_leftovers(self) -> None:
        """Remove what writers that died have left behind; no folder is made for that.

        Raises:
            Unavailable: The disk refused.
        """
        await on_disk(self._remove_leftovers)

    def _remove_leftovers(self) -> None:
        if self._incoming.exists():
            self._prepare()

    def _prepare(self) -> None:
        """Make the folders, and remove what writers that died have left behind."""
        with self._lock:
            if self._prepared:
                return
            make_private_folder(self._incoming)
            for leftover in self._incoming.iterdir():
                remove_unless_in_use(leftover, erased=self._forgets)
            if self._forgets:
                make_private_folder(self._root / _ERASED)
                for leftover in (self._root / _ERASED).iterdir():
                    erase(leftover)
            self._prepared = True

    def _write(self, draft: Draft, chunk: Buffer) -> None:
        self._prepare()
        draft.write(chunk)

    def _put_some(self, contents: Sequence[tuple[str, Buffer]]) -> None:
        drafts = [(name, Draft(self._incoming, erased=self._forgets)) for name, _ in contents]
        # Each is discarded, also where the disk refuses that of another.
        with contextlib.ExitStack() as opened:
            for (_, content), (_, draft) in zip(contents, drafts, strict=True):
                opened.callback(draft.discard)
                self._write(draft, content)
            self._publish_all(drafts)

    def _get_some(self, wanted: Sequence[tuple[str, int]]) -> Sequence[bytes | None]:
        found: list[bytes | None] = [None] * len(wanted)
        numbers = sorted(range(len(wanted)), key=lambda number: _folder_of(wanted[number]))
        for segments, same in groupby(numbers, key=lambda number: _folder_of(wanted[number])):
            with contextlib.suppress(FileNotFoundError), self._tree.folder(segments) as folder:
                for number in same:
                    with contextlib.suppress(FileNotFoundError, IrregularFile, Damaged):
                        found[number] = self._get_small(folder, *wanted[number])
        return found

    def _get_small(self, folder: int, name: str, size: int) -> bytes | None:
        file = file_name(name.rpartition("/")[2])
        descriptor = open_regular(file, os.O_RDONLY, folder=folder)
        try:
            read = read_at(descriptor, 0, size)
            # What was deleted since may be what it is overwritten with.
            return None if self._forgets and not self._tree.is_named(name, descriptor) else read
        finally:
            os.close(descriptor)

    def _publish(self, draft: Draft, name: str) -> int:
        self._write(draft, b"")
        self._publish_all([(name, draft)])
        return draft.size

    def _publish_all(self, drafts: Sequence[tuple[str, Draft]]) -> None:
        """Make drafts durable, then visible, then their visibility durable."""
        modified_at = to_microseconds(self._clock.now())
        # One after the other: a file system that writes the changes of many files to its journal with the
        # first of them that is synced would write anew for each that is changed in between.
        for _, draft in drafts:
            draft.date(modified_at)
        for _, draft in drafts:
            draft.start_writing()
        for _, draft in drafts:
            draft.sync()
        for folder_of, same in groupby(sorted(drafts, key=_folder_of), key=_folder_of):
            with self._tree.folder(folder_of, make=True) as folder:
                for name, draft in same:
                    draft.link(folder, file_name(name.rpartition("/")[2]))
                os.fsync(folder)

    def _open(self, name: str) -> tuple[int, int]:
        """Open an object: its descriptor and its size."""
        try:
            descriptor = self._tree.open_file(name, os.O_RDONLY)
        except (FileNotFoundError, IrregularFile):
            raise NotFound("There is no such object.") from None
        return descriptor, os.fstat(descriptor).st_size

    def _head(self, name: str) -> BlobInfo:
        try:
            with self._tree.located(name) as (folder, file):
                status = os.stat(file, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            raise NotFound("There is no such object.") from None
        if not stat.S_ISREG(status.st_mode):
            raise NotFound("There is no such object.")
        return _info(name, status)

    def _walk(self, segments: Sequence[str], prefix: str) -> Generator[BlobInfo]:
        """The objects below a folder that have names with ``prefix``, in the order of their names.

        A folder sorts as its name and a slash, which is how the names of its objects go on.
        """
        base = "".join(segment + "/" for segment in segments)
        with contextlib.suppress(FileNotFoundError), self._tree.folder(segments) as folder:
            for key in entries(folder):
                name = base + key
                if not key.endswith("/"):
                    if name.startswith(prefix):
                        # An object that was deleted since is left out.
                        with contextlib.suppress(FileNotFoundError):
                            status = os.stat(file_name(key), dir_fd=folder, follow_symlinks=False)
                            yield _info(name, status)
                elif name.startswith(prefix) or prefix.startswith(name):
                    yield from self._walk([*segments, key[:-1]], prefix)

    def _read(self, name: str, descriptor: int, start: int, end: int) -> bytes:
        """The next piece of a range of an open object; nothing where it starts behind its end.

        No more is asked for than is there: the memory for it would be taken first, and given back.

        Raises:
            NotFound: It was deleted meanwhile, and what was read may be what it is overwritten with.
        """
        piece = read_at(descriptor, start, max(0, min(READ_PIECE, end - start)))
        if self._forgets and not self._tree.is_named(name, descriptor):
            raise NotFound("There is no such object.")
        return piece


def _folder_of(named: tuple[str, object]) -> list[str]:
    return named[0].split("/")[:-1]


def _info(name: str, status: os.stat_result) -> BlobInfo:
    return BlobInfo(name, status.st_size, from_microseconds(status.st_mtime_ns // 1000))
