"""FolderTarget: a target in a folder that the operator gave, such as a mounted disk.

An object ``a/b`` is the file ``a/b``. Every path is walked segment by segment without following links,
because others may write to such a disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

from shared.adapters.checks import check_blob_name, check_blob_prefix, check_range
from shared.adapters.embedded.folders import IrregularFile, open_regular
from shared.adapters.embedded.threads import DiskHangs, on_disk
from shared.adapters.external.feeding import Feed
from shared.adapters.external.pacing import Pacer
from shared.adapters.external.probing import probe_objects
from shared.base.buffers import Buffer
from shared.base.errors import NotFound, Unavailable
from shared.ports.blobs import BlobInfo, is_blob_name
from shared.ports.clock import Runtime
from shared.ports.targets import ProbeResult

_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_DRAFT: Final = ".incoming-"
"""No object's name begins with a dot."""

_PIECE: Final = 1_048_576
_LISTED_AT_ONCE: Final = 256


class FolderTarget:
    """A ``TargetStore`` below ``root``, which must exist: an empty place may be a disk that is not mounted.

    Args:
        root: The operator's folder of targets.
        below: The names of the folders below it, down to where the objects lie; made when first used.
        pacer: Limits the bandwidth.
        runtime: Randomness.
    """

    def __init__(self, root: Path, below: Sequence[str], pacer: Pacer, runtime: Runtime) -> None:
        self._root = root
        self._below = tuple(below)
        self._pacer = pacer
        self._runtime = runtime
        self._tidied = False

    async def put(self, name: str, content: AsyncIterator[Buffer], size: int) -> None:
        """See ``TargetStore.put``. The object survives a power failure when this returns."""
        check_blob_name(name)
        draft = _DRAFT + self._runtime.random(16).hex()
        with contextlib.ExitStack() as opened:
            try:
                descriptor = await on_disk(self._begin, opened, draft)
                async for chunk in Feed(self._pacer.paced(content), size):
                    await on_disk(_write, descriptor, chunk)
                await on_disk(self._publish, descriptor, draft, name)
            except DiskHangs:
                opened.pop_all()
                raise
            except BaseException:
                with contextlib.suppress(Unavailable):
                    await on_disk(self._discard, draft)
                raise

    async def get(
        self, name: str, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """See ``TargetStore.get``."""
        check_blob_name(name)
        check_range(start, end)
        with contextlib.ExitStack() as opened:
            descriptor = await on_disk(self._open, opened, name)
            while end is None or start < end:
                size = _PIECE if end is None else min(_PIECE, end - start)
                piece = await on_disk(os.pread, descriptor, size, start)
                if not piece:
                    return
                yield piece
                start += len(piece)

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """See ``TargetStore.list``."""
        check_blob_prefix(prefix)
        with contextlib.closing(self._walk(prefix)) as walk:
            while found := await on_disk(tuple, islice(walk, _LISTED_AT_ONCE)):
                for info in found:
                    yield info

    async def delete(self, name: str) -> None:
        """See ``TargetStore.delete``."""
        check_blob_name(name)
        await on_disk(self._delete, name)

    async def probe(self) -> Sequence[ProbeResult]:
        """See ``TargetStore.probe``: there is nothing to connect to."""
        return await probe_objects(self, self._runtime)

    async def close(self) -> None:
        """See ``TargetStore.close``: nothing stays open."""

    def _begin(self, opened: contextlib.ExitStack, draft: str) -> int:
        """A file for new content, locked while its writer lives, until ``opened`` closes."""
        with self._folder((), make=True) as folder:
            if not self._tidied:
                _remove_drafts(folder)
                self._tidied = True
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            descriptor = os.open(draft, flags, 0o600, dir_fd=folder)
            opened.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor

    def _publish(self, descriptor: int, draft: str, name: str) -> None:
        """Make the draft durable, then visible, then its visibility durable."""
        os.fsync(descriptor)
        *segments, last = name.split("/")
        with self._folder(()) as folder, self._folder(segments, make=True) as into:
            os.replace(draft, last, src_dir_fd=folder, dst_dir_fd=into)
            os.fsync(into)

    def _discard(self, draft: str) -> None:
        with contextlib.suppress(FileNotFoundError), self._folder(()) as folder:
            os.unlink(draft, dir_fd=folder)

    def _open(self, opened: contextlib.ExitStack, name: str) -> int:
        *segments, last = name.split("/")
        try:
            with self._folder(segments) as folder:
                descriptor = open_regular(last, os.O_RDONLY, folder=folder)
        except (FileNotFoundError, NotADirectoryError, IrregularFile):
            raise NotFound("There is no such object.") from None
        opened.callback(os.close, descriptor)
        return descriptor

    def _delete(self, name: str) -> None:
        *segments, last = name.split("/")
        absent = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
        with contextlib.suppress(*absent), self._folder(segments) as folder:
            os.unlink(last, dir_fd=folder)
            os.fsync(folder)

    def _walk(self, prefix: str) -> Generator[BlobInfo]:
        parent = prefix.rpartition("/")[0]
        segments = parent.split("/") if parent else []
        try:
            with self._folder(segments) as folder:
                for path, _, files, descriptor in os.fwalk(".", dir_fd=folder):
                    below = "/".join([*segments, *Path(path).parts])
                    for file in files:
                        name = f"{below}/{file}" if below else file
                        if name.startswith(prefix) and is_blob_name(name):
                            with contextlib.suppress(FileNotFoundError):
                                status = os.stat(file, dir_fd=descriptor, follow_symlinks=False)
                                if stat.S_ISREG(status.st_mode):
                                    modified = datetime.fromtimestamp(status.st_mtime, UTC)
                                    yield BlobInfo(name, status.st_size, modified)
        except (FileNotFoundError, NotADirectoryError):
            return

    @contextlib.contextmanager
    def _folder(self, segments: Sequence[str], *, make: bool = False) -> Iterator[int]:
        """A descriptor of a folder below the target's own, which is made on the way if asked for.

        Raises:
            Unavailable: The operator's folder itself is not there.
        """
        try:
            descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise Unavailable(
                "The folder of targets cannot be opened; see the setting STRONGROOM_TARGETS_DIR."
            ) from error
        try:
            for segment in (*self._below, *segments):
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(segment, 0o700, dir_fd=descriptor)
                        os.fsync(descriptor)
                child = os.open(segment, _FOLDER_FLAGS, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = child
            yield descriptor
        finally:
            os.close(descriptor)


def _write(descriptor: int, chunk: Buffer) -> None:
    with memoryview(chunk) as view:
        written = 0
        while written < len(view):
            written += os.write(descriptor, view[written:])


def _remove_drafts(folder: int) -> None:
    """Remove what writers that died have left behind: nobody holds the lock on it any more."""
    with os.scandir(folder) as entries:
        drafts = [entry.name for entry in entries if entry.name.startswith(_DRAFT)]
    for draft in drafts:
        with contextlib.suppress(FileNotFoundError, IrregularFile):
            descriptor = open_regular(draft, os.O_RDONLY, folder=folder)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(draft, dir_fd=folder)
            except BlockingIOError:
                continue
            finally:
                os.close(descriptor)
