"""RecordStore: small JSON records, changed atomically within a partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, Protocol

from shared.base.models import JsonObject
from shared.base.partitions import Partition

MAX_CHANGES: Final = 100
"""Changes in one commit: the limit of a Cosmos DB transactional batch."""

MAX_RECORD_BYTES: Final = 1_048_576
"""A record's body as JSON: half of the Cosmos DB item limit, so that system fields always fit."""

MAX_PAGE: Final = 1_000
"""Records in one page."""


UNREADABLE: Final[JsonObject] = {"unreadable": True}
"""In place of a body that is no JSON any more: the record is there, and is of no model."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record; ``(partition, kind, id)`` names it.

    Attributes:
        partition: Where it lies.
        kind: What it is, such as ``document``.
        id: Unique within partition and kind. Pages are ordered by it, so ids that begin with a time list
            in the order of creation.
        body: JSON; ``UNREADABLE`` where the store cannot give back what was committed.
        index: The fields by which ``query`` can find it: exact strings, a handful, never secret.
        expires_at: When the store may forget it; from then on it is not returned.
        etag: Set by the store, new at each change; empty before the first commit.
    """

    partition: Partition
    kind: str
    id: str
    body: JsonObject
    index: Mapping[str, str] = field(default_factory=dict)
    expires_at: datetime | None = None
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Create:
    """Add a record; a conflict if it exists."""

    record: Record


@dataclass(frozen=True, slots=True)
class Replace:
    """Replace a record; a conflict unless the stored etag is ``record.etag``."""

    record: Record


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a record; a conflict if it is missing, or if ``etag`` is given and differs."""

    kind: str
    id: str
    etag: str | None = None


Change = Create | Replace | Delete


@dataclass(frozen=True, slots=True)
class Page:
    """Records and, where there may be more, the cursor that continues after them."""

    records: Sequence[Record]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Changes:
    """Records that were changed, and the position that continues after them.

    Attributes:
        records: Of every kind; in the order of their last change, as exactly as the store keeps its time.
        position: For the next call; opaque, of one partition of one store.
        more: Whether another call would find more at once.
    """

    records: Sequence[Record]
    position: str
    more: bool


class RecordStore(Protocol):
    """A partitioned record store with atomic commits.

    Errors of the service behind it become ``Unavailable`` once the adapter's own retries are used up.
    """

    async def get(self, partition: Partition, kind: str, id: str) -> Record:
        """The record as last committed.

        Raises:
            NotFound: There is none, or it has expired.
        """
        ...

    async def query(
        self,
        partition: Partition,
        kind: str,
        *,
        where: Mapping[str, str] | None = None,
        order: Literal["ascending", "descending"] = "ascending",
        limit: int = 100,
        cursor: str | None = None,
        first: str | None = None,
        before: str | None = None,
    ) -> Page:
        """Records of one kind in one partition whose index holds every pair of ``where``, ordered by id.

        Args:
            partition: Where to look; there is no query across partitions.
            kind: The kind of the records.
            where: Index fields and their exact values; a record without the field does not match.
            order: By id.
            limit: Records at most, 1 to ``MAX_PAGE``.
            cursor: From the page before, for the same query.
            first: The lowest id; None: no bound.
            before: Every id is below this one; None: no bound.

        Raises:
            InvalidInput: The cursor does not belong to this query; it came from a client.
            ValueError: The limit is out of range.
        """
        ...

    async def changes(
        self, partition: Partition, *, after: str | None = None, limit: int = MAX_PAGE
    ) -> Changes:
        """The records of a partition that were created or replaced after a position, as they are now.

        Each is given at least once, and again where it may not have been seen; a record that was
        removed or has expired since is not given. The cost follows the changes, not the partition.

        Args:
            partition: Where to look.
            after: The position of the call before; None: from the beginning, which gives every record.
            limit: Records at most, 1 to ``MAX_PAGE``, give or take those that may come again.

        Raises:
            ValueError: The limit is out of range, or the position is not of this partition.
        """
        ...

    async def commit(self, partition: Partition, changes: Sequence[Change]) -> None:
        """Apply all changes or none of them; durable on return.

        Args:
            partition: Of every change.
            changes: 1 to ``MAX_CHANGES``, each record named once.

        Raises:
            Conflict: A record exists, is missing or has another etag; nothing was changed.
            ValueError: Too many changes, a record of another partition, or one that is too large.
        """
        ...
