"""The report about grants that a tenant gets: each of a period, with all that was done under it, proved.

Lines of JSON. The first has the log's checkpoint and the keys that verify it. Then there is a line for each
grant, the newest first, each followed by the entries of the tenant's log that name it, the oldest first:
byte for byte, with their positions and their inclusion proofs (RFC 6962 section 2.1.1) under that
checkpoint. An entry that is newer than the checkpoint has no proof yet. What the index has forgotten by
policy is in an export of the log.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.access.principal import Principal
from shared.audit.evidence import proved_line
from shared.audit.headers import file_header
from shared.audit.index import log_index, log_part, newest_log_part
from shared.audit.periods import Period
from shared.audit.reading import LogReader
from shared.audit.signing import CheckpointKeys
from shared.audit.tree import StoredTree
from shared.crypto.canonical import canonical_json
from shared.grants.service import Described, Grants
from shared.journal.entries import Action
from shared.ports.records import Record

FORMAT: Final = "strongroom-grants/1"

PAGE: Final = 100
"""Entries that are proved together."""


@dataclass(frozen=True, slots=True)
class GrantReports:
    """Makes reports.

    Attributes:
        grants: The grants.
        reader: Reads the tenants' logs.
        keys: Signed their checkpoints.
    """

    grants: Grants
    reader: LogReader
    keys: CheckpointKeys

    async def report(self, principal: Principal, period: Period) -> AsyncIterator[bytes]:
        """The report about the grants that were asked for in a period, line by line.

        Raises:
            NotFound: The log has no checkpoint yet.
            Damaged: A tile or a text is; later out of the lines, too.
            Unavailable: A store or the key vault does not respond; later out of the lines, too.
        """
        newest = await self.reader.checkpoint(principal.tenant)
        tree = self.reader.tree(principal.tenant, newest.tree.size)
        journal = self.reader.journal
        await journal.commit(journal.entry(Action.GRANT_REPORT, by=principal))
        header = await file_header(FORMAT, principal.tenant, newest, self.keys, period)
        return self._lines(principal.tenant, period, tree, header)

    async def _lines(
        self, tenant: str, period: Period, tree: StoredTree, header: Mapping[str, Any]
    ) -> AsyncIterator[bytes]:
        yield _line(header)
        found = self.grants.store.scan({"tenant": tenant}, period.since, period.before)
        async for stored in found:
            grant = stored.value
            yield _line({"grant": _told(await self.grants.described(grant))})
            async for line in self._entries(tenant, grant.id, tree):
                yield line

    async def _entries(self, tenant: str, grant: str, tree: StoredTree) -> AsyncIterator[bytes]:
        """The lines of the entries of a log that name a grant, in the order in which they were made."""
        index = log_index(self.reader.log.records)
        for number in range(await newest_log_part(self.reader.log.records, tenant) + 1):
            cursor: str | None = None
            while True:
                page = await index.page(
                    log_part(tenant, number), where={"grant": grant}, limit=PAGE, cursor=cursor
                )
                for line in await _proved([stored.record for stored in page.items], tree):
                    yield line
                cursor = page.cursor
                if cursor is None:
                    break


async def _proved(records: Sequence[Record], tree: StoredTree) -> list[bytes]:
    """The lines of entries as the index has them, which is what the log has, or their proof fails."""
    found = [(record.body["position"], canonical_json(record.body["entry"])) for record in records]
    proofs = await tree.inclusions([position for position, _ in found if position < tree.size])
    known = iter(proofs)
    return [
        proved_line(position, leaf, next(known))
        if position < tree.size
        else b'{"position":%d,"entry":%s}\n' % (position, leaf)  # it is in no tile yet
        for position, leaf in found
    ]


def _told(described: Described) -> dict[str, Any]:
    grant = described.grant.model_dump(mode="json", exclude={"epoch", "sealed", "case", "over"})
    return grant | {"state": described.state, "texts": described.private.model_dump(mode="json")}


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
