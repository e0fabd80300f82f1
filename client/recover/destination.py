"""The folder that documents are recovered into.

Files that are being written lie in ``.strongroom/partial`` and get their name only once they were
verified. ``.strongroom/recovered.jsonl`` has a line for every file that was finished, written before the
file gets its name: the next run knows by it what is there, and people find in it what the service knew of
the document.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final

from client.errors import CommandError, ExitCode
from client.recover.format import KeyFile

STATE_FOLDER: Final = ".strongroom"
PARTIAL_FOLDER: Final = "partial"
RECORDS_FILE: Final = "recovered.jsonl"
LOCK_FILE: Final = "lock"


class Presence(Enum):
    """What lies under the name of a file."""

    NOTHING = auto()
    FINISHED = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Record:
    """A finished file.

    Attributes:
        key_file: Of which version; the name of its key file.
        path: The file's name.
        size: Bytes.
        sha256: Hexadecimal.
        modified: The file's time of modification, in nanoseconds, as it was then.
    """

    key_file: str
    path: str
    size: int
    sha256: str
    modified: int


class Destination:
    """The folder; ``open_destination`` makes it.

    Args:
        folder: Where it is.

    Attributes:
        records: Of finished files, by key file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._records_file = folder / STATE_FOLDER / RECORDS_FILE
        written = _read(self._records_file)
        self.records = _parse_records(written)
        # A line that a crash cut short is ended, so that the next one is not lost with it.
        self._before_next = "" if not written or written.endswith(b"\n") else "\n"

    @property
    def known_names(self) -> dict[str, str]:
        """The names of finished files, by key file."""
        return {each.key_file: each.path for each in self.records.values()}

    def path(self, name: str) -> Path:
        """Where a file has its place."""
        return self.folder / name

    def partial(self, key: KeyFile) -> Path:
        """Where a version is written to until it was verified."""
        name = f"{key.document}-{key.version}-{key.tag}"
        return self.folder / STATE_FOLDER / PARTIAL_FOLDER / name

    def presence(self, key: KeyFile, name: str) -> Presence:
        """What lies under the name of a version's file; what is not known is read.

        Raises:
            OSError: It cannot be told.
        """
        try:
            status = self.path(name).lstat()
        except FileNotFoundError:
            return Presence.NOTHING
        if not stat.S_ISREG(status.st_mode) or status.st_size != key.size:
            return Presence.OTHER
        record = self.records.get(key.object_name)
        if record is not None and (record.path, record.sha256, record.modified) == (
            name,
            key.sha256,
            status.st_mtime_ns,
        ):
            return Presence.FINISHED
        with self.path(name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Presence.FINISHED if digest == key.sha256 else Presence.OTHER

    def finish(self, key: KeyFile, name: str) -> None:
        """Give a verified partial file its name, in place of what has it.

        Raises:
            OSError: The folder cannot be written.
        """
        partial = self.partial(key)
        modified = partial.stat().st_mtime_ns
        record = Record(key.object_name, name, key.size, key.sha256, modified)
        self._append(key, record)
        partial.replace(self.path(name))
        self.records[key.object_name] = record

    def _append(self, key: KeyFile, record: Record) -> None:
        line = json.dumps(
            {
                "document": key.document,
                "version": key.version,
                "tag": key.tag,
                "path": record.path,
                "size": record.size,
                "sha256": record.sha256,
                "modified": record.modified,
                "name": key.name,
                "media_type": key.media_type,
                "metadata": key.metadata,
                "created_at": key.created_at.isoformat(),
            }
        )
        descriptor = os.open(self._records_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with open(descriptor, "ab") as file:
            file.write(f"{self._before_next}{line}\n".encode())
        self._before_next = ""


@contextmanager
def open_destination(folder: Path) -> Iterator[Destination]:
    """Make the folder, for this user alone, and lock it; the lock ends with the process.

    Raises:
        CommandError: Another command is using it, or it cannot be made or written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for each in (folder, folder / STATE_FOLDER, folder / STATE_FOLDER / PARTIAL_FOLDER):
            each.mkdir(exist_ok=True, mode=0o700)
        lock = os.open(
            folder / STATE_FOLDER / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
    except OSError as error:
        raise CommandError(f"{folder} cannot be used: {error.strerror}.", ExitCode.USAGE) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"Another command is recovering into {folder}.", ExitCode.USAGE
            ) from None
        except OSError:
            pass  # a file system without locks
        yield Destination(folder)
    finally:
        os.close(lock)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _parse_records(text: bytes) -> dict[str, Record]:
    """The records; of two with the same path the later one holds, and what is no record is skipped."""
    by_path: dict[str, Record] = {}
    for line in text.splitlines():
        try:
            raw = json.loads(line)
            key_file = f"keys/{raw['document']}/{raw['version']}.{raw['tag']}.age"
            record = Record(key_file, raw["path"], raw["size"], raw["sha256"], raw["modified"])
        except (ValueError, KeyError, TypeError):
            continue
        if Path(record.path).name == record.path:
            by_path.pop(record.path, None)
            by_path[record.path] = record
    return {each.key_file: each for each in by_path.values()}
