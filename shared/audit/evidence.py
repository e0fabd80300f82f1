"""Evidence: what an auditor asks for, out of a log, each entry with the proof that it is in the log.

Lines of JSON. The first has the log's checkpoint and the keys that verify it. Then there is a line for each
entry of the period that belongs to a subject, in the log's order: the subject, the position, the entry byte
for byte, and its inclusion proof (RFC 6962 section 2.1.1) under that checkpoint. The last line counts them,
so that a file that was cut off is seen. ``docs/controls.md`` says which control each subject is for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.access.principal import Principal
from shared.audit.headers import file_header
from shared.audit.periods import Period, Periods
from shared.audit.reading import LogReader
from shared.audit.sequence import logged_in_order
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
_LOOKS: Final = frozenset(
    {
        *(Action.GRANT_READ, Action.GRANT_LIST, Action.GRANT_REPORT),
        *(Action.REVIEW_READ, Action.REVIEW_LIST, Action.REVIEW_REPORT),
    }
)
"""That somebody looked at grants and reviews is no evidence of how they are handled."""

SUBJECTS: Final = frozenset({*_BY_ACTION.values(), "refused sign-ins"})


def subject_of(entry: Entry) -> str:
    """What an entry is evidence of; empty: of nothing that is asked for."""
    if entry.action is Action.SIGN_IN:
        return "refused sign-ins" if entry.outcome == "refused" else ""
    if entry.action in _LOOKS:
        return ""
    if entry.grant and entry.action.value.startswith("document."):
        return "grants"  # what was done under one
    return _BY_ACTION.get(entry.action, "")


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
        header = await file_header(FORMAT, tenant, newest, self.keys, period)
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
        async for entries in logged_in_order(tree, positions.start, positions.stop):
            found = [
                (subject, each)
                for each in entries
                if (subject := subject_of(each.logged))
                and period.first <= each.logged.id < period.end
            ]
            counts.update(subject for subject, _ in found)
            proofs = await tree.inclusions([each.position for _, each in found])
            for (subject, each), proof in zip(found, proofs, strict=True):
                yield proved_line(each.position, each.leaf, proof, subject=subject)
        yield _json({"counts": {subject: counts[subject] for subject in sorted(SUBJECTS)}})


def proved_line(position: int, leaf: bytes, proof: Sequence[bytes], **more: str) -> bytes:
    """The line of one entry with its inclusion proof.

    Args:
        position: Of the entry.
        leaf: Its bytes, which go out as they are: nobody has to make them canonical again.
        proof: The hashes.
        more: Goes before them.
    """
    start = _json({**more, "position": position}).rstrip(b"}\n")
    hashes = _json([node.hex() for node in proof]).rstrip(b"\n")
    return start + b',"entry":' + leaf + b',"proof":' + hashes + b"}\n"


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
