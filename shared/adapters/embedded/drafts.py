"""Drafts: new content on its way to becoming an object."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from shared.adapters.embedded.folders import IrregularFile, open_regular
from shared.adapters.embedded.pieces import PIECE
from shared.base.buffers import Buffer
from shared.base.errors import Conflict

HINT_BYTES: Final = 8 << 20
"""The disk begins with a large object whenever so much more of it was written."""


class Draft:
    """New content in ``.incoming``, in a file that stays locked while its writer lives.

    Small pieces are gathered, so that a small object costs one hop to a thread. Large ones that lie at the
    begin of a page in memory go to the disk from there, past the system's cache: to copy them takes longer
    than the disk, and what waits in the cache has to be waited for in the end.

    Args:
        incoming: The folder.
        erased: Overwrite what does not become an object.
    """

    def __init__(self, incoming: Path, *, erased: bool = False) -> None:
        self.path = f"{incoming}/{os.urandom(16).hex()}"
        self._erased = erased
        self.descriptor: int | None = None
        self._gathered = bytearray()
        self._hinted = 0
        self._direct = True
        self.size = 0

    def takes(self, chunk: Buffer) -> bool:
        """Gather the chunk; or tell that it must be written, after what was gathered."""
        if len(self._gathered) + len(chunk) >= PIECE:
            return True
        self._gathered += chunk
        return False

    def write(self, chunk: Buffer) -> None:
        """Write what was gathered, and then the chunk."""
        for part in (self._gathered, chunk):
            with memoryview(part) as view:
                written = 0
                while written < len(view):
                    count = self._write_some(view[written:])
                    written += count
                    self.size += count
        self._gathered.clear()
        if self.size - self._hinted >= HINT_BYTES:
            self.start_writing()

    def start_writing(self) -> None:
        """Have the disk begin with what was written, where the system takes the hint.

        Of many files that are synced one after the other, and of a large one, most then is on the disk
        already when it is synced.
        """
        if hasattr(os, "posix_fadvise"):
            # What the disk has begun with before stays in memory for those who read it soon.
            length = self.size - self._hinted
            os.posix_fadvise(self._open(), self._hinted, length, os.POSIX_FADV_DONTNEED)
            self._hinted = self.size

    def date(self, modified_at: int) -> None:
        """Say when the object became visible, microseconds since 1970."""
        os.utime(self._open(), ns=(modified_at * 1000, modified_at * 1000))

    def link(self, folder: int, file: str) -> None:
        """Give it its name as an object.

        Args:
            folder: A descriptor of the object's folder.
            file: Its name in there.

        Raises:
            Conflict: An object has it.
            OSError: As the operating system says.
        """
        try:
            os.link(self.path, file, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            raise Conflict("An object of this name exists.") from None
        self.discard()

    def sync(self) -> None:
        """Make what was written durable."""
        os.fsync(self._open())

    def discard(self) -> None:
        """Remove the name in ``.incoming``, and with it what was not linked elsewhere."""
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is None:
            return
        try:
            if self._erased and os.fstat(descriptor).st_nlink == 1:
                _overwrite(descriptor)
            with suppress(FileNotFoundError):
                os.unlink(self.path)
        finally:
            os.close(descriptor)

    def abandon(self) -> None:
        """Leave it to a thread that hangs in it; what the process leaves behind, the next one removes."""
        self.descriptor = None

    def _write_some(self, view: memoryview) -> int:
        """Write as much as one call takes; return how much."""
        descriptor = self._open()
        pieces = len(view) - len(view) % PIECE
        if self._direct and pieces and self.size % PIECE == 0:
            written = _write_direct(descriptor, view[:pieces])
            if written:
                return written
            self._direct = False
        return os.write(descriptor, view)

    def _open(self) -> int:
        while self.descriptor is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            self.descriptor = os.open(self.path, flags, 0o600)
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)
            # Another process that looks for leftovers may have come before the lock, and removed it.
            if not os.fstat(self.descriptor).st_nlink:
                os.close(self.descriptor)
                self.descriptor = None
        return self.descriptor


def _write_direct(descriptor: int, pieces: memoryview) -> int:
    """Write past the system's cache; return how much, 0 where file system or memory do not allow it.

    What may be written so begins and ends with a block, in the file and in memory: ``O_DIRECT`` in open(2).
    """
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | getattr(os, "O_DIRECT", 0))
        return os.write(descriptor, pieces)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return 0
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)


def erase(path: Path) -> None:
    """Overwrite a file where it lies on the disk, then remove it.

    Raises:
        OSError: As the operating system says.
    """
    try:
        descriptor = open_regular(path, os.O_WRONLY)
    except FileNotFoundError:
        return
    except IrregularFile:
        path.unlink(missing_ok=True)  # it holds nothing that could be overwritten
        return
    try:
        _overwrite(descriptor)
    finally:
        os.close(descriptor)
    path.unlink(missing_ok=True)


def remove_unless_in_use(path: Path, *, erased: bool = False) -> None:
    """Remove a draft whose writer has died: nobody holds the lock on it any more.

    Args:
        path: The draft.
        erased: Overwrite it, unless it became an object.

    Raises:
        OSError: As the operating system says.
    """
    try:
        descriptor = open_regular(path, os.O_RDWR if erased else os.O_RDONLY)
    except FileNotFoundError:
        return
    except IrregularFile:
        path.unlink(missing_ok=True)
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        if not _is_at(path, descriptor):
            return  # its writer has made an object of it meanwhile, and given up the lock
        if erased and os.fstat(descriptor).st_nlink == 1:
            _overwrite(descriptor)
        path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    return False


def _overwrite(descriptor: int) -> None:
    """Zeros instead of a file's content, on the disk when this returns."""
    left = os.fstat(descriptor).st_size
    os.lseek(descriptor, 0, os.SEEK_SET)
    while left > 0:
        left -= os.write(descriptor, bytes(min(left, PIECE)))
    os.fsync(descriptor)
