"""What users and employees see of backups: the sets, and a report of how good they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from shared.access.principal import Principal
from shared.audit.index import log_part, newest_log_part
from shared.backup.models import Manifest
from shared.backup.parts import PartBackup
from shared.base.concurrency import at_once
from shared.base.errors import Damaged, Forbidden, InvalidInput, NotFound
from shared.base.ids import is_id
from shared.base.listing import Listing
from shared.base.partitions import MAIN, Partition
from shared.journal.collections import Collection
from shared.journal.entries import Action
from shared.journal.journal import Journal
from shared.journal.months import DOCUMENT_MONTHS, Months
from shared.ports.clock import Runtime
from shared.restore.drills import DrillReport, drills_of
from shared.verification.findings import Finding, Verification, verifications_of
from shared.verification.newest import NewestSets

READ_AT_ONCE: Final = 8

_NO_SET: Final = "There is no such backup set."


@dataclass(frozen=True, slots=True)
class BackupSet:
    """A set, and the SHA-256 of its manifest, signature included."""

    manifest: Manifest
    sha256: bytes


@dataclass(frozen=True, slots=True)
class BackupReport:
    """How good the backups of a tenant are.

    Attributes:
        last_set: The newest set; None: there is none that can be read.
        recovery_point_seconds: How old what a restore brings back would be; 0 if nothing changed since,
            None if there is no set.
        last_verification: The last one that is done.
        last_drill: What the last drill reported.
        restored_at: When the tenant last went back in time: what clients know of it may be newer.
    """

    last_set: BackupSet | None
    recovery_point_seconds: float | None
    last_verification: Verification | None
    last_drill: DrillReport | None
    restored_at: datetime | None

    @property
    def findings(self) -> Sequence[Finding]:
        """What the last verification found."""
        return self.last_verification.findings if self.last_verification else ()


@dataclass(slots=True)
class BackupReports:
    """Lists sets, and reports.

    Attributes:
        journal: Puts reading into the audit log.
        newest: The newest sets, and the reader of all.
        parts: Know what changed.
        runtime: Time.
    """

    journal: Journal
    newest: NewestSets
    parts: PartBackup
    runtime: Runtime
    _verifications: Collection[Verification] = field(init=False)
    _months: Months = field(init=False)

    def __post_init__(self) -> None:
        records = self.parts.records
        self._verifications = verifications_of(records)
        self._months = Months(records, DOCUMENT_MONTHS)

    async def page(
        self, principal: Principal, tenant: str | None, *, limit: int, cursor: str | None
    ) -> Listing[BackupSet]:
        """A page of the sets of a tenant, newest first; one that cannot be read is left out.

        Args:
            principal: Who asks.
            tenant: Whose; None: the caller's own. Reading another one's is in that tenant's audit log.
            limit: Sets at most.
            cursor: From the page before.

        Raises:
            Forbidden: Another tenant's sets are for employees.
            InvalidInput: The cursor is not one of this list.
            NotFound: There is no such tenant, or no set of it.
        """
        if cursor is not None and not is_id(cursor, "set"):
            raise InvalidInput("The cursor is not valid for this list; start again without one.")
        whose = await self._whose(principal, tenant)
        names = [
            name
            for name in reversed(await self.newest.reader.sets(whose))
            if cursor is None or name < cursor
        ]

        async def read(name: str) -> BackupSet | None:
            try:
                return await self._read(whose, name)
            except (Damaged, NotFound):
                return None  # its verification says so, or it was pruned since

        found = await at_once(read, names[:limit], READ_AT_ONCE)
        sets = [each for each in found if each is not None]
        entry = self.journal.entry(
            Action.BACKUP_LIST, by=principal, tenant=whose, details={"sets": len(sets)}
        )
        await self.journal.commit(entry)
        return Listing(sets, names[limit - 1] if len(names) > limit else None, ())

    async def read(self, principal: Principal, tenant: str | None, name: str) -> BackupSet:
        """One set of a tenant.

        Args:
            principal: As for ``page``.
            tenant: See ``page``.
            name: The id of the set.

        Raises:
            Damaged: Its manifest is not what was signed.
            Forbidden: Another tenant's sets are for employees.
            NotFound: There is no such set.
        """
        whose = await self._whose(principal, tenant)
        try:
            found = await self._read(whose, name)
        except NotFound:
            raise NotFound(_NO_SET) from None
        await self.journal.commit(
            self.journal.entry(Action.BACKUP_READ, name, by=principal, tenant=whose)
        )
        return found

    async def report(self, principal: Principal) -> BackupReport:
        """How good the backups of the caller's tenant are."""
        tenant = principal.tenant
        manifest = await self.newest.manifest(tenant)
        state = await self.newest.state(tenant)
        last_set = None
        if manifest is not None and state.last is not None and state.last.id == manifest.id:
            last_set = BackupSet(manifest, state.last.sha256)
        report = BackupReport(
            last_set,
            await self._recovery_point(tenant, manifest),
            await self._last_verification(tenant),
            await self._last_drill(tenant),
            state.restored_at,
        )
        await self.journal.commit(self.journal.entry(Action.BACKUP_REPORT, by=principal))
        return report

    async def _whose(self, principal: Principal, tenant: str | None) -> str:
        if tenant is None or tenant == principal.tenant:
            return principal.tenant
        if principal.kind != "employee":
            raise Forbidden("You can read the backups of your own tenant alone.")
        if not await self.newest.reader.sets(tenant):
            raise NotFound("There is no such tenant, or no backup set of it.")
        return tenant

    async def _read(self, tenant: str, name: str) -> BackupSet:
        manifests = self.newest.reader.manifests
        signed = await manifests.preceding(tenant, name)
        return BackupSet(await manifests.read(tenant, name, signed.sha256), signed.sha256)

    async def _recovery_point(self, tenant: str, manifest: Manifest | None) -> float | None:
        if manifest is None:
            return None
        months = await self._months.of(tenant, "descending")
        log = log_part(tenant, await newest_log_part(self.parts.records, tenant))
        if not await self._has_news(tenant, (MAIN, log.part, *months)):
            return 0.0
        return (self.runtime.now() - manifest.made_at).total_seconds()

    async def _has_news(self, tenant: str, parts: Iterable[str]) -> bool:
        """Whether anything changed in partitions that is not in the newest set."""

        async def has_news(part: str) -> bool:
            index = await self.newest.index(tenant, part)
            return await self.parts.has_news(Partition(tenant, part), index)

        return any(await at_once(has_news, parts, READ_AT_ONCE))

    async def _last_verification(self, tenant: str) -> Verification | None:
        async for stored in self._verifications.scan(Partition(tenant), order="descending"):
            if stored.value.state == "done":
                return stored.value
        return None

    async def _last_drill(self, tenant: str) -> DrillReport | None:
        drills = drills_of(self.parts.records)
        page = await drills.page(Partition(tenant), order="descending", limit=1)
        return page.items[0].value if page.items else None
