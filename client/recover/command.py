"""What ``strongroom recover`` does: read the target, then list, plan or restore."""

from __future__ import annotations

import asyncio
import fnmatch
import shutil
import signal
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from client.errors import CommandError, ExitCode
from client.output import Output
from client.recover.catalogue import Catalogue, CatalogueReader, read_target_info
from client.recover.destination import Destination, open_destination
from client.recover.format import KeyFile
from client.recover.identities import Keyring, join_holders, read_identities
from client.recover.names import assign_names
from client.recover.planning import measure
from client.recover.problems import Problem
from client.recover.restoring import Outcome, Restoring
from client.recover.source import Source, SourceError, open_source
from client.units import counted, duration_text, size_text


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to recover.

    Attributes:
        document: This one alone.
        name: Those whose name matches this pattern.
        all_versions: Not only the newest version of each document.
        overwrite: Whether a file takes the place of one that differs.
    """

    document: str | None = None
    name: str | None = None
    all_versions: bool = False
    overwrite: bool = False


class Recovery:
    """Recovers from a target.

    Args:
        identities: Files with age identities.
        place: Where the target is.
        endpoint: The URL of its service, if not the provider's own.
        wanted: What to recover.
        output: Where to print.

    Raises:
        CommandError: The identities cannot be read, or the place cannot be one of a target.
    """

    def __init__(
        self,
        identities: Sequence[Path],
        place: str,
        endpoint: str | None,
        wanted: Wanted,
        output: Output,
    ) -> None:
        self._keyring: Keyring = read_identities(identities)
        self._source: Source = open_source(place, endpoint)
        self._wanted = wanted
        self._output = output

    async def list(self) -> ExitCode:
        """List the versions that the target holds."""
        found = await self._read()
        missing = {key.object_name: found.content_problem(key) for key in found.versions}
        rows = []
        fields = []
        for key in found.versions:
            problem = missing[key.object_name]
            created_at = key.created_at.isoformat(timespec="seconds")
            state = "ok" if problem is None else problem.kind.value
            texts = (key.document, str(key.version), created_at, size_text(key.size), state)
            rows.append((*texts, key.name))
            described = key.model_dump(mode="json", exclude={"data_key", "associated_data"})
            fields.append(described | {"state": state})
        columns = ("document", "version", "created", "size", "state", "name")
        self._output.table("version", columns, rows, fields)
        return self._report([*found.problems, *(each for each in missing.values() if each)])

    async def plan(self, folder: Path | None) -> ExitCode:
        """Say what recovering would bring, and how long it would take.

        Args:
            folder: What is there already need not be recovered.
        """
        found = await self._read()
        contents = [found.content_problem(key) for key in found.versions]
        problems = [*found.problems, *(each for each in contents if each is not None)]
        readable = [
            key for key, problem in zip(found.versions, contents, strict=True) if problem is None
        ]
        left, outcome = readable, Outcome()
        if folder is not None:
            restoring = self._restoring(found, Destination(folder))
            left = await restoring.look(readable)
            outcome = restoring.outcome
        rate = await measure(self._source, left, time.monotonic)
        size = sum(key.size for key in left)
        seconds = rate.seconds(len(left), size)
        text = f"{_amount(found.versions)}. "
        if outcome.finished:
            text += f"{counted(outcome.finished, 'file')} recovered before. "
        text += f"To recover: {counted(len(left), 'file')}, {size_text(size)}"
        if left:
            text += f", {duration_text(seconds)}"
            text += f" at {size_text(rate.bytes_a_second)} a second" if size else ""
        self._output.emit(
            "plan",
            text + ".",
            documents=len({key.document for key in found.versions}),
            versions=len(found.versions),
            bytes=sum(key.size for key in found.versions),
            finished=outcome.finished,
            files_to_recover=len(left),
            bytes_to_recover=size,
            expected_seconds=round(seconds, 1),
            bytes_per_second=round(rate.bytes_a_second),
        )
        return self._report([*problems, *outcome.problems])

    async def restore(self, folder: Path) -> ExitCode:
        """Recover into a folder."""
        found = await self._read()
        with open_destination(folder) as destination:
            restoring = self._restoring(found, destination)
            left = await restoring.look(found.versions)
            size = sum(key.size for key in left)
            self._check_space(folder, size)
            with self._output.progress("Recovering", size, "bytes") as meter:
                outcome = await restoring.restore(left, meter)
        text = f"Recovered {counted(outcome.files, 'file')}, {size_text(outcome.size)}"
        if outcome.finished:
            text += f"; {counted(outcome.finished, 'file')} recovered before"
        problems = [*found.problems, *outcome.problems]
        self._output.emit(
            "summary",
            text + ".",
            files=outcome.files,
            bytes=outcome.size,
            finished=outcome.finished,
            problems=len(problems),
        )
        return self._report(problems)

    async def _read(self) -> Catalogue:
        """What the target holds of what is wanted."""
        info = await read_target_info(self._source)
        problems = [info] if isinstance(info, Problem) else []
        keyring = await join_holders(
            self._source, None if isinstance(info, Problem) else info, self._keyring
        )
        with self._output.progress("Reading key files", 0, "objects") as meter:
            found = await CatalogueReader(self._source, keyring, meter).read(
                self._wanted.document, all_versions=self._wanted.all_versions
            )
        found.problems = problems + found.problems
        if self._wanted.name is not None:
            pattern = self._wanted.name
            found.versions = [
                key for key in found.versions if fnmatch.fnmatchcase(key.name, pattern)
            ]
            if not found.versions:
                raise CommandError(f"No document in SOURCE is called {pattern}.")
        if found.without_key:
            self._output.emit(
                "note",
                f"{counted(found.without_key, 'content')} without a key file: not fully arrived, or "
                "the key file was lost.",
                contents_without_key=found.without_key,
            )
        return found

    def _restoring(self, found: Catalogue, destination: Destination) -> Restoring:
        names = assign_names(found.versions, found.newest, destination.known_names)
        return Restoring(
            self._source, destination, names, self._output, overwrite=self._wanted.overwrite
        )

    def _check_space(self, folder: Path, size: int) -> None:
        free = shutil.disk_usage(folder).free
        if size > free:
            self._output.emit(
                "note",
                f"{size_text(size)} are to come, and {folder} has room for {size_text(free)}.",
                bytes_to_recover=size,
                bytes_free=free,
            )

    def _report(self, problems: Sequence[Problem]) -> ExitCode:
        """List what could not be recovered, for the end."""
        for each in problems:
            self._output.emit(
                "problem",
                f"not recovered: {each.text}",
                kind=each.kind.value,
                object=each.object,
                detail=each.detail,
                document=each.document,
                version=each.version,
                name=each.name,
            )
        if problems:
            raise CommandError(f"{counted(len(problems), 'problem')}; see the list above.")
        return ExitCode.DONE


def run(work: Awaitable[ExitCode]) -> ExitCode:
    """Do what a ``Recovery`` is for, to the end or until the command is interrupted.

    Raises:
        CommandError: It cannot go on, or was interrupted.
    """

    async def main() -> ExitCode:
        return await work

    former = {each: signal.signal(each, _interrupt) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        return asyncio.run(main())
    except SourceError as error:
        raise CommandError(f"SOURCE cannot be read: {error}.") from None
    except KeyboardInterrupt:
        raise CommandError(
            "interrupted; what was recovered stays, and the same command goes on from there.",
            ExitCode.INTERRUPTED,
        ) from None
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)


def _amount(versions: Sequence[KeyFile]) -> str:
    documents = counted(len({key.document for key in versions}), "document")
    size = size_text(sum(key.size for key in versions))
    return f"{documents} in {counted(len(versions), 'file')}, {size}"
