"""Entries in the order of their positions, from the bundles: for exports, the feed and webhooks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import ValidationError

from shared.audit.sealing import PERSONAL, EntrySealer
from shared.audit.tree import StoredTree
from shared.base.errors import Damaged
from shared.crypto.tiles import WIDTH
from shared.journal.entries import Entry


@dataclass(frozen=True, slots=True)
class ReadEntry:
    """An entry of a bundle.

    Attributes:
        position: In the log, from 0.
        leaf: Its canonical JSON, which the tree hashes.
        logged: What that says.
        entry: The same with its personal data, where that can be opened.
    """

    position: int
    leaf: bytes
    logged: Entry
    entry: Entry

    @property
    def opened(self) -> Mapping[str, str] | None:
        """The personal data that the leaf has sealed; None where there is none, or its keys are gone."""
        if self.logged.sealed is None or self.entry.sealed is not None:
            return None
        return {name: getattr(self.entry, name) for name in PERSONAL}


async def read_in_order(
    tree: StoredTree, sealer: EntrySealer, start: int, end: int
) -> AsyncIterator[Sequence[ReadEntry]]:
    """The entries at the positions from ``start`` on, before ``end``, as many at a time as a bundle has.

    Raises:
        Damaged: A bundle is missing or malformed, or holds what this release cannot read.
        Unavailable: A store or the key vault does not respond.
    """
    async for found in logged_in_order(tree, start, end):
        opened = await sealer.open(tree.tenant, [each.entry for each in found])
        yield [replace(each, entry=entry) for each, entry in zip(found, opened, strict=True)]


async def logged_in_order(
    tree: StoredTree, start: int, end: int
) -> AsyncIterator[Sequence[ReadEntry]]:
    """The same with their personal data as the log has it: sealed.

    Raises:
        Damaged: As for ``read_in_order``.
        Unavailable: The store does not respond.
    """
    while start < end:
        stop = min(end, (start // WIDTH + 1) * WIDTH)
        found = [each async for each in tree.entries(start, stop)]
        try:
            logged = [Entry.model_validate_json(leaf) for _, leaf in found]
        except ValidationError:
            raise Damaged(f"The log has an entry after {start} that cannot be read.") from None
        yield [
            ReadEntry(position, leaf, entry, entry)
            for (position, leaf), entry in zip(found, logged, strict=True)
        ]
        start = stop
