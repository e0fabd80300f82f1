"""Private folders and small private files that survive a power failure."""

from __future__ import annotations

import os
import shlex
import stat
import uuid
from pathlib import Path
from typing import Final

TEMPORARY_PREFIX: Final = ".new-"
"""Files that begin so were being written; where no writer lives, they are leftovers."""


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
    """Others can read a secret file, or change what is ours; the text says which command mends it."""


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
    """The content of a secret file, unless others can read it or may have written it.

    Raises:
        ExposedError: They can.
        OSError: As the operating system says.
    """
    with path.open("rb") as file:
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
