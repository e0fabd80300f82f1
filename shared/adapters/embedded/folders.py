"""Private folders that survive a power failure."""

from __future__ import annotations

import os
from pathlib import Path


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
