"""The feed: a log from its first entry on, page by page in the order of positions, for who follows it.

A page comes from the bundles, up to the newest checkpoint: what has a position there keeps it, so a cursor
that is a position passes over nothing, however late an entry was appended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.access.principal import Principal
from shared.audit.models import LoggedEntry
from shared.audit.reading import LogReader
from shared.audit.sequence import read_in_order
from shared.base.errors import InvalidInput
from shared.crypto.notation import MAX_INTEGER


@dataclass(frozen=True, slots=True)
class FeedPage:
    """A page of the feed.

    Attributes:
        items: Entries one after the other, with their personal data where that can be opened.
        cursor: What asks for those that follow, also where there are none yet.
    """

    items: Sequence[LoggedEntry]
    cursor: str


@dataclass(frozen=True, slots=True)
class LogFeed:
    """Feeds whoever follows the log of their tenant.

    Attributes:
        reader: Reads it.
    """

    reader: LogReader

    async def page(self, principal: Principal, cursor: str | None, limit: int) -> FeedPage:
        """The entries that follow a cursor; none where the newest checkpoint does not reach further.

        Args:
            principal: Who asks.
            cursor: From the page before; None: from the first entry on.
            limit: Entries at most.

        Raises:
            InvalidInput: The cursor is not one of this log's feed.
            Damaged: A bundle is missing or malformed.
            Unavailable: A store or the key vault does not respond.
        """
        tenant = principal.tenant
        start = 0 if cursor is None else _position_in(cursor, tenant)
        await self.reader.note_read(principal, "feed")
        newest = await self.reader.checkpoints.newest(tenant)
        # A checkpoint that was read elsewhere may be older than the one that the cursor came from.
        end = max(start, min(start + limit, newest.tree.size if newest else 0))
        items: list[LoggedEntry] = []
        if newest and start < end:
            tree = self.reader.tree(tenant, newest.tree.size)
            async for entries in read_in_order(tree, self.reader.log.sealer, start, end):
                items += [LoggedEntry(entry=each.entry, position=each.position) for each in entries]
        return FeedPage(items, f"{end}.{tenant}")


def _position_in(cursor: str, tenant: str) -> int:
    """The position that a cursor names. It names the log as well: in another one it would skip entries."""
    digits, _, log = cursor.partition(".")
    # Sixteen digits have every integer that JSON can hold.
    if log != tenant or not digits.isascii() or not digits.isdecimal() or len(digits) > 16:
        raise InvalidInput("The cursor is not one of this feed; start again without one.")
    return min(int(digits), MAX_INTEGER)
