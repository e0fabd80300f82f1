"""Recovering versions into a folder: fetch, verify, name; go on past what cannot be recovered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from client.errors import CommandError
from client.output import Meter, Output
from client.recover.catalogue import problem_of
from client.recover.concurrency import for_each
from client.recover.content import ContentFetcher
from client.recover.destination import Destination, Presence
from client.recover.format import TARGET_FILE, KeyFile
from client.recover.problems import Problem, ProblemKind
from client.recover.source import Missing, Refused, Source, Unreachable
from client.units import size_text
from shared.base.errors import Damaged

RESTORED_AT_ONCE: Final = 8


@dataclass(slots=True)
class Outcome:
    """What became of the versions.

    Attributes:
        files: How many were recovered by this run.
        size: Their bytes.
        finished: How many an earlier run had recovered.
        problems: What could not be recovered.
    """

    files: int = 0
    size: int = 0
    finished: int = 0
    problems: list[Problem] = field(default_factory=list)


class Restoring:
    """Recovers versions.

    Args:
        source: The target.
        destination: The folder.
        names: The file name of each version, by key file.
        output: Is told of each file.
        overwrite: Whether a file takes the place of one that differs.

    Attributes:
        outcome: What became of the versions so far.
    """

    def __init__(
        self,
        source: Source,
        destination: Destination,
        names: Mapping[str, str],
        output: Output,
        *,
        overwrite: bool,
    ) -> None:
        self._source = source
        self._destination = destination
        self._names = names
        self._output = output
        self._overwrite = overwrite
        self.outcome = Outcome()

    async def look(self, versions: Sequence[KeyFile]) -> list[KeyFile]:
        """Leave out what was recovered before, and what something else is in the way of.

        Raises:
            CommandError: The folder cannot be read.
        """
        wanted = []
        for key in versions:
            name = self._names[key.object_name]
            try:
                presence = await asyncio.to_thread(self._destination.presence, key, name)
            except OSError as error:
                raise CommandError(f"{name} cannot be read: {error.strerror}.") from None
            if presence is Presence.FINISHED:
                self.outcome.finished += 1
            elif presence is Presence.NOTHING or self._may_overwrite(name):
                wanted.append(key)
            else:
                detail = f"something else has the name {name}; use --overwrite, or another folder"
                self._add(problem_of(key, ProblemKind.IN_THE_WAY, detail))
        return wanted

    def _may_overwrite(self, name: str) -> bool:
        path = self._destination.path(name)
        return self._overwrite and (path.is_symlink() or not path.is_dir())

    async def restore(self, versions: Sequence[KeyFile], meter: Meter) -> Outcome:
        """Recover versions that ``look`` let pass.

        Raises:
            CommandError: The folder cannot be written, or the target cannot be reached any more.
        """

        async def restore(key: KeyFile) -> None:
            await self._restore(key, meter)

        await for_each(versions, restore, RESTORED_AT_ONCE)
        return self.outcome

    async def _restore(self, key: KeyFile, meter: Meter) -> None:
        try:
            partial = self._destination.partial(key)
            await ContentFetcher(self._source, key, partial, meter.advance).fetch()
            await asyncio.to_thread(self._finish, key)
        except Damaged as error:
            self._add(problem_of(key, ProblemKind.DAMAGED, error.detail))
        except Missing:
            self._add(problem_of(key, ProblemKind.MISSING, "the content is missing"))
        except Refused as error:
            self._add(problem_of(key, ProblemKind.REFUSED, str(error)))
        except Unreachable as error:
            await self._check_source()
            self._add(problem_of(key, ProblemKind.UNREACHABLE, str(error)))
        except OSError as error:
            raise CommandError(
                f"The folder cannot be written: {error.strerror}. Run the same command again to go on."
            ) from None
        else:
            self._count(key)

    async def _check_source(self) -> None:
        """Tell one object that cannot be read from a target that cannot be read."""
        try:
            await self._source.read(TARGET_FILE, 0, 1)
        except (Missing, Refused):
            return
        except Unreachable as error:
            raise CommandError(
                f"SOURCE cannot be read any more: {error}. Run the same command again to go on."
            ) from None

    def _finish(self, key: KeyFile) -> None:
        self._destination.finish(key, self._names[key.object_name])

    def _count(self, key: KeyFile) -> None:
        self.outcome.files += 1
        self.outcome.size += key.size
        name = self._names[key.object_name]
        self._output.emit(
            "recovered",
            f"{name} ({size_text(key.size)})",
            document=key.document,
            version=key.version,
            tag=key.tag,
            name=key.name,
            path=name,
            size=key.size,
            sha256=key.sha256,
        )

    def _add(self, problem: Problem) -> None:
        self.outcome.problems.append(problem)
