"""The feed of a partition's changed records, followed to its end."""

from __future__ import annotations

from collections.abc import AsyncIterator

from shared.base.partitions import Partition
from shared.ports.records import Changes, RecordStore


async def feed(
    records: RecordStore, partition: Partition, after: str | None
) -> AsyncIterator[Changes]:
    """The changes after a position, page by page, up to where the feed ends; at least one page.

    A position of another store, such as one that was lost and restored, means nothing here: then all of
    the partition's records are given.

    Raises:
        Unavailable: The record store does not respond.
    """
    more = True
    while more:
        try:
            page = await records.changes(partition, after=after)
        except ValueError:
            if after is None:
                raise
            after = None
            continue
        yield page
        after, more = page.position, page.more
