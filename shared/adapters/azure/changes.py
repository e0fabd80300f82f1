"""The feed of changed records on Cosmos DB: a query by ``_ts``, the second of an item's last change.

The service sets ``_ts`` in whole seconds while it writes. So an item may appear in a second that was read
before: because that second was not over, because its batch took a moment to commit, or because another
replica with another clock took over. Each read therefore begins so far back that nothing can appear
before, and its position holds fingerprints of what was given since then. A quiet partition gives nothing
twice, however often it is asked.

Why not the change feed of the service: ``docs/decisions/0028-changed-records-by-timestamp.md``.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from shared.adapters.azure.items import NOT_EXPIRED, microseconds, to_record
from shared.adapters.cursors import decode_position, encode_position
from shared.base.partitions import Partition
from shared.ports.records import Changes

LATENESS: Final = 15
"""Seconds by which ``_ts`` may be older than the moment at which its item can first be read: a batch may
run for 5 seconds, the rest is for clocks that differ."""

_FINGERPRINT_BYTES: Final = 8
"""A partition takes 10,000 RU a second, some 25,000 items in 15 seconds: the chance that a new one is taken
for one of these is 1 in 10^15."""


@dataclass(frozen=True, slots=True)
class FeedPosition:
    """How far the feed of a partition was read.

    Attributes:
        since: Where the next read begins; no item that was not given has an older ``_ts``.
        given: Fingerprints of the items given whose ``_ts`` is not older.
    """

    since: int = 0
    given: frozenset[bytes] = frozenset()

    @classmethod
    def parse(cls, text: str, partition: Partition) -> FeedPosition:
        """The position that ``encode`` wrote.

        Raises:
            ValueError: It is malformed, or of another partition.
        """
        since, encoded = decode_position(text, partition, length=2)
        joined = base64.b64decode(encoded)
        starts = range(0, len(joined), _FINGERPRINT_BYTES)
        return cls(int(since), frozenset(joined[at : at + _FINGERPRINT_BYTES] for at in starts))

    def encode(self, partition: Partition) -> str:
        """The position as text."""
        joined = base64.b64encode(b"".join(sorted(self.given)))
        return encode_position(partition, [str(self.since), joined.decode()])

    def select(self, partition: Partition, limit: int, now: datetime) -> tuple[str, dict[str, Any]]:
        """The statement that reads the next page, with its parameters.

        Everything given before may come first, and one more item tells whether there is another page.
        """
        sql = (
            f"SELECT TOP {self._most(limit)} * FROM c WHERE c.partition = @partition AND c._ts >= @since"  # noqa: S608
            f" AND {NOT_EXPIRED} ORDER BY c._ts ASC"
        )
        return sql, {
            "@partition": str(partition),
            "@since": self.since,
            "@now": microseconds(now),
        }

    def page(
        self, partition: Partition, items: Sequence[dict[str, Any]], limit: int, *, took: float
    ) -> Changes:
        """What the rows of ``select`` hold that was not given yet, and the position after it.

        Args:
            partition: Whose items these are.
            items: The rows.
            limit: As given to ``select``.
            took: Seconds from before the statement was sent until after its last row arrived.
        """
        marked = [(_fingerprint(item), item) for item in items]
        fresh = [(mark, item) for mark, item in marked if mark not in self.given]
        page = fresh[:limit]
        if not page:
            return Changes([], self.encode(partition), more=False)
        # What appears after the read began was written, at the earliest, LATENESS before it, and nothing
        # that was read is newer than its end.
        newest = max(item["_ts"] for _, item in page)
        since = max(self.since, newest - math.ceil(took + LATENESS))
        given = self.given.union(mark for mark, _ in page)
        kept = {mark for mark, item in marked if mark in given and item["_ts"] >= since}
        if len(items) == self._most(limit):
            # Late items can fill the rows; what was given before and is newer comes behind them.
            kept |= self.given.difference(mark for mark, _ in marked)
        after = FeedPosition(since, frozenset(kept))
        return Changes(
            [to_record(item) for _, item in page],
            after.encode(partition),
            more=len(fresh) > limit,
        )

    def _most(self, limit: int) -> int:
        return len(self.given) + limit + 1


def _fingerprint(item: dict[str, Any]) -> bytes:
    """Names one state of one item."""
    state = f"{item['id']} {item['_etag']}".encode()
    return hashlib.sha256(state).digest()[:_FINGERPRINT_BYTES]
