"""The mirror of an embedded key vault beside the backups, which are worth nothing without its keys.

It is no part of any set: a destroyed key leaves the mirror with the next update. Its files are sealed
under the root as the vault's own are, so it opens nothing without the root key file or the passphrase,
which belong elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.adapters.embedded.folders import (
    TEMPORARY_PREFIX,
    make_private_folder,
    read_regular,
    sync_folder,
    write_private_file,
)
from shared.adapters.embedded.threads import on_disk


@dataclass(frozen=True, slots=True)
class KeyVaultMirror:
    """Keeps a copy of the key vault's files.

    Attributes:
        vault: The folder of the key vault.
        mirror: The folder of the copy.
    """

    vault: Path
    mirror: Path

    async def update(self) -> None:
        """Bring the copy up to date, durably.

        Raises:
            Unavailable: A folder cannot be read or written.
        """
        await on_disk(_copy, self.vault, self.mirror)

    def recover(self) -> bool:
        """Put the copy in the place of a key vault that is gone; whether there was one to put there.

        Raises:
            OSError: A folder cannot be read or written.
        """
        if self.vault.exists() or not (self.mirror / "vault.json").exists():
            return False
        # Under its own name only once it is whole: an interrupted attempt begins anew.
        new = self.vault.with_name(TEMPORARY_PREFIX + self.vault.name)
        _copy(self.mirror, new)
        new.rename(self.vault)
        sync_folder(self.vault.parent)
        return True


def _copy(source: Path, destination: Path) -> None:
    wanted = {path.relative_to(source): path for path in _files(source)}
    for name in [path.relative_to(destination) for path in _files(destination)]:
        if name not in wanted:
            (destination / name).unlink()
            sync_folder((destination / name).parent)
    for name, path in sorted(wanted.items()):
        content, copy = read_regular(path), destination / name
        if not copy.exists() or read_regular(copy) != content:
            make_private_folder(copy.parent)
            write_private_file(copy, content)


def _files(folder: Path) -> list[Path]:
    """The files of a key vault; none that are being written."""
    return [
        path
        for path in folder.rglob("*.json")
        if path.is_file() and not path.name.startswith(TEMPORARY_PREFIX)
    ]
