"""What a target holds, as its key files say."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from client.errors import CommandError, ExitCode
from client.output import Meter
from client.recover.concurrency import for_each
from client.recover.format import (
    CONTENT_FOLDER,
    KEY_FILE_SUFFIX,
    KEYS_FOLDER,
    MAX_FILE_SIZE,
    TARGET_FILE,
    KeyFile,
    Malformed,
    TargetInfo,
    parse_key_file,
    parse_target,
)
from client.recover.identities import Damaged, Keyring, NotForUs
from client.recover.problems import Problem, ProblemKind
from client.recover.source import ListedObject, Missing, Refused, Source, SourceError, Unreachable

READ_AT_ONCE: Final = 32
TRIED_FIRST: Final = 8
"""Key files, spread over all, that show early whether the identities fit."""

_KEY_NAME: Final = re.compile(r"keys/([a-z0-9_-]+)/([1-9][0-9]{0,9})\.([a-z0-9_-]+)\.age")


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key file, as its name tells."""

    name: str
    document: str
    version: int


@dataclass(slots=True)
class Catalogue:
    """What a target holds.

    Attributes:
        versions: What the key files that were read say, by document and version.
        newest: The names of the key files of the newest versions.
        problems: Key files that could not be read.
        contents: The sizes of the objects with sealed content, bytes, by name.
        without_key: How many of them have no key file: they had not fully arrived, or it was lost.
    """

    versions: list[KeyFile] = field(default_factory=list)
    newest: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    contents: dict[str, int] = field(default_factory=dict)
    without_key: int = 0

    def content_problem(self, key: KeyFile) -> Problem | None:
        """What a look at the listing tells of a version's content."""
        size = self.contents.get(key.object)
        if size is None:
            return problem_of(key, ProblemKind.MISSING, "the content is missing")
        if size != key.sealed_size:
            return problem_of(key, ProblemKind.DAMAGED, "the content does not have its size")
        return None


def problem_of(key: KeyFile, kind: ProblemKind, detail: str) -> Problem:
    """A problem with a version whose key file is good."""
    return Problem(kind, key.object, detail, key.document, key.version, key.name)


async def read_target_info(source: Source) -> TargetInfo | Problem:
    """Read ``strongroom.json``; a target that lost it can be recovered all the same.

    Raises:
        CommandError: It is of a later release, or the target has no recovery keys.
        SourceError: The target cannot be read.
    """
    try:
        info = parse_target((await source.read(TARGET_FILE, 0, MAX_FILE_SIZE)).data)
    except Missing:
        return Problem(ProblemKind.MISSING, TARGET_FILE, "it is missing")
    except Malformed as error:
        return Problem(ProblemKind.DAMAGED, TARGET_FILE, str(error))
    if not info.all_recipients:
        raise CommandError(
            "This target was made without recovery keys: only the service can open what it holds.",
            ExitCode.IDENTITY,
        )
    return info


class CatalogueReader:
    """Reads the key files of a target.

    Args:
        source: The target.
        keyring: What opens them.
        meter: Is told how many were read.
    """

    def __init__(self, source: Source, keyring: Keyring, meter: Meter) -> None:
        self._source = source
        self._keyring = keyring
        self._meter = meter
        self._catalogue = Catalogue()

    async def read(self, document: str | None, *, all_versions: bool) -> Catalogue:
        """Read them.

        Args:
            document: Of this document alone; None: of all.
            all_versions: Not only of each document's newest version.

        Raises:
            CommandError: The target holds nothing, or the identities do not fit.
            SourceError: The target cannot be read.
        """
        await self._list_contents(document)
        listed = await self._list_keys(document)
        newest = list(_newest(listed))
        wanted = sorted(listed if all_versions else newest, key=lambda key: key.name)
        self._meter.update(0, len(wanted))
        await self._check_identities(wanted)
        await for_each(wanted, self._read_key, READ_AT_ONCE)
        found = self._catalogue
        if not found.versions and any(
            each.kind is ProblemKind.UNREADABLE for each in found.problems
        ):
            raise self._mismatch()
        found.versions.sort(key=lambda key: (key.document, key.version, key.created_at, key.tag))
        # Of versions with the same number, which a restore can leave behind, the last is the newest.
        latest = {key.document: key.object_name for key in found.versions}
        found.newest = {name for name in latest.values() if name in {key.name for key in newest}}
        if not all_versions:
            found.versions = [key for key in found.versions if key.object_name in found.newest]
        return found

    async def _list_contents(self, document: str | None) -> None:
        prefix = CONTENT_FOLDER if document is None else f"{CONTENT_FOLDER}{document}/"
        for each in await self._source.list(prefix):
            self._catalogue.contents[each.name] = each.size

    async def _list_keys(self, document: str | None) -> list[ListedKey]:
        prefix = KEYS_FOLDER if document is None else f"{KEYS_FOLDER}{document}/"
        listed = []
        for each in await self._source.list(prefix):
            key = self._parse_name(each)
            if key is not None:
                listed.append(key)
        if not listed and not self._catalogue.problems:
            what = "There is no key file in SOURCE" + (f" of {document}" if document else "")
            raise CommandError(f"{what}; is it a target, and the prefix right?")
        with_key = {_content_name(key.name) for key in listed}
        self._catalogue.without_key = len(self._catalogue.contents.keys() - with_key)
        return listed

    def _parse_name(self, listed: ListedObject) -> ListedKey | None:
        match = _KEY_NAME.fullmatch(listed.name)
        if match is None or listed.size > MAX_FILE_SIZE:
            self._add_problem(ProblemKind.DAMAGED, listed.name, "it is not a key file")
            return None
        return ListedKey(listed.name, match[1], int(match[2]))

    async def _check_identities(self, wanted: Sequence[ListedKey]) -> None:
        """Find out before all key files were fetched that none of them opens."""
        for key in wanted[:: max(1, len(wanted) // TRIED_FIRST)][:TRIED_FIRST]:
            try:
                self._keyring.open((await self._source.read(key.name, 0, MAX_FILE_SIZE)).data)
            except NotForUs:
                continue
            except (Damaged, Missing, Refused):
                pass
            return
        if wanted:
            raise self._mismatch()

    def _mismatch(self) -> CommandError:
        given = ", ".join(self._keyring.recipients)
        return CommandError(
            f"The identities do not fit: no key file is encrypted to {given}; {TARGET_FILE} names "
            "those that they are encrypted to.",
            ExitCode.IDENTITY,
        )

    async def _read_key(self, key: ListedKey) -> None:
        try:
            sealed = await self._source.read(key.name, 0, MAX_FILE_SIZE)
            found = parse_key_file(self._keyring.open(sealed.data))
            if found.object_name != key.name:
                raise Malformed("it is the key file of another version")
            self._catalogue.versions.append(found)
        except NotForUs:
            self._add_problem(
                ProblemKind.UNREADABLE, key.name, "no identity opens it, or it was changed", key
            )
        except Damaged:
            self._add_problem(ProblemKind.DAMAGED, key.name, "it was changed", key)
        except Malformed as error:
            self._add_problem(ProblemKind.DAMAGED, key.name, str(error), key)
        except SourceError as error:
            if isinstance(error, Unreachable):
                raise
            kind = ProblemKind.MISSING if isinstance(error, Missing) else ProblemKind.REFUSED
            self._add_problem(kind, key.name, str(error), key)
        self._meter.advance(1)

    def _add_problem(
        self, kind: ProblemKind, name: str, detail: str, key: ListedKey | None = None
    ) -> None:
        document, version = (key.document, key.version) if key else (None, None)
        self._catalogue.problems.append(Problem(kind, name, detail, document, version))


def _newest(listed: Iterable[ListedKey]) -> Iterable[ListedKey]:
    """The key files with the highest number of each document; more than one after some restores."""
    of_document: defaultdict[str, list[ListedKey]] = defaultdict(list)
    for key in listed:
        of_document[key.document].append(key)
    for keys in of_document.values():
        highest = max(key.version for key in keys)
        yield from (key for key in keys if key.version == highest)


def _content_name(key_name: str) -> str:
    """The name of the content that belongs to a key file."""
    middle = key_name.removeprefix(KEYS_FOLDER).removesuffix(KEY_FILE_SUFFIX)
    return CONTENT_FOLDER + middle
