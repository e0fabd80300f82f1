"""Private folders and small private files that survive a power failure."""

from __future__ import annotations

import os
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
