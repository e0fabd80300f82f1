"""Restoring a whole tenant: its log first, then its keys and users, then its documents."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from shared.audit.log import AuditLog
from shared.backup.assessing import Run
from shared.backup.copying import TenantCopier
from shared.backup.models import Manifest
from shared.backup.records import RecordRestorer
from shared.backup.restoring import DocumentRestorer
from shared.backup.snapshot import LOG_PART
from shared.base.errors import Damaged, NotFound
from shared.base.models import Model
from shared.base.partitions import MAIN, Partition

AT_ONCE: Final = 8
"""Documents that are restored at the same time."""


class Cursor(Model):
    """How far a restore is: the partition, and the last document of which it is known that it is done."""

    part: str = ""
    document: str = ""


Checkpoint = Callable[[Cursor], Awaitable[bool]]
"""Called now and then with how far a restore is; False: stop here."""


@dataclass(slots=True)
class TenantRestorer:
    """Restores tenants.

    Attributes:
        records: Restores records.
        documents: Restores documents.
        copier: Copies into another tenant.
        audit_log: Appends the entries that waited.
    """

    records: RecordRestorer
    documents: DocumentRestorer
    copier: TenantCopier
    audit_log: AuditLog

    async def restore(self, run: Run, cursor: Cursor, checkpoint: Checkpoint) -> bool:
        """Restore everything of a tenant that the service lacks, or copy it all into another tenant.

        Args:
            run: From which set; learns what was done.
            cursor: Where to go on.
            checkpoint: Keeps how far it is.

        Returns:
            Whether it is done; if not, it was stopped.

        Raises:
            Unavailable: A store or the key vault does not respond; repeat it.
        """
        parts = order_of_parts(run.snapshot.manifest)
        begun = [part for part in parts if part == cursor.part]
        for part in parts[parts.index(begun[0]) :] if begun else parts:
            try:
                if part.startswith(LOG_PART):
                    if not run.into:
                        await self.records.restore_log(run.snapshot, part, run.outcome)
                elif not await self.restore_part(run, part, cursor, checkpoint):
                    return False
            except (Damaged, NotFound) as error:
                # The rest of the set may be whole.
                run.outcome.add("damaged" if isinstance(error, Damaged) else "missing")
            if not await checkpoint(Cursor(part=part, document="~")):
                return False
        return True

    async def restore_part(
        self, run: Run, part: str, cursor: Cursor, checkpoint: Checkpoint
    ) -> bool:
        """Restore one partition that is no part of an audit log; the arguments are those of ``restore``.

        Raises:
            Damaged: Its records cannot be read.
            NotFound: An object of the set is missing.
            Unavailable: A store or the key vault does not respond; repeat it.
        """
        state = await run.snapshot.part(part)
        if run.into:
            await self.copier.copy_users(run, state)
        else:
            await self.records.restore(run.snapshot, state, run.outcome)
        restore = self.copier.copy if run.into else self.documents.restore
        after = cursor.document if part == cursor.part else ""
        documents = [each for each in state.documents() if each > after]
        for start in range(0, len(documents), AT_ONCE):
            batch = documents[start : start + AT_ONCE]
            await asyncio.gather(*(restore(run, state, each) for each in batch))
            if not await checkpoint(Cursor(part=part, document=batch[-1])):
                return False
        await self.audit_log.append_pending(Partition(run.tenant, part))
        return True


def order_of_parts(manifest: Manifest) -> list[str]:
    """The partitions of a set in the order of a restore.

    The log comes first, so that what the restore itself puts into it follows what was there; keys and users
    come before what needs them.
    """
    names = sorted(part.part for part in manifest.parts)
    logs = [name for name in names if name.startswith(LOG_PART)]
    main = [name for name in names if name == MAIN]
    return [*logs, *main, *(name for name in names if name not in logs and name != MAIN)]
