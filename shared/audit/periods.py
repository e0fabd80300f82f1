"""Periods: which positions of a log hold the entries that were made in a period.

Entries are appended a moment after they were made, and those of different partitions in no fixed order, so
an entry may follow one that was made later. A period's positions reach from the first entry that was made
in it to the last one.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.audit.index import bundle_spans, log_part
from shared.audit.log import AuditLog
from shared.audit.models import BundleSpan
from shared.audit.tree import StoredTree
from shared.base.ids import ids_of_period
from shared.crypto.tiles import WIDTH

_PREFIX: Final = "aud"
_AFTER_ALL: Final = f"{_PREFIX}_~"


@dataclass(frozen=True, slots=True)
class Period:
    """A period of time.

    Attributes:
        since: When it begins; None: with the log.
        before: When it is over; None: with the log.
    """

    since: datetime | None = None
    before: datetime | None = None

    @property
    def first(self) -> str:
        """The lowest id that an entry in it may have."""
        return ids_of_period(_PREFIX, self.since, None)[0] or ""

    @property
    def end(self) -> str:
        """What the id of every entry in it is below."""
        return ids_of_period(_PREFIX, None, self.before)[1] or _AFTER_ALL

    def touches(self, span: BundleSpan) -> bool:
        """Whether a bundle may hold entries of the period."""
        return span.last >= self.first and span.first < self.end


@dataclass(frozen=True, slots=True)
class Periods:
    """Finds positions by time.

    Attributes:
        log: Says where the spans of bundles are.
    """

    log: AuditLog

    async def positions(self, tree: StoredTree, period: Period) -> range:
        """The positions of a period, ``range(0)`` where nothing was made in it.

        It reads the spans of the bundles outside of the period, one record for 256 entries.

        Raises:
            Damaged: A bundle is missing or malformed.
            Unavailable: A store does not respond.
        """
        start, last = 0, tree.size - 1
        if period.since is not None:
            found = await self._find(tree, period, newest=False)
            if found is None:
                return range(0)
            start = found
        if period.before is not None:
            found = await self._find(tree, period, newest=True)
            if found is None:
                return range(0)
            last = found
        return range(start, last + 1)

    async def _find(self, tree: StoredTree, period: Period, *, newest: bool) -> int | None:
        """The position of the first entry of a period, or of the last; None: it has none."""
        async for index, span in self._spans(tree, newest=newest):
            if span is not None and not period.touches(span):
                continue
            inside = [
                number
                for number, leaf in enumerate(await tree.bundle(index))
                if period.first <= json.loads(leaf)["id"] < period.end
            ]
            if inside:
                return index * WIDTH + inside[-1 if newest else 0]
        return None

    async def _spans(
        self, tree: StoredTree, *, newest: bool
    ) -> AsyncIterator[tuple[int, BundleSpan | None]]:
        """Each bundle with its span; None where that is not known: the last bundle, or lost records."""
        spans, step = bundle_spans(self.log.records), self.log.part_entries
        for number in _in_order(range(-(-tree.size // step)), newest=newest):
            known = {
                stored.value.id: stored.value
                async for stored in spans.scan(log_part(tree.tenant, number))
            }
            first = -(-number * step // WIDTH)
            end = -(-min(tree.size, (number + 1) * step) // WIDTH)
            for index in _in_order(range(first, end), newest=newest):
                yield index, known.get(f"{index:012d}")


def _in_order(numbers: range, *, newest: bool) -> range:
    return numbers[::-1] if newest else numbers
