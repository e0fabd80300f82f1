"""Which environment a data folder belongs to: a file in it says so, from its first use on."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from shared.adapters.embedded.folders import make_private_folder, read_regular, write_private_file
from shared.adapters.embedded.threads import on_disk

FILE_NAME: Final = "environment"


async def marked_environment(data: Path, environment: str) -> str:
    """The environment of the data folder; a new folder is marked with ``environment``."""
    return await on_disk(_mark_or_read, data, environment)


def _mark_or_read(data: Path, environment: str) -> str:
    make_private_folder(data)
    path = data / FILE_NAME
    if not path.exists():
        # Of two processes that come to a new folder at once, the first one's mark counts for both.
        with suppress(FileExistsError):
            write_private_file(path, environment.encode(), new=True)
    return read_regular(path).decode().strip()
