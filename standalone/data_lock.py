"""One host at a time uses a data folder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from shared.adapters.embedded.folders import TEMPORARY_PREFIX, ExposedError, check_folder
from standalone.errors import StartError

BACKGROUND_SECONDS: Final = 10.0
"""How long to wait for the end of what a host that was killed had running in the background."""

LOOK_SECONDS: Final = 0.01


@contextmanager
def exclusive_data_folder(folder: Path) -> Iterator[int]:
    """Make the folder, for this user alone, and lock it; the lock ends with the process.

    What a host that died was writing there is removed.

    Yields:
        The descriptor of a second lock, to be inherited by the process that works in the background: while
        that lives, no other host begins, even where this one was killed.

    Raises:
        StartError: Another host holds it, it cannot be made or written, or others can write there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        check_folder(folder)
        locks = [
            os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            for name in (".lock", ".lock-background")
        ]
    except ExposedError as error:
        raise StartError(str(error)) from None
    except OSError as error:
        raise StartError(f"The data folder {folder} cannot be used: {error.strerror}.") from None
    host, background = locks
    try:
        # A living host is told at once; what a dead one has left behind is about to end.
        if not (_lock(host, 0.0) and _lock(background, BACKGROUND_SECONDS)):
            raise StartError(
                f"Another host uses the data folder {folder}: stop it, or choose another folder."
            )
        for leftover in folder.glob(TEMPORARY_PREFIX + "*"):
            leftover.unlink(missing_ok=True)
        yield background
    finally:
        for lock in locks:
            os.close(lock)


def _lock(file: int, seconds: float) -> bool:
    """Lock a file, within this time; whether it is locked."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOOK_SECONDS)
        else:
            return True
