"""Exports: a period of a log in one file, with what proves it under a checkpoint.

The format is ``strongroom-audit-export/1`` of ``docs/formats.md``: lines of JSON, read from the bundles one
after the other, so that an export of any length takes the memory of one bundle.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from shared.access.principal import Principal
from shared.audit.headers import file_header
from shared.audit.ocsf import ocsf_event
from shared.audit.periods import Period, Periods
from shared.audit.reading import LogReader
from shared.audit.sequence import ReadEntry, read_in_order
from shared.audit.signing import CheckpointKeys
from shared.audit.tree import StoredTree
from shared.base.errors import InvalidInput
from shared.crypto.merkle import subtrees
from shared.journal.entries import Action

FORMAT: Final = "strongroom-audit-export/1"

ExportForm = Literal["ndjson", "ocsf"]
"""Of the lines with entries: as the log has them, or as OCSF events."""

_PIECE_BYTES: Final = 65_536
"""Lines are sent in pieces that are at least so large, but for the last."""


@dataclass(frozen=True, slots=True)
class LogExports:
    """Exports the log of whoever asks.

    Attributes:
        reader: Reads it.
        keys: Signed its checkpoints.
        periods: Find positions by time.
    """

    reader: LogReader
    keys: CheckpointKeys
    periods: Periods

    async def export(
        self, principal: Principal, period: Period, form: ExportForm, kept: int | None = None
    ) -> AsyncIterator[bytes]:
        """An export of the caller's log up to its newest checkpoint. It is audited before it begins.

        Args:
            principal: Who asks.
            period: Which entries; others may lie between them.
            form: Of the entries.
            kept: The size of a checkpoint that the caller kept, to prove that the log only grew since.

        Returns:
            The file in pieces. It has a last line with the proof, or it is not complete.

        Raises:
            NotFound: The log has no checkpoint yet.
            InvalidInput: The log has not had the size ``kept`` yet.
            Damaged: A bundle or a tile is missing or malformed; later out of the pieces, too.
            Unavailable: A store or the key vault does not respond; later out of the pieces, too.
        """
        tenant = principal.tenant
        newest = await self.reader.checkpoint(tenant)
        tree = self.reader.tree(tenant, newest.tree.size)
        positions = await self.periods.positions(tree, period)
        proof: dict[str, Any] = {
            "left": await _hashes(tree, 0, positions.start),
            "right": await _hashes(tree, positions.stop, tree.size),
        }
        if kept is not None:
            if kept > tree.size:
                raise InvalidInput(
                    f"The log has {tree.size} entries under a checkpoint, not {kept}."
                )
            hashes = await tree.consistency(kept)
            proof["growth"] = {"from": kept, "hashes": [node.hex() for node in hashes]}
        header = await file_header(FORMAT, tenant, newest, self.keys, period)
        header |= {"start": positions.start, "end": positions.stop}
        await self.reader.journal.commit(
            self.reader.journal.entry(
                Action.AUDIT_EXPORT,
                by=principal,
                details={"format": form, "entries": len(positions)},
            )
        )
        return self._pieces(tree, positions, form, (header, {"proof": proof}))

    async def _pieces(
        self,
        tree: StoredTree,
        positions: range,
        form: ExportForm,
        ends: tuple[Mapping[str, Any], Mapping[str, Any]],
    ) -> AsyncIterator[bytes]:
        line = _ocsf_line if form == "ocsf" else _entry_line
        piece = bytearray(_json(ends[0]))
        sealer = self.reader.log.sealer
        async for entries in read_in_order(tree, sealer, positions.start, positions.stop):
            for each in entries:
                piece += line(each)
                if len(piece) >= _PIECE_BYTES:
                    yield bytes(piece)
                    piece.clear()
        piece += _json(ends[1])
        yield bytes(piece)


async def _hashes(tree: StoredTree, start: int, end: int) -> Sequence[str]:
    return [node.hex() for node in await tree.hashes_of_nodes(subtrees(start, end))]


def _entry_line(read: ReadEntry) -> bytes:
    # The leaf goes out byte for byte: nobody has to make it canonical again to check it.
    line = b'{"position":%d,"entry":%s' % (read.position, read.leaf)
    if read.opened is not None:
        line += b',"opened":' + _json(read.opened).rstrip(b"\n")
    return line + b"}\n"


def _ocsf_line(read: ReadEntry) -> bytes:
    return _json(ocsf_event(read))


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
