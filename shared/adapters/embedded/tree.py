"""Objects as files: where each lies, found without following a symbolic link.

An object ``a/b`` is the file ``a/b=`` under the root. The mark keeps objects and folders apart, so
that ``a`` and ``a/b`` can both exist; no name can contain it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from shared.adapters.embedded.folders import open_regular
from shared.base.errors import NotFound

_MARK: Final = "="
_SEGMENT: Final = re.compile(r"[a-z0-9_-][a-z0-9._-]*")
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_MAX_REMEMBERED_FOLDERS: Final = 10_000


class ObjectTree:
    """The folders and files below ``root``. Every path is walked segment by segment.

    All methods block: where they wait for a disk, they are for threads beside the event loop.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._durable_folders: set[str] = set()

    @contextlib.contextmanager
    def folder(self, segments: Sequence[str], *, make: bool = False) -> Iterator[int]:
        """A descriptor of a folder, which is made on the way if asked for.

        Raises:
            FileNotFoundError: There is no such folder.
        """
        descriptor = self.open_folder(segments, make=make)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def open_folder(self, segments: Sequence[str], *, make: bool = False) -> int:
        """As ``folder``; the caller closes the descriptor."""
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        path = ""
        try:
            for segment in segments:
                path += segment + "/"
                child = self._enter(descriptor, segment, path, make=make)
                os.close(descriptor)
                descriptor = child
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def open_file(self, name: str, flags: int) -> int:
        """Open an object; the caller closes the descriptor.

        Raises:
            FileNotFoundError: There is no such object.
            IrregularFile: What has its name is no regular file.
        """
        *segments, last = name.split("/")
        folder = self.open_folder(segments)
        try:
            return open_regular(file_name(last), flags, folder=folder)
        finally:
            os.close(folder)

    @contextlib.contextmanager
    def located(self, name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """The folder of an object, as a descriptor, and the object's file name in it.

        Raises:
            FileNotFoundError: There is no such folder.
        """
        *segments, last = name.split("/")
        with self.folder(segments, make=make) as folder:
            yield folder, file_name(last)

    @contextlib.contextmanager
    def locked(self, name: str, *, alone: bool) -> Iterator[int]:
        """An open object that none of those who lock it deletes meanwhile, in whatever process.

        Args:
            name: The object.
            alone: Lock out all others, and open it for writing too; otherwise to share the lock.

        Raises:
            NotFound: There is no such object.
        """
        try:
            descriptor = self.open_file(name, os.O_RDWR if alone else os.O_RDONLY)
        except FileNotFoundError:
            raise NotFound("There is no such object.") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            if not self.is_named(name, descriptor):
                raise NotFound("There is no such object.")  # deleted before the lock was ours
            yield descriptor
        finally:
            os.close(descriptor)

    def is_named(self, name: str, descriptor: int) -> bool:
        """Whether the object of this name is the one that is open here."""
        with contextlib.suppress(FileNotFoundError), self.located(name) as (folder, file):
            present = os.stat(file, dir_fd=folder, follow_symlinks=False)
            return os.path.samestat(present, os.fstat(descriptor))
        return False

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


def file_name(key: str) -> str:
    """The name of an object's file, by the last segment of the object's name."""
    return key + _MARK


def entries(folder: int) -> Sequence[str]:
    """Objects by their names and folders by their names with a slash, sorted; nothing else."""
    keys = []
    with os.scandir(folder) as found:
        for entry in found:
            name = entry.name.removesuffix(_MARK)
            if _SEGMENT.fullmatch(name) is None:
                continue
            if entry.name.endswith(_MARK) and entry.is_file(follow_symlinks=False):
                keys.append(name)
            elif name == entry.name and entry.is_dir(follow_symlinks=False):
                keys.append(name + "/")
    return sorted(keys)
