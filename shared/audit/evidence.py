"""Evidence: what an auditor asks for, out of a log, each entry with the proof that it is in the log.

Lines of JSON. The first has the log's checkpoint and the keys that verify it. Then there is a line for each
entry of the period that belongs to a subject, in the log's order: the subject, the position, the entry byte
for byte, and its inclusion proof (RFC 6962 section 2.1.1) under that checkpoint. The last line counts them,
so that a file that was cut off is seen. ``docs/controls.md`` says which control each subject is for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shared.access.principal import Principal
from shared.audit.periods import Period, Periods
from shared.audit.reading import LogReader
from shared.audit.sequence import read_in_order
from shared.audit.signing import CheckpointKeys
from shared.audit.tree import StoredTree
from shared.journal.entries import Action, Entry

FORMAT: Final = "strongroom-evidence/1"

_BY_ACTION: Final[Mapping[Action, str]] = {
    **{action: "grants" for action in Action if action.value.startswith("grant.")},
    **{action: "reviews" for action in Action if action.value.startswith("review.")},
    Action.RESTORE_DRILL: "drills",
    Action.KEY_CREATE: "keys",
    Action.KEY_ROTATE: "keys",
    Action.KEY_DELETE: "keys",
    Action.TENANT_CREATE: "configuration",
    Action.USER_CREATE: "configuration",
    Action.USER_CHANGE: "configuration",
    Action.POLICY_CHANGE: "configuration",
    Action.TARGET_CREATE: "configuration",
    Action.TARGET_CHANGE: "configuration",
    Action.TARGET_DELETE: "configuration",
    Action.WEBHOOK_CREATE: "configuration",
    Action.WEBHOOK_CHANGE: "configuration",
    Action.WEBHOOK_DELETE: "configuration",
    Action.AUDIT_DIFFERENCE: "alerts",
    Action.AUDIT_ALERT: "alerts",
}
_READS: Final = frozenset({Action.GRANT_READ, Action.GRANT_LIST})
"""Of looking at lists nobody asks for evidence."""

SUBJECTS: Final = frozenset({*_BY_ACTION.values(), "refused sign-ins"})


def subject_of(entry: Entry) -> str:
    """What an entry is evidence of; empty: of nothing that is asked for."""
    if entry.action is Action.SIGN_IN:
        return "refused sign-ins" if entry.outcome == "refused" else ""
    if entry.grant and entry.actor.kind == "employee" and entry.action not in _READS:
        return "grants"  # whatever was done under one
    return "" if entry.action in _READS else _BY_ACTION.get(entry.action, "")


@dataclass(frozen=True, slots=True)
class Evidence:
    """Collects evidence from the log of whoever asks.

    Attributes:
        reader: Reads it.
        keys: Signed its checkpoints.
        periods: Find positions by time.
    """

    reader: LogReader
    keys: CheckpointKeys
    periods: Periods

    async def collect(self, principal: Principal, period: Period) -> AsyncIterator[bytes]:
        """The evidence of a period, line by line. It is audited before it begins.

        Raises:
            NotFound: The log has no checkpoint yet.
            Damaged: A bundle or a tile is missing or malformed; later out of the lines, too.
            Unavailable: A store or the key vault does not respond; later out of the lines, too.
        """
        tenant = principal.tenant
        newest = await self.reader.checkpoint(tenant)
        tree = self.reader.tree(tenant, newest.tree.size)
        positions = await self.periods.positions(tree, period)
        origin = await self.keys.origin(tenant)
        known = await self.keys.verifiers(origin)
        header = {
            "format": FORMAT,
            "origin": origin,
            "checkpoint": newest.note,
            "keys": [str(verifier) for _, verifiers in known for verifier in verifiers],
            "from": period.since.isoformat() if period.since else "",
            "to": period.before.isoformat() if period.before else "",
        }
        entry = self.reader.journal.entry(
            Action.AUDIT_EXPORT,
            by=principal,
            details={"format": "evidence", "entries": len(positions)},
        )
        await self.reader.journal.commit(entry)
        return self._lines(tree, positions, period, header)

    async def _lines(
        self, tree: StoredTree, positions: range, period: Period, header: Mapping[str, Any]
    ) -> AsyncIterator[bytes]:
        yield _json(header)
        counts: Counter[str] = Counter()
        sealer = self.reader.log.sealer
        async for entries in read_in_order(tree, sealer, positions.start, positions.stop):
            for each in entries:
                subject = subject_of(each.entry)
                if subject and period.first <= each.entry.id < period.end:
                    counts[subject] += 1
                    yield await proved_line(tree, each.position, each.leaf, subject=subject)
        yield _json({"counts": {subject: counts[subject] for subject in sorted(SUBJECTS)}})


async def proved_line(tree: StoredTree, position: int, leaf: bytes, **more: str) -> bytes:
    """The line of one entry with its inclusion proof.

    Args:
        tree: Of the checkpoint.
        position: Of the entry, below the tree's size.
        leaf: Its bytes, which go out as they are: nobody has to make them canonical again.
        more: Goes before them.

    Raises:
        Damaged: A tile is missing or malformed.
        Unavailable: The store does not respond.
    """
    hashes = [node.hex() for node in await tree.inclusion(position)]
    start = _json({**more, "position": position}).rstrip(b"}\n")
    return start + b',"entry":' + leaf + b',"proof":' + _json(hashes).rstrip(b"\n") + b"}\n"


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
