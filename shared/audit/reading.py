"""Reading the audit logs: pages of the index, the newest checkpoint, tiles, proofs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from shared.access.principal import Principal
from shared.audit.checkpoints import Checkpoints
from shared.audit.index import FILTERS, log_index, log_part, newest_log_part
from shared.audit.log import AuditLog
from shared.audit.models import LogCheckpoint, LoggedEntry, TreeHead
from shared.audit.storage import LogStore, beginning
from shared.audit.tree import StoredTree
from shared.base.errors import InvalidInput, NotFound
from shared.base.ids import PREFIXES, ids_of_period, is_id
from shared.base.listing import Listing
from shared.crypto.log_proofs import LogProof
from shared.crypto.notes import parse_note
from shared.crypto.tiles import HEIGHT, WIDTH, TileError, parse_tile_path
from shared.journal.collections import Collection, page_across
from shared.journal.entries import Action
from shared.journal.journal import Journal

READ_NOTED: Final = timedelta(minutes=10)
READERS: Final = 10_000
"""People whose reading a process remembers."""

NOT_YET: Final = (
    "The log has no checkpoint yet; one follows within a minute of its first entry. Try again then."
)


@dataclass(frozen=True, slots=True)
class LogPage(Listing[LoggedEntry]):
    """A page of the log, and the head of its tree."""

    head: TreeHead


@dataclass(slots=True)
class LogReader:
    """Reads the log of whoever asks.

    Attributes:
        log: The logs.
        checkpoints: Their checkpoints.
        store: Their tiles.
        journal: Makes the entries about reading the log itself.
    """

    log: AuditLog
    checkpoints: Checkpoints
    store: LogStore
    journal: Journal
    _logged: Collection[LoggedEntry] = field(init=False)
    _noted: dict[tuple[str, str], datetime] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._logged = log_index(self.log.records)

    async def entries(
        self,
        principal: Principal,
        *,
        where: Mapping[str, str],
        since: datetime | None = None,
        before: datetime | None = None,
        limit: int,
        cursor: str | None,
    ) -> LogPage:
        """A page of the caller's log, newest first, with the tree head.

        Args:
            principal: Who asks; their tenant's log is read.
            where: Only entries with exactly these values of ``FILTERS``.
            since: Only entries made then or later.
            before: Only entries made before then.
            limit: Entries at most.
            cursor: From the page before.

        Raises:
            InvalidInput: The cursor does not belong to this query.
        """
        if not set(where) <= set(FILTERS):
            raise ValueError("the index has no such field")
        tenant = principal.tenant
        head = await self.log.head(tenant)
        newest = await newest_log_part(self.log.records, tenant)
        first, end = ids_of_period("aud", since, before)
        page = await page_across(
            self._logged,
            [log_part(tenant, number) for number in range(newest, -1, -1)],
            where=where,
            order="descending",
            limit=limit,
            cursor=cursor,
            first=first,
            before=end,
        )
        resource = where.get("resource", "")
        await self.journal.commit(
            self.journal.entry(
                Action.AUDIT_READ,
                # Any other text is the client's own, and the log repeats none of it.
                resource if is_id(resource, *PREFIXES) else "",
                by=principal,
                details={"entries": len(page.items)},
            )
        )
        opened = await self.log.sealer.open(tenant, [item.value.entry for item in page.items])
        items = [
            item.value.model_copy(update={"entry": entry})
            for item, entry in zip(page.items, opened, strict=True)
        ]
        return LogPage(items, page.cursor, page.damaged, head)

    async def note_read(self, principal: Principal, form: str) -> None:
        """Put into the log that someone reads it in a form that is read piece by piece, or again and again.

        One entry a person, form and ``READ_NOTED``: a reader who follows the log must not be what makes it
        grow.
        """
        now = self.log.runtime.now()
        key = (principal.user, form)
        noted = self._noted.get(key)
        if noted is not None and noted <= now < noted + READ_NOTED:
            return
        if len(self._noted) >= READERS:
            self._noted.clear()
        await self.journal.commit(
            self.journal.entry(Action.AUDIT_READ, by=principal, details={"form": form})
        )
        self._noted[key] = now

    async def checkpoint(self, tenant: str) -> LogCheckpoint:
        """The newest checkpoint of a log.

        Raises:
            NotFound: It has none yet.
        """
        newest = await self.checkpoints.newest(tenant)
        if newest is None:
            raise NotFound(NOT_YET)
        return newest

    async def tile(self, tenant: str, path: str) -> bytes:
        """A tile or bundle of a log, by its path of C2SP tlog-tiles.

        Raises:
            InvalidInput: There can be no such tile.
            NotFound: The log's checkpoint does not reach as far.
            Damaged: The store has lost it.
            Unavailable: The store does not respond.
        """
        try:
            wanted = parse_tile_path(path)
        except TileError as error:
            raise InvalidInput(f"This is {error}.") from None
        nodes = (await self.checkpoint(tenant)).tree.size >> HEIGHT * (wanted.level or 0)
        if nodes < wanted.index * WIDTH + wanted.width:
            raise NotFound("The log's newest checkpoint does not reach as far as this tile.")
        widest = replace(wanted, width=min(WIDTH, nodes - wanted.index * WIDTH))
        return beginning(widest, await self.store.read_tile(tenant, widest), wanted.width)

    async def inclusion(self, tenant: str, position: int) -> LogProof:
        """The proof that an entry is in the log, under its newest checkpoint.

        Raises:
            NotFound: The newest checkpoint does not reach as far.
            Damaged: A tile is missing.
            Unavailable: The store does not respond.
        """
        newest = await self.checkpoint(tenant)
        if position >= newest.tree.size:
            raise NotFound(
                f"The newest checkpoint is of {newest.tree.size} entries; try again in a minute."
            )
        tree = self.tree(tenant, newest.tree.size)
        hashes = await tree.inclusion(position)
        # What proves the entry is its bytes, and a page of the log shows it opened.
        entry = await tree.entry(position)
        return LogProof(position, tuple(hashes), parse_note(newest.note.encode()), entry)

    async def consistency(self, tenant: str, size: int) -> tuple[LogCheckpoint, list[bytes]]:
        """The newest checkpoint, and the proof that the log has only grown since it had a size.

        Raises:
            NotFound: The log did not have that size yet.
            Damaged: A tile is missing.
            Unavailable: The store does not respond.
        """
        newest = await self.checkpoint(tenant)
        if size > newest.tree.size:
            raise NotFound(
                f"The newest checkpoint is of {newest.tree.size} entries, fewer than {size}."
            )
        return newest, await self.tree(tenant, newest.tree.size).consistency(size)

    def tree(self, tenant: str, size: int) -> StoredTree:
        """The tree of a log at a size that a checkpoint has."""
        return StoredTree(self.store, tenant, size)
