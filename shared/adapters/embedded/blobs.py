"""FileBlobs: objects as files, each visible only when it is complete and durable.

An object ``a/b`` is the file ``a/b=`` under the root. The mark keeps objects and folders apart, so
that ``a`` and ``a/b`` can both exist; no name can contain it. New content goes to ``.incoming``
first. Every path is walked segment by segment without following symbolic links.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import threading
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

from shared.adapters.checks import check_blob_name, check_blob_prefix, check_range
from shared.adapters.embedded.drafts import PIECE, Draft, remove_unless_in_use
from shared.adapters.embedded.folders import make_private_folder
from shared.adapters.embedded.grants import UploadGrants
from shared.adapters.embedded.moments import from_microseconds, to_microseconds
from shared.adapters.embedded.threads import on_disk
from shared.base.buffers import Buffer
from shared.base.errors import Conflict, Damaged, Forbidden, NotFound
from shared.ports.blobs import BlobInfo, BlobStore, UploadGrant
from shared.ports.clock import Clock

_MARK: Final = "="
_INCOMING: Final = ".incoming"
_SEGMENT: Final = re.compile(r"[a-z0-9_-][a-z0-9._-]*")
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_LISTED_AT_ONCE: Final = 256
_MAX_REMEMBERED_FOLDERS: Final = 10_000


class FileBlobs:
    """A ``BlobStore`` in the folder ``root``, which is made when first used.

    Folders get mode 0700, files 0600. Folders are kept when their last object goes.

    Args:
        root: The folder; its owner alone should be able to reach it.
        clock: Dates the objects.
        grants: Signs upload URLs; None: the store takes no uploads from clients.
    """

    def __init__(self, root: Path, clock: Clock, grants: UploadGrants | None = None) -> None:
        self._root = root
        self._clock = clock
        self._grants = grants
        self._lock = threading.Lock()
        self._prepared = False
        self._durable_folders: set[str] = set()

    async def put(self, name: str, content: AsyncIterator[Buffer]) -> int:
        """See ``BlobStore.put``."""
        check_blob_name(name)
        draft = Draft(self._root / _INCOMING)
        try:
            async for chunk in content:
                if draft.takes(chunk):
                    await on_disk(self._write, draft, chunk)
            return await on_disk(self._publish, draft, name)
        finally:
            if draft.descriptor is not None:
                await on_disk(draft.discard)

    async def get(
        self, name: str, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """See ``BlobStore.get``.

        Raises:
            Damaged: The disk cannot read a part of it any more.
        """
        check_blob_name(name)
        check_range(start, end)
        with contextlib.ExitStack() as opened:
            descriptor, piece = await on_disk(self._open, opened, name, start, end)
            while piece:
                yield piece
                if len(piece) < PIECE:
                    return  # a file gives less than was asked for only at its end
                start += len(piece)
                piece = await on_disk(_read, descriptor, start, end)

    async def head(self, name: str) -> BlobInfo:
        """See ``BlobStore.head``."""
        check_blob_name(name)
        return await on_disk(self._head, name)

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
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

    @contextlib.contextmanager
    def locked(self, name: str, *, alone: bool) -> Iterator[int]:
        """An open object that none of those who lock it deletes meanwhile, in whatever process.

        Blocks: for adapters that build on this one, beside the event loop.

        Args:
            name: The object.
            alone: Lock out all others, and open it for writing too; otherwise to share the lock.

        Raises:
            NotFound: There is no such object.
        """
        *segments, last = name.split("/")
        with contextlib.ExitStack() as opened:
            try:
                folder = opened.enter_context(self._folder(segments))
                flags = (os.O_RDWR if alone else os.O_RDONLY) | os.O_NOFOLLOW
                descriptor = os.open(last + _MARK, flags, dir_fd=folder)
                opened.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
                present = os.stat(last + _MARK, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                raise NotFound("There is no such object.") from None
            if not os.path.samestat(present, os.fstat(descriptor)):
                raise NotFound("There is no such object.")  # deleted before the lock was ours
            yield descriptor

    def remove(self, name: str) -> None:
        """``delete``, for whoever is beside the event loop already."""
        *segments, last = name.split("/")
        with contextlib.suppress(FileNotFoundError), self._folder(segments) as folder:
            os.unlink(last + _MARK, dir_fd=folder)
            os.fsync(folder)

    def _prepare(self) -> None:
        """Make the folders, and remove what writers that died have left behind."""
        with self._lock:
            if self._prepared:
                return
            incoming = self._root / _INCOMING
            make_private_folder(incoming)
            for leftover in incoming.iterdir():
                remove_unless_in_use(leftover)
            self._prepared = True

    def _write(self, draft: Draft, chunk: Buffer) -> None:
        self._prepare()
        draft.write(chunk)

    def _publish(self, draft: Draft, name: str) -> int:
        """Make the draft durable, then visible, then its visibility durable."""
        self._prepare()
        size = draft.finish(to_microseconds(self._clock.now()))
        *segments, last = name.split("/")
        with self._folder(segments, make=True) as folder:
            try:
                os.link(draft.path, last + _MARK, dst_dir_fd=folder, follow_symlinks=False)
            except FileExistsError:
                raise Conflict("An object of this name exists.") from None
            draft.discard()
            os.fsync(folder)
        return size

    def _open(
        self, opened: contextlib.ExitStack, name: str, start: int, end: int | None
    ) -> tuple[int, bytes]:
        """Open an object until ``opened`` closes; its descriptor and first piece."""
        *segments, last = name.split("/")
        try:
            with self._folder(segments) as folder:
                flags = os.O_RDONLY | os.O_NOFOLLOW
                descriptor = os.open(last + _MARK, flags, dir_fd=folder)
        except FileNotFoundError:
            raise NotFound("There is no such object.") from None
        opened.callback(os.close, descriptor)
        return descriptor, _read(descriptor, start, end)

    def _head(self, name: str) -> BlobInfo:
        *segments, last = name.split("/")
        try:
            with self._folder(segments) as folder:
                status = os.stat(last + _MARK, dir_fd=folder, follow_symlinks=False)
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
        with contextlib.suppress(FileNotFoundError), self._folder(segments) as folder:
            for key in _entries(folder):
                name = base + key
                if not key.endswith("/"):
                    if name.startswith(prefix):
                        # An object that was deleted since is left out.
                        with contextlib.suppress(FileNotFoundError):
                            status = os.stat(key + _MARK, dir_fd=folder, follow_symlinks=False)
                            yield _info(name, status)
                elif name.startswith(prefix) or prefix.startswith(name):
                    yield from self._walk([*segments, key[:-1]], prefix)

    @contextlib.contextmanager
    def _folder(self, segments: Sequence[str], *, make: bool = False) -> Iterator[int]:
        """A descriptor of the folder of an object, which is made on the way if asked for."""
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            path = ""
            for segment in segments:
                path += segment + "/"
                child = self._enter(descriptor, segment, path, make=make)
                os.close(descriptor)
                descriptor = child
            yield descriptor
        finally:
            os.close(descriptor)

    def _enter(self, parent: int, segment: str, path: str, *, make: bool) -> int:
        """Open a folder in its parent; with ``make``, it exists and is durable there.

        That a folder exists says nothing of its durability: whoever made it may have died before
        the parent was written, or be about to write it. So each process makes sure once itself.
        """
        if not make:
            return os.open(segment, _FOLDER_FLAGS, dir_fd=parent)
        durable = path in self._durable_folders
        try:
            descriptor = os.open(segment, _FOLDER_FLAGS, dir_fd=parent)
        except FileNotFoundError:
            durable = False
            with contextlib.suppress(FileExistsError):
                os.mkdir(segment, 0o700, dir_fd=parent)
            descriptor = os.open(segment, _FOLDER_FLAGS, dir_fd=parent)
        if not durable:
            try:
                os.fsync(parent)
            except OSError:
                os.close(descriptor)
                raise
            if len(self._durable_folders) >= _MAX_REMEMBERED_FOLDERS:
                self._durable_folders.clear()
            self._durable_folders.add(path)
        return descriptor


def _read(descriptor: int, start: int, end: int | None) -> bytes:
    """The next piece of a range, empty at its end or the object's.

    Raises:
        Damaged: The disk cannot read its own sectors any more. Trying again would not help, but
            another copy does.
    """
    size = PIECE if end is None else min(PIECE, end - start)
    try:
        return os.pread(descriptor, size, start)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise Damaged("The disk cannot read a part of the object; read another copy.") from error


def _entries(folder: int) -> Sequence[str]:
    """Objects by their names and folders by their names with a slash, sorted; nothing else."""
    keys = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name.removesuffix(_MARK)
            if _SEGMENT.fullmatch(name) is None:
                continue
            if entry.name.endswith(_MARK) and entry.is_file(follow_symlinks=False):
                keys.append(name)
            elif name == entry.name and entry.is_dir(follow_symlinks=False):
                keys.append(name + "/")
    return sorted(keys)


def _info(name: str, status: os.stat_result) -> BlobInfo:
    return BlobInfo(name, status.st_size, from_microseconds(status.st_mtime_ns // 1000))
