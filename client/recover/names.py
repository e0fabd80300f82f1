"""File names for documents, whose own names are anybody's text: never a path, never hidden, never twice."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from client.recover.format import KeyFile

MAX_NAME_BYTES: Final = 255
"""What common file systems take."""

MAX_EXTENSION: Final = 16
UNNAMED: Final = "unnamed"

_NOT_IN_NAMES: Final = frozenset('/\\:*?"<>|')
_DEVICES: Final = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)


def safe_name(name: str) -> str:
    """A name for a file on any common system, as like the document's as can be."""
    kept = "".join(
        "_" if each in _NOT_IN_NAMES or not each.isprintable() else each
        for each in unicodedata.normalize("NFC", name)
    )
    kept = kept.strip().rstrip(". ") or UNNAMED
    if kept.startswith(".") or _DEVICES.match(kept):
        # Hidden files can be settings that programs obey.
        kept = "_" + kept
    return _with_suffix(kept, "")


def assign_names(
    versions: Iterable[KeyFile], newest: Collection[str], known: Mapping[str, str]
) -> dict[str, str]:
    """A file name for each version.

    The newest version of a document gets the document's name, earlier ones get their number with it. A
    name that is taken, on systems that tell no upper from lower case as well, gets a counter.

    Args:
        versions: To be named.
        newest: The key files of the newest versions.
        known: Names of an earlier run, by key file. They stay. No other document gets one of them, but
            a version takes over the name of an earlier one that is no longer asked for.

    Returns:
        The names, by key file.
    """
    wanted = {key.object_name: key for key in versions}
    names = {each: known[each] for each in wanted if each in known}
    taken = {_folded(name): _document(each) for each, name in known.items()}
    taken_for_good = {_folded(name) for name in names.values()}
    counters: dict[str, int] = {}
    for each, key in wanted.items():
        if each in names:
            continue

        def is_free(name: str, document: str = key.document) -> bool:
            folded = _folded(name)
            return folded not in taken_for_good and taken.get(folded, document) == document

        name = base = safe_name(key.name)
        if each not in newest or (taken.get(_folded(base)) == key.document and not is_free(base)):
            name = base = _with_suffix(base, f" (version {key.version})")
        while not is_free(name):
            counters[base] = counters.get(base, 1) + 1
            name = _with_suffix(base, f" ({counters[base]})")
        taken_for_good.add(_folded(name))
        names[each] = name
    return names


def _document(key_file: str) -> str:
    return key_file.split("/")[1]


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _with_suffix(name: str, suffix: str) -> str:
    """The name with a suffix before its extension, no longer than file systems take."""
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension) > MAX_EXTENSION:
        stem, dot, extension = name, "", ""
    ending = suffix + dot + extension
    room = MAX_NAME_BYTES - len(ending.encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + ending
