"""Private folders and small private files that survive a power failure."""

from __future__ import annotations

import errno
import os
import shlex
import stat
import uuid
from pathlib import Path
from typing import BinaryIO, Final

from shared.base.errors import Unavailable

TEMPORARY_PREFIX: Final = ".new-"
"""Files that begin so were being written; where no writer lives, they are leftovers."""


LEAST_ROOM: Final = 67_108_864
"""Bytes: what the databases need to go on, and a few documents."""

_IRREGULAR: Final = frozenset({errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EISDIR})
"""What opening a link, a socket, a device without a driver, or a folder fails with."""


class IrregularFile(OSError):
    """What has the name of a file is a link, a pipe, a socket, a device or a folder."""


def open_regular(path: str | Path, flags: int, *, folder: int | None = None) -> int:
    """Open what should be a regular file: a link is not followed, and a pipe is not waited for.

    Args:
        path: Of the file.
        flags: As for ``os.open``.
        folder: A descriptor of the folder that the path begins in; None: the current one.

    Raises:
        IrregularFile: What is there is no regular file.
        OSError: As the operating system says.
    """
    # None of them changes anything for a regular file.
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    try:
        descriptor = os.open(path, flags, dir_fd=folder)
    except OSError as error:
        if error.errno in _IRREGULAR:
            raise IrregularFile(error.errno, "not a regular file") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IrregularFile(errno.EINVAL, "not a regular file")
    return descriptor


def read_regular(path: Path) -> bytes:
    """Read a small file, or a link to one; a pipe is not waited for.

    Raises:
        FileNotFoundError: There is no such file.
        IrregularFile: What is there is no regular file.
        OSError: As the operating system says.
    """
    with _opened(path) as file:
        return file.read()


def _opened(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IrregularFile(errno.EINVAL, "not a regular file")
    return open(descriptor, "rb")


def sync_folder(path: Path) -> None:
    """Make the folder's entries durable: POSIX promises that of no file's own fsync.

    Raises:
        OSError: As the operating system says.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private_folder(path: Path) -> None:
    """Make the folder and the parents it lacks, mode 0700, each of them durable in its parent.

    Raises:
        OSError: As the operating system says.
    """
    if path.is_dir():
        return
    make_private_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_folder(path.parent)


class ExposedError(Exception):
    """Others can read a secret file, or change what is ours; the text says which command ends that."""


def check_folder(path: Path) -> None:
    """Refuse a folder in which others could put or replace something.

    Raises:
        ExposedError: They can.
        OSError: As the operating system says.
    """
    status = path.stat()
    _check_owner(path, status)
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ExposedError(
            f"Other users can write to the folder {path} (mode {stat.S_IMODE(status.st_mode):04o})."
            f" Run: chmod 700 {shlex.quote(str(path))}"
        )


def read_private_file(path: Path) -> bytes:
    """``read_regular`` for a secret file: not if others can read it or may have written it.

    Raises:
        ExposedError: They can.
        IrregularFile: What is there is no regular file.
        OSError: As the operating system says.
    """
    with _opened(path) as file:
        status = os.fstat(file.fileno())
        _check_owner(path, status)
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise ExposedError(
                f"Other users have access to the file {path}"
                f" (mode {stat.S_IMODE(status.st_mode):04o}). Whoever knows what it holds can use it:"
                f" replace it if they may have read it. Then run: chmod 600 {shlex.quote(str(path))}"
            )
        return file.read()


def _check_owner(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in {os.geteuid(), 0}:
        raise ExposedError(
            f"{path} belongs to another user (uid {status.st_uid}), who can change it."
            f" Run, if you trust what it holds: chown {os.geteuid()} {shlex.quote(str(path))}"
        )


def write_private_file(path: Path, content: bytes, *, new: bool = False) -> None:
    """Put the content, durable, in place of the file, mode 0600: a reader sees the old or the new.

    Args:
        path: The file.
        content: All of it.
        new: Whether a file that is there stays as it is.

    Raises:
        FileExistsError: There is one, and it was to be new.
        OSError: As the operating system says.
    """
    temporary = path.with_name(TEMPORARY_PREFIX + uuid.uuid4().hex)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        if new:
            os.link(temporary, path)
            temporary.unlink()
        else:
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def check_room(path: Path) -> None:
    """Make sure that the disk of a folder, or of the nearest parent that exists, takes new files.

    Raises:
        Unavailable: It is nearly full, or cannot be written.
        OSError: As the operating system says.
    """
    while not path.exists() and path != path.parent:
        path = path.parent
    disk = os.statvfs(path)
    if disk.f_flag & os.ST_RDONLY:
        raise Unavailable("A disk of the data can only be read; mount it for writing.")
    # Some file systems have no fixed number of files, and say 0 of 0.
    if disk.f_bavail * disk.f_frsize < LEAST_ROOM or (disk.f_files and not disk.f_favail):
        raise Unavailable(
            "A disk of the data is full; make room, or move the data to a larger one."
        )
