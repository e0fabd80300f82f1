"""Recovery: a log whose records were restored goes on from its tiles.

Records are restored from a backup, which is minutes old; tiles and checkpoints, which nobody can
remove, may know more than they do. Before such a log is appended to, its index is completed from the
tiles: else the log would fork, and two checkpoints disagree.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.audit.models import TreeHead
from shared.audit.signing import CheckpointKeys
from shared.audit.storage import LogStore
from shared.audit.tree import StoredTree, tree_head
from shared.base.errors import Damaged, NotFound
from shared.base.models import JsonObject
from shared.crypto.checkpoints import Checkpoint, parse_checkpoint
from shared.crypto.notes import parse_note

_log = logging.getLogger("strongroom.audit")


class Appendable(Protocol):
    """What recovery needs of the log."""

    async def head(self, tenant: str) -> TreeHead:
        """See ``AuditLog.head``."""
        ...

    async def append_again(self, tenant: str, entries: Sequence[JsonObject]) -> None:
        """See ``AuditLog.append_again``."""
        ...


@dataclass(frozen=True, slots=True)
class LogRecovery:
    """Completes the index of logs.

    Attributes:
        store: Where tiles and checkpoints are.
        keys: Tell whether a checkpoint is ours.
    """

    store: LogStore
    keys: CheckpointKeys

    async def complete(self, log: Appendable, tenant: str) -> TreeHead | None:
        """Append what the tiles of a log have and its index lacks; the tree that they hold.

        Args:
            log: The logs.
            tenant: Whose; the records know no checkpoint of it.

        Returns:
            None where there are no tiles yet.

        Raises:
            Damaged: Tiles and checkpoints do not agree.
            Conflict: Another process appended to the log at the same time.
            Unavailable: A store does not respond.
        """
        kept = await self._newest_kept(tenant)
        if kept is None:
            return None
        tree = StoredTree(self.store, tenant, kept.size)
        known = tree_head(kept.size, await tree.frontier())
        if known.root != kept.root.hex():
            _log.error("audit.difference in the tiles of %s at size %d", tenant, kept.size)
            raise Damaged("The tiles of the audit log do not have the root that was signed.")
        head = await log.head(tenant)
        if head.size < kept.size:
            lost = [json.loads(entry) async for _, entry in tree.entries(head.size, kept.size)]
            await log.append_again(tenant, lost)
        return known

    async def _newest_kept(self, tenant: str) -> Checkpoint | None:
        """The newest checkpoint in the store, with its signatures checked."""
        size: int | None = None
        async for each in self.store.checkpoint_sizes(tenant):
            size = each
        if size is None:
            return None
        try:
            note = parse_note(await self.store.read_checkpoint(tenant, size))
            known = await self.keys.verifiers(await self.keys.origin(tenant))
            if not note.verified_by([key for _, keys in known for key in keys]):
                raise ValueError("nobody signed it")
            return parse_checkpoint(note.text)
        except (NotFound, ValueError):
            # The operators' alert looks for this line.
            _log.error("audit.difference in the checkpoint of %s at size %d", tenant, size)
            raise Damaged("A checkpoint of the audit log is not what was signed.") from None
