"""One host at a time uses a data folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.adapters.embedded.folders import TEMPORARY_PREFIX, ExposedError, check_folder
from standalone.errors import StartError


@contextmanager
def exclusive_data_folder(folder: Path) -> Iterator[None]:
    """Make the folder, for this user alone, and lock it; the lock ends with the process.

    What a host that died was writing there is removed.

    Raises:
        StartError: Another host holds it, it cannot be made or written, or others can write there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        check_folder(folder)
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except ExposedError as error:
        raise StartError(str(error)) from None
    except OSError as error:
        raise StartError(f"The data folder {folder} cannot be used: {error.strerror}.") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(
                f"Another host uses the data folder {folder}: stop it, or choose another folder."
            ) from None
        for leftover in folder.glob(TEMPORARY_PREFIX + "*"):
            leftover.unlink(missing_ok=True)
        yield
    finally:
        os.close(lock)
