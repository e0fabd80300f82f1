"""The report about grants that a tenant gets: each of a period, with all that was done under it, proved.

Lines of JSON. The first has the log's checkpoint. Then there is a line for each grant, the newest first,
each followed by the entries of the tenant's log that name it, in their order: byte for byte, with their
positions and their inclusion proofs (RFC 6962 section 2.1.1) under that checkpoint. An entry that is newer
than the checkpoint has no proof yet. What the index has forgotten by policy is in an export of the log.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shared.access.principal import Principal
from shared.audit.evidence import proved_line
from shared.audit.index import log_index, log_part, newest_log_part
from shared.audit.models import LoggedEntry
from shared.audit.periods import Period
from shared.audit.reading import LogReader
from shared.audit.tree import StoredTree
from shared.crypto.canonical import canonical_json
from shared.grants.service import Described, Grants
from shared.journal.entries import Action

FORMAT: Final = "strongroom-grants-1"


@dataclass(frozen=True, slots=True)
class GrantReports:
    """Makes reports.

    Attributes:
        grants: The grants.
        reader: Reads the tenants' logs.
    """

    grants: Grants
    reader: LogReader

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
        header = {
            "format": FORMAT,
            "checkpoint": newest.note,
            "from": period.since.isoformat() if period.since else "",
            "to": period.before.isoformat() if period.before else "",
        }
        return self._lines(principal.tenant, period, tree, header)

    async def _lines(
        self, tenant: str, period: Period, tree: StoredTree, header: Mapping[str, Any]
    ) -> AsyncIterator[bytes]:
        yield _line(header)
        found = self.grants.store.scan({"tenant": tenant}, period.since, period.before)
        async for stored in found:
            grant = stored.value
            yield _line({"grant": _told(await self.grants.described(grant))})
            async for entry in self._entries(tenant, grant.id):
                yield await _proved(entry, tree)

    async def _entries(self, tenant: str, grant: str) -> AsyncIterator[LoggedEntry]:
        """The entries of a log that name a grant, in their order."""
        index = log_index(self.reader.log.records)
        for number in range(await newest_log_part(self.reader.log.records, tenant) + 1):
            found = [
                stored.value
                async for stored in index.scan(log_part(tenant, number), where={"grant": grant})
            ]
            for entry in sorted(found, key=lambda each: each.position):
                yield entry


async def _proved(logged: LoggedEntry, tree: StoredTree) -> bytes:
    if logged.position >= tree.size:
        # It is in no tile yet.
        leaf = canonical_json(logged.entry.model_dump(mode="json"))
        return b'{"position":%d,"entry":%s}\n' % (logged.position, leaf)
    return await proved_line(tree, logged.position, await tree.entry(logged.position))


def _told(described: Described) -> dict[str, Any]:
    grant = described.grant.model_dump(mode="json", exclude={"epoch", "sealed", "case", "over"})
    return grant | {"state": described.state, "texts": described.private.model_dump(mode="json")}


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
